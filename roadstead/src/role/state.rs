//! The `state` process of `up`: store, controller and console. They still meet over the network: the controller is a
//! client of the store's protocol, the console of the controller's API. In a cluster the store is etcd, a process apart.

use super::{Services, store, vulcand};
use crate::acme::Acme;
use crate::cli::socket_path;
use crate::cluster::{self, Membership, Others};
use ::store::{ClientCredentials, EtcdClient, Members, Store};
use anyhow::Context;
use identity::{Authority, Ca, Identity, Role, SealKey, Tls, Token, Verifier};
use lifecycle::{Started, Stop};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    domain: String,
    /// The embedded store's address, on a machine alone
    #[arg(long)]
    store: Option<SocketAddr>,
    #[arg(long)]
    controller: SocketAddr,
    #[arg(long)]
    sessions: Option<SocketAddr>,
    /// Where machines of the cluster meet this one, by mutual TLS
    #[arg(long)]
    peers: Option<SocketAddr>,
    #[arg(long)]
    console: SocketAddr,
    #[arg(long)]
    edge_port: Option<u16>,
    /// Where browsers reach HTTPS
    #[arg(long)]
    https_port: Option<u16>,
    #[arg(long)]
    open: bool,
    #[arg(long)]
    no_drain: bool,
    #[command(flatten)]
    acme: Acme,
    #[arg(long)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    match Membership::read(&arguments.data)? {
        None => start_alone(arguments, stop).await,
        Some(membership) => start_in_cluster(arguments, membership, stop).await,
    }
}

async fn start_alone(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let authority = Authority::load(&arguments.data)?;
    let known = |role| match arguments.open {
        true => (Verifier::Open, None),
        false => (authority.identity(role).verifier(), Some(authority.token(role).clone())),
    };
    let listen = arguments.store.context("--store is needed on a machine alone")?;
    let config = store::config(listen, arguments.data.join("store"), &authority, arguments.open);
    let store = ::store::start(config, stop.child()).await.context("start the store")?;
    let store_url = format!("http://{}", store.address("").context("the store listens")?);

    let (verifier, token) = known(Role::Controller);
    let client =
        EtcdClient::connect(&[store_url], token.map_or(ClientCredentials::None, ClientCredentials::Token), None)?;
    let controller = start_controller(&arguments, Arc::new(client), verifier, None, &stop).await?;
    let console = start_console(&arguments, &controller, known(Role::Console), &stop).await?;
    Ok(vec![("store", store), ("controller", controller), ("console", console)])
}

async fn start_in_cluster(arguments: Arguments, membership: Membership, stop: Stop) -> anyhow::Result<Services> {
    let data = &arguments.data;
    let certificates = data.join("identity");
    // A machine that keeps no state vouches for nobody: it only reads, and passes on what it is asked.
    let role = if membership.keeps_state { Role::Controller } else { Role::Console };
    let tls = Tls::open(&certificates, role)?;
    let client = cluster::state::client(&Others::path(data), Some(tls.client(Some(Role::Store))))?;
    let known = |role| -> anyhow::Result<_> {
        let identity = Identity::read(&Identity::path(data, role))?;
        Ok((identity.verifier(), Some(identity.token)))
    };
    // etcd lets only its administrator change its members.
    let members: Arc<dyn Members> = match membership.keeps_state {
        true => {
            let administrator = Tls::open(&certificates, Role::Admin)?;
            cluster::state::client(&Others::path(data), Some(administrator.client(Some(Role::Store))))?
        }
        false => client.clone(),
    };
    let peers = arguments.peers.context("--peers is needed in a cluster")?;
    let in_cluster = ::controller::cluster::Cluster {
        node: membership.name.clone(),
        address: membership.address,
        peers_listen: peers,
        advertise: peers.to_string(),
        tls,
        candidate: membership.keeps_state,
        etcd_peer_url: membership.etcd_url(membership.ports.etcd_peer),
        etcd_client_url: membership.etcd_url(membership.ports.etcd),
        settings: membership.settings.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        ca: membership.keeps_state.then(|| Ca::load(&certificates)).transpose()?.map(Arc::new),
        authority: membership.keeps_state.then(|| Authority::load(data)).transpose()?,
        members,
    };
    let controller = start_controller(&arguments, client, known(role)?.0, Some(in_cluster), &stop).await?;
    let console = start_console(&arguments, &controller, known(Role::Console)?, &stop).await?;
    Ok(vec![("controller", controller), ("console", console)])
}

async fn start_controller(
    arguments: &Arguments,
    store: Arc<dyn Store>,
    verifier: Verifier,
    in_cluster: Option<::controller::cluster::Cluster>,
    stop: &Stop,
) -> anyhow::Result<Started> {
    let seal_key = SealKey::read_if_there(&cluster::seal_key_path(&arguments.data))?;
    let config = ::controller::Config {
        listen: arguments.controller,
        sessions: arguments.sessions,
        socket: Some(socket_path(&arguments.data)),
        verifier,
        domain: arguments.domain.clone(),
        platform_routes: Vec::new(),
        hostname: super::host_name(),
        edge_port: arguments.edge_port,
        drain: !arguments.no_drain,
        vulcand: Some(vulcand::of_controller(store.clone(), seal_key.clone())),
        seal_key,
        https_port: arguments.https_port,
        acme: arguments.acme.settings()?,
        store,
        cluster: in_cluster,
    };
    ::controller::start(config, stop.child()).await.context("start the controller")
}

async fn start_console(
    arguments: &Arguments,
    controller: &Started,
    (verifier, token): (Verifier, Option<Token>),
    stop: &Stop,
) -> anyhow::Result<Started> {
    let credentials = token.map(|token| web::Credentials::Bearer(token.reveal().to_owned()));
    let config = ::console::Config {
        listen: arguments.console,
        controller: format!("http://{}", controller.address("").context("the controller listens")?),
        credentials: credentials.unwrap_or(web::Credentials::None),
        verifier,
    };
    ::console::start(config, stop.child()).await.context("start the console")
}
