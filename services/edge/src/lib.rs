//! The edge: a reverse proxy that re-routes as the store changes, without a reload.
//!
//! ```text
//! store ── watch ──▶ sources ──▶ assembler ──▶ current (the table that serves, swapped whole)
//!                                                 │              │
//! client ──▶ listeners ──▶ proxy ── admit ────────┘              └──▶ session ──▶ controller
//!                            └──▶ server of the route                 (what serves, who still drains)
//! ```
//!
//! Routing itself is `core/routing`, vulcand's keys are `core/vulcand`, both pure; here are sockets and the clock. The data
//! path is [`proxy`] and nothing else. Reading order: `current` (the invariant everything rests on), `sources`, `proxy`.

mod api;
mod current;
mod limits;
mod listeners;
mod metrics;
mod proxy;
mod servers;
mod session;
mod sources;
mod stall;

use crate::api::Api;
use crate::current::Current;
use crate::limits::DRAIN_GRACE;
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::session::Session;
use crate::sources::Assembler;
use lifecycle::{Started, Stop};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use store::Store;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub struct Config {
    /// The edge's own listeners (port 0 picks one); the store may ask for more.
    pub listen: Vec<SocketAddr>,
    /// Where status, routes and metrics are served.
    pub api: Option<SocketAddr>,
    pub store: Arc<dyn Store>,
    /// `http://host:port` of the controller's session endpoint.
    pub controller: Option<String>,
    /// Shown to the controller.
    pub token: Option<identity::Token>,
    /// Guards the API.
    pub verifier: identity::Verifier,
    /// This edge's name, unique in the cluster.
    pub edge_id: String,
    /// Of the store; 0 when not known.
    pub cluster_id: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("no listener is configured")]
    NoListener,
    #[error("bind the edge")]
    Bind(#[source] io::Error),
}

/// Binds, and serves until the stop; parts are `""` for each listener and `api`.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    if let Some(api) = config.api {
        config.verifier.may_guard(api)?;
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(web::bind(*address).await.map_err(Error::Bind)?);
    }
    let first = listeners.first().ok_or(Error::NoListener)?.local_addr().map_err(Error::Bind)?;
    let api = match config.api {
        Some(address) => Some(web::bind(address).await.map_err(Error::Bind)?),
        None => None,
    };
    let mut addresses = Vec::new();
    for listener in &listeners {
        addresses.push(("", listener.local_addr().map_err(Error::Bind)?));
    }
    if let Some(listener) = &api {
        addresses.push(("api", listener.local_addr().map_err(Error::Bind)?));
    }

    let metrics = Arc::new(Metrics::new());
    let current = Arc::new(Current::new());
    let proxy = Arc::new(Proxy {
        current: current.clone(),
        metrics: metrics.clone(),
        edge_id: config.edge_id.clone(),
        tunnels: TaskTracker::new(),
        cut_tunnels: Stop::new(),
    });
    let faces = Listeners::new(proxy.clone(), stop.clone());
    for listener in listeners {
        faces.serve(listener);
    }

    // Ends with the stop or with this set, whichever comes first.
    let mut background = JoinSet::new();
    let updates = sources::watch_all(&config.store, &metrics, &stop, &mut background);
    background.spawn(Assembler::new(current.clone(), metrics.clone()).run(updates));
    if let Some(listener) = api {
        let api = Api { current: current.clone(), listeners: faces.clone(), metrics, edge_id: config.edge_id.clone() };
        let router = api::router(api, config.verifier);
        background.spawn(web::serve(listener, router, web::Bounds::default(), stop.clone()));
    }
    if let Some(controller) = config.controller {
        let Config { token, edge_id, cluster_id, .. } = config;
        let address = first.to_string();
        background.spawn(Session { controller, token, edge_id, address, cluster_id, current: current.clone() }.run());
    }

    let done = async move {
        faces.run(current).await;
        proxy.tunnels.close();
        if tokio::time::timeout(DRAIN_GRACE, proxy.tunnels.wait()).await.is_err() {
            tracing::warn!(grace = ?DRAIN_GRACE, "tunnels outlived the grace and are cut");
            proxy.cut_tunnels.request();
            proxy.tunnels.wait().await;
        }
        // The session told the controller until now that requests were still in flight.
        background.shutdown().await;
        Ok(())
    };
    let running = tokio::spawn(done);
    let started = Started::new(async move { running.await? });
    Ok(addresses.into_iter().fold(started, |started, (part, address)| started.listening(part, address)))
}
