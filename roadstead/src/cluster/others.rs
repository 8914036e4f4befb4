//! Where the other machines are, kept on disk for the processes of this one.

use super::{Membership, Others};
use crate::cli::socket_path;
use lifecycle::ErrorChain;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use web::{Client, Credentials};

const INTERVAL: Duration = Duration::from_secs(2);

/// What this module reads of `GET /v1/members`.
#[derive(Deserialize)]
struct MemberView {
    name: String,
    address: IpAddr,
    peers: String,
    state: bool,
}

/// Asks this machine's own controller, which follows the state and asks nobody for it, for ever.
pub async fn run(data: &Path, membership: &Membership) {
    let client = Client::unix(socket_path(data), Credentials::None);
    let path = Others::path(data);
    let mut known = Others::read(&path).unwrap_or_default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        match client.get_json::<Vec<MemberView>>("http://localhost/v1/members").await {
            // A cluster has its machines: a list without any is not believed.
            Ok(members) if members.iter().any(|member| member.state) => {
                let others = others(membership, members, &known);
                if others != known {
                    match others.write(&path) {
                        Ok(()) => known = others,
                        Err(error) => tracing::warn!(error = %ErrorChain(error.as_ref()), "the list of the others"),
                    }
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %ErrorChain(&error), "the list of the others"),
        }
    }
}

/// This machine's own member first: it is the nearest.
fn others(membership: &Membership, members: Vec<MemberView>, known: &Others) -> Others {
    let mut with_state: Vec<MemberView> = members.into_iter().filter(|member| member.state).collect();
    with_state.sort_by(|a, b| (a.name != membership.name, &a.name).cmp(&(b.name != membership.name, &b.name)));
    let etcd = |member: &MemberView| format!("https://{}", SocketAddr::new(member.address, membership.ports.etcd));
    Others {
        etcd: if known.outside.is_some() { known.etcd.clone() } else { with_state.iter().map(etcd).collect() },
        controllers: with_state.iter().map(|member| format!("https://{}", member.peers)).collect(),
        outside: known.outside.clone(),
    }
}
