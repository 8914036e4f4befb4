//! The four processes, in the order they need each other: state, data, edge, node.

use super::child::{Listener, Program, ReadyAddresses, supervise};
use super::routes;
use crate::config::Config;
use anyhow::Context;
use identity::{Authority, Identity, Role};
use lifecycle::Stop;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::task::JoinHandle;

/// A platform at work.
pub struct Platform {
    config: Config,
    addresses: Addresses,
    /// In starting order, each with the stop that ends it.
    children: Vec<(Stop, JoinHandle<()>)>,
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
}

impl Addresses {
    /// The lines `roadstead up` prints on standard output, as each role alone does.
    pub fn ready_lines(&self) -> [String; 8] {
        [
            format!("ready store {}", self.store),
            format!("ready controller {}", self.controller),
            format!("ready controller.sessions {}", self.sessions),
            format!("ready console {}", self.console),
            format!("ready objects {}", self.objects),
            format!("ready registry {}", self.registry),
            format!("ready edge {}", self.edge),
            format!("ready edge.api {}", self.edge_api),
        ]
    }
}

impl Platform {
    /// Starts everything and returns when all of it is ready; what was started is ended when something fails.
    pub async fn start(config: Config, authority: &Authority, stop: &Stop) -> anyhow::Result<Self> {
        let mut children = Vec::new();
        match Self::start_children(&config, authority, stop, &mut children).await {
            Ok(addresses) => {
                let platform = Self { config, addresses, children };
                platform.addresses.write(&platform.config.data)?;
                Ok(platform)
            }
            Err(error) => {
                end_in_reverse(children).await;
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

    /// Ends the children, the last started first, so that none loses what it needs while it drains.
    pub async fn finished(self) {
        end_in_reverse(self.children).await;
    }

    async fn start_children(
        config: &Config,
        authority: &Authority,
        stop: &Stop,
        children: &mut Vec<(Stop, JoinHandle<()>)>,
    ) -> anyhow::Result<Addresses> {
        let data = config.data.clone();
        let mut start = async |program: Program| -> anyhow::Result<ReadyAddresses> {
            // Not a child of `stop`: the order of ending is ours.
            let own = Stop::new();
            let (ready, keeper) = supervise(program, own.clone()).await?;
            children.push((own, keeper));
            Ok(ready)
        };
        let _ = stop;

        let ready = start(state(config)).await?;
        let (store, controller) = (address(&ready, "store")?, address(&ready, "controller")?);
        let (sessions, console) = (address(&ready, "controller.sessions")?, address(&ready, "console")?);

        let ready = start(data_process(config, store)).await?;
        let (objects, registry) = (address(&ready, "objects")?, address(&ready, "registry")?);
        routes::write(store, authority.token(Role::Admin), &config.domain, objects).await?;

        let ready = start(edge(config, store, sessions, Identity::path(&data, Role::Edge))).await?;
        let (edge, edge_api) = (address(&ready, "edge")?, address(&ready, "edge.api")?);

        start(node(config, sessions, registry, Identity::path(&data, Role::Agent))).await?;
        Ok(Addresses { store, controller, sessions, console, objects, registry, edge, edge_api })
    }
}

async fn end_in_reverse(children: Vec<(Stop, JoinHandle<()>)>) {
    for (stop, keeper) in children.into_iter().rev() {
        stop.request();
        if let Err(error) = keeper.await {
            tracing::error!(%error, "the keeper of a child failed");
        }
    }
}

/// Store, controller and console.
fn state(config: &Config) -> Program {
    let mut arguments = common(config);
    if config.edge.listen.port() != 0 {
        arguments.extend(["--edge-port".into(), config.edge.listen.port().to_string()]);
    }
    if !config.controller.drain {
        arguments.push("--no-drain".into());
    }
    Program {
        name: "state",
        arguments,
        log: config.log.clone(),
        listeners: vec![
            listener("--store", "store", config.store.listen),
            listener("--controller", "controller", config.controller.listen),
            listener("--sessions", "controller.sessions", config.controller.sessions),
            listener("--console", "console", config.console.listen),
        ],
    }
}

/// Objects and registry.
fn data_process(config: &Config, store: SocketAddr) -> Program {
    let mut arguments = common(config);
    arguments.extend(["--etcd".into(), format!("http://{store}")]);
    Program {
        name: "data",
        arguments,
        log: config.log.clone(),
        listeners: vec![
            listener("--objects", "objects", config.objects.listen),
            listener("--registry", "registry", config.registry.listen),
        ],
    }
}

fn edge(config: &Config, store: SocketAddr, sessions: SocketAddr, identity: PathBuf) -> Program {
    let mut arguments = credentials(config, identity);
    arguments.extend(["--etcd".into(), format!("http://{store}")]);
    arguments.extend(["--controller".into(), format!("http://{sessions}")]);
    Program {
        name: "edge",
        arguments,
        log: config.log.clone(),
        listeners: vec![
            listener("--listen", "edge", config.edge.listen),
            listener("--api", "edge.api", config.edge.api),
        ],
    }
}

fn node(config: &Config, sessions: SocketAddr, registry: SocketAddr, identity: PathBuf) -> Program {
    let mut arguments = credentials(config, identity);
    arguments.extend(["--controller".into(), format!("http://{sessions}")]);
    arguments.extend(["--data".into(), config.data.join("node").display().to_string()]);
    arguments.extend(["--runtime".into(), config.agent.runtime.clone()]);
    arguments.extend(["--registry".into(), registry.to_string()]);
    if !config.agent.tasks_outlive {
        arguments.push("--end-tasks".into());
    }
    arguments.extend(["--address".into(), config.agent.address.clone()]);
    if !config.agent.resources.is_empty() {
        arguments.extend(["--resources".into(), config.agent.resources.clone()]);
    }
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Program { name: "agent", arguments, log: config.log.clone(), listeners: vec![listener("--listen", "agent", free)] }
}

fn common(config: &Config) -> Vec<String> {
    let mut arguments = vec!["--data".into(), config.data.display().to_string()];
    arguments.extend(["--domain".into(), config.domain.clone()]);
    if config.open {
        arguments.push("--open".into());
    }
    arguments
}

fn credentials(config: &Config, identity: PathBuf) -> Vec<String> {
    if config.open { vec!["--open".into()] } else { vec!["--identity".into(), identity.display().to_string()] }
}

fn listener(flag: &'static str, ready: &'static str, address: SocketAddr) -> Listener {
    Listener { flag, ready, address: address.to_string() }
}

fn address(ready: &ReadyAddresses, name: &str) -> anyhow::Result<SocketAddr> {
    let text = ready.get(name).with_context(|| format!("{name} did not say where it listens"))?;
    text.parse().with_context(|| format!("{name} listens on `{text}`, which is not an address"))
}
