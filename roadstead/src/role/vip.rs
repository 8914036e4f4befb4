//! `roadstead vip`.

pub mod vrrp;

use super::{Services, credentials, etcd, only};
use crate::config::ConfigError;
use crate::up::parse_time;
use anyhow::Context;
use lifecycle::Stop;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use vrrp::{Addresses, Place, Vrrp};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub question: Option<crate::cli::VipCommand>,
    /// An address to hold while this machine is the one to, with its network's prefix: 10.0.0.100/24 (repeatable); several
    /// with commas between them float together
    #[arg(long = "address", required = true, value_name = "ADDRESS/PREFIX")]
    addresses: Vec<Addresses>,
    /// This machine's own address: it finds the interface
    #[arg(long, required = true)]
    own: Option<IpAddr>,
    /// With --etcd: how long this machine waits before it asks for an address when others hold more of them; 0s: never
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    #[arg(conflicts_with_all = ["priority", "preempt"])]
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
    #[command(flatten)]
    vrrp: Vrrp,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

impl Arguments {
    fn spread_after(&self) -> Option<Duration> {
        Some(self.spread_after).filter(|after| !after.is_zero() && !self.vrrp.ranks())
    }
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("vip")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let own = arguments.own.context("--own is needed")?;
    let interface = interface_of(own)?;
    let node = arguments.credentials.node.clone().unwrap_or_else(super::host_name);
    let place = Place { node: &node, own: Some(own), interface: &interface };
    let routers = arguments.vrrp.routers(&place, &arguments.addresses);
    let spread_after = arguments.spread_after();
    let config = ::vip::Config {
        routers: routers.map_err(|refused| ConfigError::Usage(refused.to_string()))?,
        node,
        ready_url: arguments.ready,
        ready_credentials: known.client(),
        store: arguments.etcd.connect(&known, arguments.credentials.others.as_deref())?.map(|client| client as _),
        spread_after,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    enum Line {
        Vip(Arguments),
    }

    #[test]
    fn ranks_and_spreading_exclude_each_other() {
        let usual = ["", "vip", "--own", "10.0.0.11", "--address", "10.0.0.100/24"];
        let line = |flags: &[&'static str]| Line::try_parse_from(usual.into_iter().chain(flags.iter().copied()));
        let spread_after = |flags: &[&'static str]| line(flags).map(|Line::Vip(arguments)| arguments.spread_after());
        assert_eq!(spread_after(&[]).unwrap(), Some(Duration::from_secs(10)));
        assert_eq!(spread_after(&["--spread-after", "0s"]).unwrap(), None);
        for ranks in [&["--priority", "120"][..], &["--preempt"]] {
            assert_eq!(spread_after(ranks).unwrap(), None);
            let error = spread_after(&[ranks, &["--spread-after", "5s"]].concat()).unwrap_err().to_string();
            assert!(error.contains("--spread-after") && error.contains(ranks[0]), "{error}");
        }
    }
}
