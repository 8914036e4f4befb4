//! What the leader keeps in order as long as it leads: that the cluster's founder and settings are written down, that
//! exactly the machines that should be are members of the state, and that old join tokens are forgotten. A full pass every
//! second, without input.

use super::etcd::{self, Leaving};
use super::registrar::{Refusal, Registrar, put};
use super::{Member, join};
use crate::api::now;
use crate::keys;
use ::etcd::Worth;
use lifecycle::{ErrorChain, Stop};
use std::sync::Arc;
use std::time::Duration;
use store::Compare;

const INTERVAL: Duration = Duration::from_secs(1);
/// Old join tokens are looked for every so many passes.
const TOKENS_PASSES: u32 = 600;
/// Free pages of the state's files are looked for every so many passes: an hour.
const DEFRAGMENT_PASSES: u32 = 3600;

pub(crate) async fn keep(registrar: Arc<Registrar>, stop: Stop) {
    let mut last_error = String::new();
    let mut leaving = Leaving::new();
    for pass in 0_u32.. {
        let error = match stop.or(keep_once(&registrar, pass, &mut leaving)).await {
            None => return,
            Some(Ok(())) => String::new(),
            Some(Err(error)) => ErrorChain(&error).to_string(),
        };
        if error != last_error && !error.is_empty() {
            tracing::warn!(error, "the cluster is not in order");
        }
        last_error = error;
        if stop.or(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn keep_once(registrar: &Registrar, pass: u32, leaving: &mut Leaving) -> Result<(), Refusal> {
    // A machine that joins takes its own steps.
    let Ok(_nobody_joins) = registrar.joining.try_lock() else { return Ok(()) };
    let mut machines = registrar.machines().await?;
    if machines.is_empty() {
        found(registrar).await?;
        machines = registrar.machines().await?;
    }
    let cluster = &registrar.shared.cluster;
    if cluster.manages_etcd() {
        let wanted = join::wanted_peers(&machines);
        etcd::step(cluster.members.as_ref(), &wanted, &cluster.etcd_peer_url, Some(leaving)).await?;
    }
    let is_ours = !registrar.shared.cluster.etcd_peer_url.is_empty();
    if is_ours && pass % DEFRAGMENT_PASSES == DEFRAGMENT_PASSES - 1 {
        let members = registrar.shared.cluster.members.as_ref();
        if let Some(member) = ::etcd::defragment_if_worthwhile(members, Worth::default()).await? {
            tracing::info!(member, "a member of the state gave its free pages back");
        }
    }
    if pass.is_multiple_of(TOKENS_PASSES) {
        registrar.forget_tokens(now()).await;
    }
    Ok(())
}

/// The first machine of a new cluster.
async fn found(registrar: &Registrar) -> Result<(), Refusal> {
    let shared = &registrar.shared;
    let cluster = &shared.cluster;
    let founder = Member {
        name: cluster.node.clone(),
        address: cluster.address,
        peers: shared.advertise.clone(),
        state: true,
        etcd_peer_url: cluster.etcd_peer_url.clone(),
        etcd_client_url: cluster.etcd_client_url.clone(),
        joined_at: now().to_string(),
        version: cluster.version.clone(),
        join_token: String::new(),
        node_key: String::new(),
    };
    let key = keys::member(&founder.name);
    if registrar.write(vec![Compare::absent(key.clone())], vec![put(key, &founder)]).await? {
        tracing::info!(name = founder.name, "the cluster's first machine");
    }
    let absent = vec![Compare::absent(keys::CLUSTER)];
    registrar.write(absent, vec![put(keys::CLUSTER.to_owned(), &cluster.settings)]).await?;
    Ok(())
}
