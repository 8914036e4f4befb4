//! The `etcd-member` process of `up`: guards this machine's member of the state's cluster. Of a machine that was removed from
//! it, it says so, keeps that in mind, and is over.

use super::{EXIT_OVER, Services, only};
use crate::cluster::Membership;
use crate::cluster::removal::{self, Removed};
use anyhow::Context;
use identity::{Ca, RevocationList};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    client: SocketAddr,
    #[arg(long)]
    peer: SocketAddr,
    #[arg(long)]
    pub supervised: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let data = arguments.data.clone();
    match super::serve(arguments.supervised, async |stop| start(arguments, stop).await) {
        Err(error) if is_removal(&error) => {
            removal::note(&data)?;
            tracing::error!("{}", Removed { data });
            Ok(ExitCode::from(EXIT_OVER))
        }
        served => served,
    }
}

fn is_removal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(::etcd::Error::Removed)))
}

async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let membership = Membership::of_process(&arguments.data)?;
    let member = membership.etcd.context("this machine keeps no state")?;
    let identity = arguments.data.join("identity");
    // Without a list etcd would refuse everybody, and nobody could read the cluster's.
    RevocationList::prepare(&identity, &Ca::load(&identity)?)?;
    let config = ::etcd::Config {
        binary: member.binary,
        name: membership.name,
        data: arguments.data.join("etcd"),
        client_listen: vec![arguments.client],
        client_advertise: arguments.client,
        peer_listen: arguments.peer,
        peer_advertise: arguments.peer,
        initial_cluster: member.initial_cluster,
        existing: member.existing,
        authority: identity.join("ca.pem"),
        certificate: identity.join("store.pem"),
        key: identity.join("store.key"),
        revoked: RevocationList::path(&identity),
        token: member.token,
    };
    Ok(only("etcd", ::etcd::start(config, stop).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::etcd::Error;

    #[test]
    fn a_removal_is_known_whether_the_member_had_come_up_or_not() {
        let running = |error: Error| crate::role::Failed { role: "etcd", source: error.into() }.into();
        assert!(is_removal(&running(Error::Removed)));
        assert!(is_removal(&Error::Removed.into()));
        assert!(!is_removal(&running(Error::Stopped)));
    }
}
