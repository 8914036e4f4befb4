//! The processes of one machine, in the order they need each other.

use super::child::{Program, ReadyAddresses, supervise};
use super::programs::Programs;
use super::replace::Leaving;
use super::routes;
use crate::cluster::{self, Membership};
use crate::config::Config;
use anyhow::Context;
use identity::{Authority, Role};
use lifecycle::Stop;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use store::{ClientCredentials, EtcdClient, Store, TxnRequest};
use tokio::task::JoinHandle;

/// A platform at work.
pub struct Platform {
    config: Config,
    membership: Option<Membership>,
    addresses: Addresses,
    children: Children,
}

/// Where everything listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    pub store: SocketAddr,
    pub controller: SocketAddr,
    pub sessions: SocketAddr,
    pub console: SocketAddr,
    pub objects: SocketAddr,
    pub registry: SocketAddr,
    pub edge: SocketAddr,
    pub edge_api: SocketAddr,
    /// Over TLS, where that is asked for.
    #[serde(default)]
    pub edge_https: Option<SocketAddr>,
    /// The status of the floating addresses, in a cluster that has some.
    #[serde(default)]
    pub vip: Option<SocketAddr>,
}

impl Addresses {
    /// The lines `roadstead up` prints on standard output, as each role alone does.
    pub fn ready_lines(&self) -> Vec<String> {
        let https = self.edge_https.map(|address| format!("ready edge.https {address}"));
        let lines = [
            format!("ready store {}", self.store),
            format!("ready controller {}", self.controller),
            format!("ready controller.sessions {}", self.sessions),
            format!("ready console {}", self.console),
            format!("ready objects {}", self.objects),
            format!("ready registry {}", self.registry),
            format!("ready edge {}", self.edge),
            format!("ready edge.api {}", self.edge_api),
        ];
        lines.into_iter().chain(https).collect()
    }
}

impl Platform {
    /// Starts everything and returns when all of it is ready. `None`: a stop was requested before. What was started is
    /// ended when something fails.
    pub async fn start(
        config: Config,
        authority: Option<&Authority>,
        membership: Option<Membership>,
        stop: &Stop,
    ) -> anyhow::Result<Option<Self>> {
        let mut children = Children::default();
        let starting = async {
            match &membership {
                None => Self::start_alone(&config, authority, &mut children).await,
                Some(membership) => Self::start_in_cluster(&config, membership, &mut children).await,
            }
        };
        match stop.or(starting).await {
            Some(Ok(addresses)) => {
                let platform = Self { config, membership, addresses, children };
                platform.addresses.write(&platform.config.data)?;
                Ok(Some(platform))
            }
            None => {
                children.end_in_reverse().await;
                Ok(None)
            }
            Some(Err(error)) => {
                children.end_in_reverse().await;
                Err(error)
            }
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    pub async fn finished(self) {
        self.children.end_in_reverse().await;
    }

    /// Ends what has to be for another supervisor to begin; returns what is left.
    pub async fn leave(self) -> Leaving {
        let leaving = self.children.leaving.clone();
        leaving.begin();
        self.children.end_in_reverse().await;
        leaving
    }

    /// State, data, edge, agent: in the order they need each other.
    async fn start_alone(
        config: &Config,
        authority: Option<&Authority>,
        children: &mut Children,
    ) -> anyhow::Result<Addresses> {
        let authority = authority.context("a machine alone has its own authority")?;
        cluster::make_seal_key(&config.data)?;
        let programs = Programs { config, membership: None };
        let ready = children.start(programs.state()).await?;
        let (store, controller) = (address(&ready, "store")?, address(&ready, "controller")?);
        let (sessions, console) = (address(&ready, "controller.sessions")?, address(&ready, "console")?);

        let ready = children.start(programs.data_process(Some(store))).await?;
        let (objects, registry) = (address(&ready, "objects")?, address(&ready, "registry")?);
        let credentials = ClientCredentials::Token(authority.token(Role::Admin).clone());
        let client = EtcdClient::connect(&[format!("http://{store}")], credentials, None)?;
        let success = routes::operations(&config.domain, objects);
        client.txn(TxnRequest { success, ..TxnRequest::default() }).await.context("write the routes of S3")?;

        let ready = children.start(programs.edge(Some((store, sessions)))).await?;
        let (edge, edge_api) = (address(&ready, "edge")?, address(&ready, "edge.api")?);
        let edge_https = config.edge.https.map(|_| address(&ready, "edge.https")).transpose()?;

        children.start(programs.agent(Some(sessions), registry)).await?;
        Ok(Addresses { store, controller, sessions, console, objects, registry, edge, edge_api, edge_https, vip: None })
    }

    /// The state is etcd's, where this machine keeps a part of it; everything else is as on one machine.
    async fn start_in_cluster(
        config: &Config,
        membership: &Membership,
        children: &mut Children,
    ) -> anyhow::Result<Addresses> {
        let programs = Programs { config, membership: Some(membership) };
        if membership.etcd.is_some() {
            children.start(programs.etcd_member(membership)).await?;
        }
        cluster::state::settle(config, membership).await?;
        let ready = children.start(programs.state()).await?;
        let (controller, console) = (address(&ready, "controller")?, address(&ready, "console")?);
        let sessions = address(&ready, "controller.peers")?;

        let ready = children.start(programs.data_process(None)).await?;
        let (objects, registry) = (address(&ready, "objects")?, address(&ready, "registry")?);

        let ready = children.start(programs.edge(None)).await?;
        let (edge, edge_api) = (address(&ready, "edge")?, address(&ready, "edge.api")?);
        let edge_https = config.edge.https.map(|_| address(&ready, "edge.https")).transpose()?;

        children.start(programs.agent(None, registry)).await?;
        let mut vip = None;
        if !membership.settings.vips.is_empty() {
            let ready = children.start(programs.vip(membership, edge_api)).await?;
            vip = Some(address(&ready, "vip")?);
        }
        let store = membership.at(membership.ports.etcd);
        Ok(Addresses { store, controller, sessions, console, objects, registry, edge, edge_api, edge_https, vip })
    }
}

/// In starting order, each with the stop that ends it.
#[derive(Default)]
struct Children {
    started: Vec<(Stop, JoinHandle<()>)>,
    leaving: Leaving,
}

impl Children {
    async fn start(&mut self, program: Program) -> anyhow::Result<ReadyAddresses> {
        // Not a child of the platform's stop: the order of ending is ours.
        let own = Stop::new();
        let (ready, keeper) = supervise(program, own.clone(), self.leaving.clone()).await?;
        self.started.push((own, keeper));
        Ok(ready)
    }

    /// The last started first, so that none loses what it needs while it drains.
    async fn end_in_reverse(self) {
        for (stop, keeper) in self.started.into_iter().rev() {
            stop.request();
            if let Err(error) = keeper.await {
                tracing::error!(%error, "the keeper of a child failed");
            }
        }
    }
}

fn address(ready: &ReadyAddresses, name: &str) -> anyhow::Result<SocketAddr> {
    let text = ready.get(name).with_context(|| format!("{name} did not say where it listens"))?;
    text.parse().with_context(|| format!("{name} listens on `{text}`, which is not an address"))
}
