//! `roadstead vip`.

use super::{Services, credentials, etcd, only};
use crate::config::{ConfigError, IpNetwork};
use crate::up::parse_time;
use ::vip::{FloatingAddress, VirtualRouter};
use anyhow::Context;
use lifecycle::Stop;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub question: Option<crate::cli::VipCommand>,
    /// An address to hold while this machine is the one to, with its network's prefix: 10.0.0.100/24 (repeatable)
    #[arg(long = "address", required = true, value_name = "ADDRESS/PREFIX")]
    addresses: Vec<IpNetwork>,
    /// This machine's own address: it finds the interface
    #[arg(long, required = true)]
    own: Option<IpAddr>,
    /// Time between two advertisements
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "100ms")]
    advert: Duration,
    /// With --etcd: how long this machine waits before it asks for an address when others hold more of them; 0s: never
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    spread_after: Duration,
    /// This machine gives the addresses up while this URL does not answer 200: an edge's /ready
    #[arg(long, value_name = "URL")]
    ready: Option<String>,
    /// Where status and metrics are served
    #[arg(long, default_value = "127.0.0.1:8183")]
    listen: SocketAddr,
    #[command(flatten)]
    etcd: etcd::OptionalEtcdFlags,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("vip")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let interface = interface_of(arguments.own.context("--own is needed")?)?;
    let floating = |network: &IpNetwork| FloatingAddress {
        address: network.address,
        prefix: network.prefix,
        interface: interface.clone(),
    };
    let addresses: Vec<FloatingAddress> = arguments.addresses.iter().map(floating).collect();
    let node = arguments.credentials.node.clone().unwrap_or_else(super::host_name);
    let with_advert = |router| VirtualRouter { advert_interval: arguments.advert, ..router };
    let config = ::vip::Config {
        routers: ::vip::spread(&node, &addresses).into_iter().map(with_advert).collect(),
        node,
        ready_url: arguments.ready,
        ready_credentials: known.client(),
        store: arguments.etcd.connect(&known, arguments.credentials.others.as_deref())?.map(|client| client as _),
        spread_after: Some(arguments.spread_after).filter(|after| !after.is_zero()),
        listen: Some(arguments.listen),
        verifier: known.verifier,
    };
    Ok(only("vip", ::vip::start(config, stop).await?))
}

/// The interface that has this machine's own address carries the floating ones.
fn interface_of(own: IpAddr) -> anyhow::Result<String> {
    let interfaces = nix::ifaddrs::getifaddrs().context("list the interfaces")?;
    let has_own = |interface: &nix::ifaddrs::InterfaceAddress| {
        let address = interface.address.as_ref();
        let v4 = address.and_then(|address| address.as_sockaddr_in()).map(|address| IpAddr::V4(address.ip()));
        let v6 = address.and_then(|address| address.as_sockaddr_in6()).map(|address| IpAddr::V6(address.ip()));
        v4.or(v6) == Some(own)
    };
    let found = interfaces.into_iter().find(has_own);
    let none = || ConfigError::Usage(format!("--own {own} is not an address of this machine"));
    Ok(found.ok_or_else(none)?.interface_name)
}
