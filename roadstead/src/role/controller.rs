//! `roadstead controller`.

use super::{Services, credentials, etcd, only, vulcand};
use crate::acme::Acme;
use identity::SealKey;
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    etcd: etcd::EtcdFlags,
    /// Where Marathon's API listens, and agents and edges open their sessions
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A second listener, for sessions alone
    #[arg(long)]
    sessions: Option<SocketAddr>,
    /// A socket for this user alone: the same API without further credentials
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Apps are served as <app>.<domain>
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// The port the edges serve on, for the addresses the API shows
    #[arg(long)]
    edge_port: Option<u16>,
    /// What opens the private keys of certificates in the state: 64 hexadecimal digits, or 32 bytes (vulcand's -sealKey)
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    /// Where browsers reach HTTPS, for redirects of plain requests; default: 443
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    #[command(flatten)]
    acme: Acme,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("controller")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    if let Some(sessions) = arguments.sessions {
        known.refuse_open_beyond_loopback(sessions)?;
    }
    let store = arguments.etcd.connect(&known, arguments.credentials.others.as_deref())?;
    let seal_key = arguments.seal_key.as_deref().map(SealKey::read).transpose()?;
    let config = ::controller::Config {
        listen: arguments.listen,
        sessions: arguments.sessions,
        socket: arguments.socket,
        verifier: known.verifier,
        domain: arguments.domain,
        platform_routes: Vec::new(),
        hostname: super::host_name(),
        edge_port: arguments.edge_port,
        drain: true,
        vulcand: Some(vulcand::of_controller(store.clone(), seal_key.clone())),
        https_port: arguments.https_port,
        acme: arguments.acme.settings()?,
        seal_key,
        cluster: None,
        store,
    };
    Ok(only("controller", ::controller::start(config, stop).await?))
}
