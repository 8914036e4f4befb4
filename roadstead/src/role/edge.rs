//! `roadstead edge`.

use super::{Services, credentials, etcd, only};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    etcd: etcd::EtcdFlags,
    /// Where requests are served (repeatable)
    #[arg(long, default_value = "0.0.0.0:8181")]
    listen: Vec<SocketAddr>,
    /// Where status, routes, explanations and metrics are served
    #[arg(long)]
    api: Option<SocketAddr>,
    /// The controller: its API or where it takes sessions alone; without one nothing is drained by handshake
    #[arg(long)]
    controller: Option<String>,
    /// This edge's name in its sessions; default: the host's
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("edge")?;
    if let Some(api) = arguments.api {
        known.refuse_open_beyond_loopback(api)?;
    }
    let store = arguments.etcd.connect(&known)?;
    let config = ::edge::Config {
        listen: arguments.listen,
        api: arguments.api,
        store: Arc::new(store),
        controller: arguments.controller,
        token: known.token,
        verifier: known.verifier,
        edge_id: arguments.name.unwrap_or_else(super::host_name),
        cluster_id: 0,
    };
    Ok(only("edge", ::edge::start(config, stop).await?))
}
