//! Starting the controller: its listeners, its sessions, its leader.

use crate::api;
use crate::desk::Desk;
use crate::leader::{Fence, Leader, LeaderError, Settings};
use crate::load;
use crate::sessions::{self, MESSAGES_QUEUED_MAX};
use crate::uuids::Uuids;
use axum::Router;
use axum::extract::Request;
use identity::{Caller, Gate, Role, Verifier};
use lifecycle::metrics::Registry;
use lifecycle::{BoxError, ErrorChain, Started, Stop};
use routing::document::RouteDocument;
use scheduler::Policy;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use web::Bounds;

/// A store that is away at the start is tried again after this time.
const STORE_RETRY_INTERVAL: Duration = Duration::from_millis(200);

pub struct Config {
    /// The Marathon API, and sessions beside it.
    pub listen: SocketAddr,
    /// The same API for the owner of a Unix socket, without further credentials.
    pub socket: Option<PathBuf>,
    /// A listener for the sessions of agents and edges alone.
    pub sessions: Option<SocketAddr>,
    pub store: Arc<dyn Store>,
    pub verifier: Verifier,
    /// Apps are served as `<app>.<domain>`.
    pub domain: String,
    /// Routes of the platform's own, by name.
    pub platform_routes: Vec<(String, RouteDocument)>,
    /// Whether tasks wait for the edges before they stop; off only in tests that show what it is for.
    pub drain: bool,
    /// What `/v2/info` calls this machine.
    pub hostname: String,
    /// The port the edges serve on, for the addresses the API shows; `None`: 80.
    pub edge_port: Option<u16>,
}

impl Config {
    /// Free ports on loopback, the defaults otherwise.
    pub fn new(store: Arc<dyn Store>, verifier: Verifier) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            socket: None,
            sessions: Some(loopback),
            store,
            verifier,
            domain: "localhost".to_owned(),
            platform_routes: Vec::new(),
            drain: true,
            hostname: "localhost".to_owned(),
            edge_port: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("bind a listener")]
    Bind(#[source] io::Error),
    #[error("draw random bits")]
    Random(#[source] getrandom::Error),
    #[error("take the lead")]
    Lead(#[source] StoreError),
    #[error("load the state")]
    Load(#[source] StoreError),
}

/// Listens, takes the lead, and works until `stop`. Parts: the API (``""``), `socket`, `sessions`.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    Ok(start_with_desk(config, stop).await?.0)
}

pub(crate) async fn start_with_desk(config: Config, stop: Stop) -> Result<(Started, Desk), Error> {
    for listen in [Some(config.listen), config.sessions].into_iter().flatten() {
        config.verifier.may_guard(listen)?;
    }
    let api_listener = web::bind(config.listen).await.map_err(Error::Bind)?;
    let sessions_listener = match config.sessions {
        Some(address) => Some(web::bind(address).await.map_err(Error::Bind)?),
        None => None,
    };
    let socket_listener = config.socket.as_deref().map(web::bind_unix).transpose().map_err(Error::Bind)?;
    let api_address = api_listener.local_addr().map_err(Error::Bind)?;
    let sessions_address = sessions_listener.as_ref().map(TcpListener::local_addr).transpose().map_err(Error::Bind)?;

    let mut uuids = Uuids::new().map_err(Error::Random)?;
    let fence = take_the_lead(config.store.as_ref(), &mut uuids, &stop).await.map_err(Error::Lead)?;
    let framework_id = fence.framework_id.clone();
    let loaded = load::load(config.store.as_ref()).await.map_err(Error::Load)?;

    // A leader that ends, for whatever reason, takes the faces with it: nothing behind them would answer.
    let stop = stop.child();
    let (desk, inbox) = Desk::open(loaded.world.clone());
    let (messages, messages_receiver) = mpsc::channel(MESSAGES_QUEUED_MAX);
    let sessions = sessions::Service::server(config.verifier.clone(), messages, stop.clone());
    let context = api::Context {
        leader: api_address.to_string(),
        hostname: config.hostname,
        http_port: api_address.port(),
        framework_id,
        domain: config.domain.clone(),
        edge_port: config.edge_port,
        registry: Arc::new(Registry::default()),
        stop: stop.clone(),
    };
    let face = api::router(desk.clone(), context);
    let policy = Policy { drain: config.drain, ..Policy::default() };
    let settings =
        Settings { store: config.store, policy, domain: config.domain, platform_routes: config.platform_routes };
    let leader = Leader::new(settings, fence, uuids, loaded, inbox, messages_receiver);

    let bounds = Bounds::default();
    let gate = Gate::new(config.verifier, "roadstead controller", api::allowed);
    let sessions = tonic::service::Routes::new(sessions).into_axum_router();
    // Sessions are taken on the API's address, too: whoever knows the controller by one URL needs no second. They ask for
    // credentials themselves, so that a peer is refused by a gRPC status.
    let api_with_sessions = web::grpc_or(sessions.clone(), face.clone().layer(gate.layer()));
    let api = web::serve(api_listener, api_with_sessions, bounds, stop.clone());
    let sessions_stop = stop.clone();
    let sessions = async move {
        if let Some(listener) = sessions_listener {
            web::serve(listener, web::grpc_or(sessions, Router::new()), bounds, sessions_stop).await;
        }
    };
    let socket_stop = stop.clone();
    let socket = async move {
        if let Some(listener) = socket_listener {
            web::serve_unix(listener, owners_face(face), bounds, socket_stop).await;
        }
    };
    let leader = async move {
        let ended = leader.run(stop.clone()).await;
        stop.request();
        ended
    };
    let done = async move {
        let (ended, (), (), ()) = tokio::join!(leader, api, sessions, socket);
        ended.map_err(|error: LeaderError| BoxError::from(error))
    };
    // The parts are polled together by whoever waits for the end: spawned, they work without that.
    let work = tokio::spawn(done);
    let mut started =
        Started::new(async move { work.await.map_err(BoxError::from).flatten() }).listening("", api_address);
    if let Some(address) = sessions_address {
        started = started.listening("sessions", address);
    }
    if let Some(path) = config.socket {
        started = started.listening_unix("socket", path);
    }
    Ok((started, desk))
}

/// A controller may be started before its store: it waits for it, and is ready after.
async fn take_the_lead(store: &dyn Store, uuids: &mut Uuids, stop: &Stop) -> Result<Fence, StoreError> {
    loop {
        match Fence::take(store, uuids).await {
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(error = %ErrorChain(&error), "waiting for the store");
                if stop.or(tokio::time::sleep(STORE_RETRY_INTERVAL)).await.is_none() {
                    return Err(error);
                }
            }
            taken => return taken,
        }
    }
}

/// Whoever can open the socket is its owner, and may do everything.
fn owners_face(face: Router) -> Router {
    face.layer(axum::middleware::map_request(|mut request: Request| async move {
        request.extensions_mut().insert(Caller(Role::Admin));
        request
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_controller_listens_on_loopback_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = store::Embedded::open(directory.path().to_owned()).await.unwrap();
        let config = Config::new(Arc::new(store), Verifier::Open);
        let everywhere = "0.0.0.0:0".parse().unwrap();
        for (listen, sessions) in [(everywhere, None), (config.listen, Some(everywhere))] {
            let config = Config { listen, sessions, ..Config::new(config.store.clone(), Verifier::Open) };
            assert!(matches!(start(config, Stop::new()).await, Err(Error::Exposed(_))), "{listen} {sessions:?}");
        }
    }
}
