//! The `state` process of `up`: store, controller and console. They still meet over the network: the controller is a
//! client of the store's protocol, the console of the controller's API.

use super::{Services, store};
use crate::cli::socket_path;
use anyhow::Context;
use identity::{Authority, Role, Verifier};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    domain: String,
    #[arg(long)]
    store: SocketAddr,
    #[arg(long)]
    controller: SocketAddr,
    #[arg(long)]
    sessions: SocketAddr,
    #[arg(long)]
    console: SocketAddr,
    #[arg(long)]
    edge_port: Option<u16>,
    #[arg(long)]
    open: bool,
    #[arg(long)]
    no_drain: bool,
    #[arg(long)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let authority = Authority::load(&arguments.data)?;
    let open = arguments.open;
    let verifier = |role| if open { Verifier::Open } else { authority.identity(role).verifier() };
    let token = |role: Role| (!open).then(|| authority.token(role).clone());

    let config = store::config(arguments.store, arguments.data.join("store"), &authority, open);
    let store = ::store::start(config, stop.child()).await.context("start the store")?;
    let store_url = format!("http://{}", store.address("").context("the store listens")?);

    let credentials = match token(Role::Controller) {
        Some(token) => ::store::ClientCredentials::Token(token),
        None => ::store::ClientCredentials::None,
    };
    let client = ::store::EtcdClient::connect(&[store_url], credentials)?;
    let config = ::controller::Config {
        listen: arguments.controller,
        sessions: Some(arguments.sessions),
        socket: Some(socket_path(&arguments.data)),
        store: Arc::new(client),
        verifier: verifier(Role::Controller),
        domain: arguments.domain,
        platform_routes: Vec::new(),
        hostname: super::host_name(),
        edge_port: arguments.edge_port,
        drain: !arguments.no_drain,
    };
    let controller = ::controller::start(config, stop.child()).await.context("start the controller")?;
    let controller_url = format!("http://{}", controller.address("").context("the controller listens")?);

    let config = ::console::Config {
        listen: arguments.console,
        controller: controller_url,
        credentials: token(Role::Console)
            .map_or(web::Credentials::None, |token| web::Credentials::Bearer(token.reveal().to_owned())),
        verifier: verifier(Role::Console),
    };
    let console = ::console::start(config, stop.child()).await.context("start the console")?;
    Ok(vec![("store", store), ("controller", controller), ("console", console)])
}
