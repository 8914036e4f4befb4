//! The edge: a reverse proxy that re-routes as the store changes, without a reload.
//!
//! ```text
//! store ── watch ──▶ sources ──▶ assembler ──▶ current (the table that serves, swapped whole) ◀──▶ kept (on disk)
//!                                                 │              │
//! client ──▶ engine ── admit ─────────────────────┘              └──▶ session ──▶ the controller that leads
//!              │ ▲ └──▶ server of the route                           (what serves, who still drains)
//!              │ └───── ready (the edge asks itself)
//!              └─ a thread per core; listeners tells them where to listen, succession gives the sockets to the next process
//! ```
//!
//! Routing itself is `core/routing`, vulcand's keys are `core/vulcand`, HTTP/1 is `machinery/http1`, all pure; here are
//! sockets and the clock. The data path is [`engine`] and nothing else. Reading order: `current` (the invariant everything
//! rests on), `engine`, `sources`; `start` puts the parts together.

mod accesslog;
mod activity;
mod api;
mod balancing;
mod certificates;
mod challenges;
mod count;
mod current;
mod engine;
mod handover;
mod health;
mod identifiers;
mod kept;
mod limits;
mod listeners;
mod metrics;
mod mirror;
mod observation;
mod outside;
mod per_thread;
mod quiesce;
mod ready;
mod secure;
mod servers;
mod session;
mod sources;
mod spool;
mod stapling;
mod start;
mod succession;
mod traces;
mod vulcands;

pub use crate::accesslog::{Config as AccessLogConfig, Destination, LineFormat};
pub use crate::activity::{Figures, RouteFigures, ServerFigures, Top};
pub use crate::count::Distribution;
pub use crate::observation::{Observation, RequestIds};
pub use crate::secure::SecureError;
pub use crate::start::start;
pub use crate::succession::Drain;
pub use crate::traces::Config as TracesConfig;
pub use crate::vulcands::{MakeApi, Vulcand};

use crate::limits::{CLIENT_STALL_MAX, HEAD_TIMEOUT};
use protocol::dial;
use routing::Network;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

pub struct Config {
    /// The edge's own listeners (port 0 picks one); the store may ask for more.
    pub listen: Vec<SocketAddr>,
    /// The same over TLS; parts are `https`.
    pub listen_tls: Vec<SocketAddr>,
    /// Who may say whom it speaks for, by a PROXY header in front of each connection, and has to.
    pub proxies: Vec<Network>,
    /// Where status, routes and metrics are served.
    pub api: Option<SocketAddr>,
    pub store: Arc<dyn Store>,
    /// Where controllers take sessions: `http://host:port`, or `https://host:port` with `tls`. Those that the cluster has
    /// named since are kept in `data` and come first. With none of either there is no session.
    pub controllers: Vec<String>,
    /// What outlives the process: the last good table and the controllers.
    pub data: Option<PathBuf>,
    /// Shown to the controller.
    pub token: Option<identity::Token>,
    /// Between machines: this node's certificate.
    pub tls: Option<identity::Tls>,
    /// What opens the private keys in the store; without it no certificate of the store can be shown.
    pub seal_key: Option<identity::SealKey>,
    /// Guards the API.
    pub verifier: identity::Verifier,
    /// This edge's name, unique in the cluster.
    pub edge_id: String,
    /// The node this edge runs on; empty: not known.
    pub node_id: String,
    pub client_times: ClientTimes,
    pub vulcand: Vulcand,
    /// What is told of each request.
    pub observation: Observation,
    /// Another process that runs with this `data` hands over its listening sockets, and ends. Where none does this one binds
    /// its own.
    pub take_over: bool,
    /// How long this process serves its connections on after another one has taken over.
    pub drain: Drain,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimes {
    /// For a request's head, from its first byte on; also how long a kept-alive connection may idle (vulcand's
    /// `-serverReadTimeout`).
    pub head: Duration,
    /// Without taking anything of a response (vulcand's `-serverWriteTimeout` cuts slow ones too).
    pub stall: Duration,
}

impl Default for ClientTimes {
    fn default() -> Self {
        Self { head: HEAD_TIMEOUT, stall: CLIENT_STALL_MAX }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("no listener is configured")]
    NoListener,
    #[error("bind the edge")]
    Bind(#[source] io::Error),
    #[error("find a controller")]
    Controller(#[from] dial::AddressError),
    #[error("make the directory {}", path.display())]
    Data { path: PathBuf, source: io::Error },
    #[error("begin to tell of requests")]
    Observation(#[from] observation::ObservationError),
    #[error("draw a random number")]
    Random(#[source] io::Error),
    #[error("make the keys of tickets")]
    Tickets(#[source] identity::SealKeyError),
    #[error("listen over TLS")]
    Secure(#[source] SecureError),
    #[error("start a thread")]
    Thread(#[source] io::Error),
    #[error("take over")]
    TakeOver(#[from] succession::TakeError),
}
