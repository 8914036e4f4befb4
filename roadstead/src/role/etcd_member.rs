//! The `etcd-member` process of `up`: guards this machine's member of the state's cluster.

use super::{Services, only};
use crate::cluster::Membership;
use anyhow::Context;
use identity::{Ca, RevocationList};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;

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

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
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
