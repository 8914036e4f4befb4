//! `roadstead edge`.

mod observation;

use super::{Services, credentials, etcd, only, vulcand};
use crate::up::parse_time;
use ::vulcand::Alias;
use identity::SealKey;
use lifecycle::Stop;
use routing::{Network, Order};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    etcd: etcd::EtcdFlags,
    /// Where requests are served (repeatable)
    #[arg(long, default_value = "0.0.0.0:8181")]
    listen: Vec<SocketAddr>,
    /// Where requests are served over TLS, under the certificates of the state (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Vec<SocketAddr>,
    /// A proxy before this edge, as address or block: its connections begin with a PROXY header (version 1 or 2), which names
    /// the client (repeatable)
    #[arg(long = "accept-proxy", value_name = "CIDR", value_parser = Network::parse)]
    proxies: Vec<Network>,
    /// Where status, routes, explanations and metrics are served
    #[arg(long)]
    api: Option<SocketAddr>,
    /// A controller: its API or where it takes sessions alone (repeatable); without one nothing is drained by handshake
    #[arg(long = "controller", value_name = "URL")]
    controllers: Vec<String>,
    /// This edge's name in its sessions; default: the host's
    #[arg(long)]
    name: Option<String>,
    /// Where the last good table is kept, for a start without the state
    #[arg(long)]
    data: Option<PathBuf>,
    /// What opens the private keys of certificates in the state: 64 hexadecimal digits, or 32 bytes (vulcand's -sealKey)
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    /// FROM=TO: a frontend with FROM in its route also takes what the route says with TO (repeatable; vulcand's -aliases)
    #[arg(long = "alias", alias = "aliases", value_name = "FROM=TO")]
    aliases: Vec<Alias>,
    /// Which of two routes of the same priority goes first: the more specific one, or vulcand's choice, the one whose text comes
    /// last in alphabetical order
    #[arg(long, value_name = "ORDER", default_value = "specific", value_parser = order)]
    route_order: Order,
    /// Take the listening sockets of the edge that runs with the same --data; it serves its connections to their end, and
    /// ends. Where none runs, bind them (docs/upgrade.md)
    #[arg(long, requires = "data")]
    take_over: bool,
    /// How long clients of HTTP/1 that idle stay after another process has taken over from this one
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    drain: Duration,
    /// How much longer WebSockets, TCP connections and long transfers do
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10m")]
    drain_tunnels: Duration,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[command(flatten)]
    observation: observation::ObservationFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

fn order(name: &str) -> Result<Order, String> {
    match name {
        "specific" => Ok(Order::Specific),
        "vulcand" => Ok(Order::Vulcand),
        _ => Err("expected specific or vulcand".into()),
    }
}

/// For the next supervisor to start an edge that takes over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(300);

impl Arguments {
    /// How long this edge works without a supervisor: until it is taken over, and has drained.
    pub fn stays(&self) -> Duration {
        TAKEN_OVER_WITHIN + self.drain + self.drain_tunnels
    }
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("edge")?;
    if let Some(api) = arguments.api {
        known.refuse_open_beyond_loopback(api)?;
    }
    let store = arguments.etcd.connect(&known, arguments.credentials.others.as_deref())?;
    let seal_key = arguments.seal_key.as_deref().map(SealKey::read).transpose()?;
    let api = vulcand::of_edge(store.clone(), seal_key.clone());
    let config = ::edge::Config {
        listen: arguments.listen,
        listen_tls: arguments.listen_tls,
        proxies: arguments.proxies,
        api: arguments.api,
        store,
        controllers: arguments.credentials.controllers(arguments.controllers)?,
        data: arguments.data,
        token: known.token,
        tls: known.tls,
        seal_key,
        verifier: known.verifier,
        edge_id: arguments.name.or(arguments.credentials.node.clone()).unwrap_or_else(super::host_name),
        node_id: arguments.credentials.node.unwrap_or_default(),
        client_times: ::edge::ClientTimes::default(),
        vulcand: ::edge::Vulcand { aliases: arguments.aliases, order: arguments.route_order, api: Some(api) },
        observation: arguments.observation.observation(),
        take_over: arguments.take_over,
        drain: ::edge::Drain { idle: arguments.drain, tunnels: arguments.drain_tunnels },
    };
    Ok(only("edge", ::edge::start(config, stop).await?))
}
