//! A node: runs tasks, checks them, keeps their logs, takes them back after a restart.
//!
//! ```text
//! controller ◀─ session ─▶ node (one loop over one pure core) ─▶ runtime
//!                            ▲        │
//!                            └─ checks, starts, ends ◀┘
//! ```
//!
//! [`core`] decides: it is told what is desired and what happened, and answers with effects. [`node`] owns it, carries the
//! effects out and feeds back what came of them. [`session`] speaks with the controller that leads and may come and go: the
//! desired set is on disk ([`desired`]), so a node boots its tasks with no controller in reach, once it has waited for one
//! ([`BOOT_PATIENCE`]). [`checks`] watches over tasks.

mod checks;
mod core;
mod desired;
mod ended_logs;
mod face;
mod node;
mod node_id;
mod resources;
mod session;
mod spec;

pub use node::BOOT_PATIENCE;
pub use resources::{ResourcesError, default_resources, parse_resources};
pub use runtime::Choice as RuntimeKind;

use lifecycle::{BoxError, Started, Stop};
use protocol::Resources;
use runtime::{Detect, ImageSource, RegistryImages, Runtime};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// On a stop that ends the tasks: how long they may take.
const TASKS_END_MAX: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub struct Config {
    /// Where controllers take sessions: `http://host:port`, or `https://host:port` with `tls`. Those that the cluster has
    /// named since are kept in `data` and come first.
    pub controllers: Vec<String>,
    /// Between machines: this node's certificate.
    pub tls: Option<identity::Tls>,
    /// Everything this node keeps.
    pub data: PathBuf,
    pub runtime: RuntimeKind,
    /// `None`: made once and kept in `data`.
    pub node_id: Option<String>,
    /// What Marathon shows as a task's host.
    pub hostname: String,
    /// What edges dial for a task's host ports. An IP address is also what forwarded ports listen on; for a name that is
    /// every address.
    pub address: String,
    pub resources: Resources,
    pub attributes: BTreeMap<String, String>,
    /// For images whose reference names no registry; the only one that is shown `registry_credentials`.
    pub registry: Option<String>,
    pub registry_credentials: web::Credentials,
    /// For the session.
    pub credentials: web::Credentials,
    /// For `/metrics` and `/status`.
    pub listen: Option<SocketAddr>,
    /// Who may read them.
    pub verifier: identity::Verifier,
    pub tasks_on_stop: TasksOnStop,
    /// The binary that becomes a task's shim; its `main` calls [`runtime::shim::run_if_shim`] first.
    pub shim: PathBuf,
    /// Of the binary, for people.
    pub version: String,
}

/// What becomes of running tasks when the agent is told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TasksOnStop {
    /// They go on, and the next agent takes them back.
    #[default]
    Keep,
    /// They are stopped and removed, and so is the desired set.
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("find a runtime")]
    Runtime(#[source] runtime::Error),
    #[error("open the images of {}", path.display())]
    Images { path: PathBuf, source: BoxError },
    #[error("{what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("node id {id:?} is not made of letters, digits, dots and dashes")]
    NodeId { id: String },
    #[error("bind the agent's face")]
    Bind(#[source] std::io::Error),
    #[error("no controller is named, and none was named before")]
    NoController,
    #[error("find a controller")]
    Controller(#[from] protocol::dial::AddressError),
}

/// Starts a node with the runtime its configuration names.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    let images = config.data.join("images");
    let source = RegistryImages::open(&images, config.registry.clone(), config.registry_credentials.clone())
        .map_err(|source| Error::Images { path: images, source })?;
    let images: Arc<dyn ImageSource> = Arc::new(source);
    let detect = Detect {
        choice: config.runtime,
        data: config.data.clone(),
        listen: config.address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        shim: config.shim.clone(),
        node: node_id::keep(&config)?,
        registry: config.registry.clone(),
        registry_credentials: config.registry_credentials.clone(),
    };
    let runtime = runtime::detect(detect, images).await.map_err(Error::Runtime)?;
    start_with(config, runtime, stop).await
}

/// Starts a node with a runtime of the caller's.
pub async fn start_with(config: Config, runtime: Arc<dyn Runtime>, stop: Stop) -> Result<Started, Error> {
    if let Some(listen) = config.listen {
        config.verifier.may_guard(listen)?;
    }
    let node_id = node_id::keep(&config)?;
    let listener = match config.listen {
        Some(address) => Some(web::bind(address).await.map_err(Error::Bind)?),
        None => None,
    };
    let (node, handle) = node::Node::open(&config, node_id, runtime).await?;
    let session = session::Session::new(&config, handle.clone())?;

    let session_stop = stop.child();
    let node_stop = Stop::new();
    let node = tokio::spawn(node.run(node_stop.clone()));
    let session = tokio::spawn(session.run(session_stop));
    let mut address = None;
    let face = listener.map(|listener| {
        address = listener.local_addr().ok();
        let router = face::router(handle.clone(), config.verifier.clone());
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.child()))
    });
    let started = Started::new(async move {
        stop.requested().await;
        let session_ended = session.await;
        if config.tasks_on_stop == TasksOnStop::End
            && tokio::time::timeout(TASKS_END_MAX, handle.end_tasks()).await.is_err()
        {
            tracing::warn!(limit = ?TASKS_END_MAX, "some tasks did not end");
        }
        node_stop.request();
        node.await??;
        if let Some(face) = face {
            face.await?;
        }
        Ok(session_ended?)
    });
    Ok(match address {
        Some(address) => started.listening("", address),
        None => started,
    })
}
