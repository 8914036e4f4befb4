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
//! rests on), `engine`, `sources`.

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
mod succession;
mod traces;
mod vulcands;

pub use crate::accesslog::{Config as AccessLogConfig, Destination, LineFormat};
pub use crate::activity::{Figures, RouteFigures, ServerFigures, Top};
pub use crate::count::Distribution;
pub use crate::observation::{Observation, RequestIds};
pub use crate::traces::Config as TracesConfig;

use crate::activity::Activity;
use crate::api::Api;
use crate::certificates::{Certificates, Keeper};
use crate::challenges::Challenges;
use crate::current::Current;
use crate::engine::{Engine, FaceSpec, House, Kind};
use crate::health::CheckMetrics;
use crate::kept::Kept;
use crate::limits::{CLIENT_STALL_MAX, HEAD_TIMEOUT};
use crate::listeners::{ListenerProblems, Listeners, own_proxy_header};
use crate::metrics::Metrics;
use crate::mirror::{CopyCounts, CopyMetrics};
use crate::observation::Observer;
use crate::outside::Outside;
use crate::quiesce::Quiesce;
use crate::ready::{Listener, Probe, Readiness};
pub use crate::secure::SecureError;
use crate::secure::TicketKeys;
use crate::session::{CONTROLLERS_FILE, Session, Standing, Voice};
use crate::sources::{Assembler, Contact, Source};
use crate::spool::{Spool, SpoolMetrics};
use crate::stapling::Stapler;
pub use crate::succession::Drain;
use crate::succession::{Giver, HEAR_TIME, LAST_WORD_TIMEOUT, Predecessors, Reports, Sockets, Use};
use crate::vulcands::{Onward, Recent};
use lifecycle::{Started, Stop};
use protocol::dial::{self, Dialer};
use routing::{ListenerTls, Network};
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use crate::vulcands::{MakeApi, Vulcand};

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

/// Binds, and serves until the stop; parts are `""` for each listener, `https` for each over TLS, and `api`.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    if let Some(api) = config.api {
        config.verifier.may_guard(api)?;
    }
    let _reading = tokio::task::spawn_blocking(identity::machines_authorities);
    // The caller's ends everything. Its child is requested as well when this process has drained after another one took over,
    // and may have to speak on for the one before it.
    let (end, stop) = (stop.clone(), stop.child());
    let taken = match &config.data {
        Some(data) if config.take_over => succession::take(data).await?,
        _ => None,
    };
    let somebody_remains = taken.is_none() && config.data.as_deref().is_some_and(succession::somebody_drains);
    let sockets = match &taken {
        Some(taken) => taken.sockets.clone(),
        None => Sockets::new(config.data.is_some()),
    };
    let (accept, accepts) = watch::channel(taken.is_none());
    let probe = match &taken {
        Some(taken) => Probe::inherited(taken.probe.clone()),
        None => Probe::new().map_err(Error::Random)?,
    };
    let current = Arc::new(Current::ordered(config.vulcand.order));
    // Without a data directory what does not fit into memory goes where temporary files do.
    let spool = Spool::start(config.data.clone().unwrap_or_else(std::env::temp_dir)).map_err(Error::Thread)?;
    let mut metrics = Metrics::new(current.servers.clone());
    let copies = Arc::<CopyCounts>::default();
    metrics.collect(SpoolMetrics(spool.clone()));
    metrics.collect(CopyMetrics(copies.clone()));
    metrics.collect(CheckMetrics(current.checks.clone()));
    let metrics = Arc::new(metrics);
    let (quiesce, probe) = (Quiesce::new(metrics.clone()), Arc::new(probe));
    let observer = Arc::new(Observer::start(config.observation, &config.edge_id)?);
    observer.show_dropped(&metrics);
    let challenges = Arc::new(Challenges::new(config.seal_key.clone()));
    let house = House {
        current: current.clone(),
        challenges: challenges.clone(),
        metrics: metrics.clone(),
        quiesce: quiesce.clone(),
        edge_id: config.edge_id.clone(),
        probe: probe.clone(),
        outside: Outside::start().map_err(Error::Random)?,
        observer: observer.clone(),
        client_times: config.client_times,
        accepts,
        sockets: sockets.clone(),
        spool,
        copies,
        stop: stop.clone(),
    };
    let engine = Engine::start(Arc::new(house)).map_err(Error::Thread)?;

    let kept = match &config.data {
        Some(data) => {
            let kept = Kept::open(data);
            Some(kept.map_err(|source| Error::Data { path: data.clone(), source })?)
        }
        None => None,
    };
    let credentials = config.token.map(|token| web::Credentials::Bearer(token.reveal().to_owned())).unwrap_or_default();
    let mut client = web::Client::default();
    if let Some(tls) = &config.tls {
        client = client.with_tls(tls.client(Some(identity::Role::Controller)));
    }
    let dialer = Dialer::new(dial::Config {
        controllers: config.controllers,
        remembered: config.data.as_ref().map(|data| data.join(CONTROLLERS_FILE)),
        tls: config.tls,
        credentials,
    })?;

    let mut held = [false; Source::ALL.len()];
    let certificates = Arc::<Certificates>::default();
    let tickets = TicketKeys::new(config.seal_key.as_ref()).map_err(Error::Tickets)?;
    let mut keeper = Keeper::new(config.seal_key);
    if let Some(mut table) = kept.as_ref().and_then(Kept::read) {
        held = table.held;
        keeper.restore(std::mem::take(&mut table.certificates));
        certificates.publish(keeper.names());
        current.publish(table.into_draft(), |route| metrics.of_route(route));
        tracing::info!(revision = current.load().revision(), "the kept table serves until the store answers");
    }
    // Requests find the kept table.
    let proxies: Arc<[Network]> = config.proxies.into();
    let mut addresses = Vec::new();
    for address in &config.listen {
        addresses.push(("", engine.open(own_face(*address, None, &proxies)).await.map_err(Error::Bind)?.address));
    }
    let (_, first) = *addresses.first().ok_or(Error::NoListener)?;
    for address in &config.listen_tls {
        let tls = secure::listener(&ListenerTls::default(), &certificates, &tickets).map_err(Error::Secure)?;
        let face = engine.open(own_face(*address, Some(tls), &proxies)).await.map_err(Error::Bind)?;
        addresses.push(("https", face.address));
    }
    let api = match config.api {
        Some(address) => Some(api_listener(&sockets, address).await.map_err(Error::Bind)?),
        None => None,
    };
    if let Some(listener) = &api {
        addresses.push(("api", listener.local_addr().map_err(Error::Bind)?));
    }
    let problems = ListenerProblems::default();
    let mut listeners = Listeners::new(engine, proxies.clone(), certificates.clone(), tickets, &problems);

    // Ends with the stop or with this set, whichever comes first.
    let mut background = JoinSet::new();
    let standing = Arc::new(Standing::new(taken.as_ref().is_some_and(|taken| taken.is_draining)));
    let contact = Arc::new(Contact::new());
    let updates = sources::watch_all(&config.store, &metrics, &contact, held, &end, &mut background);
    background.spawn(current.checks.clone().run());
    background.spawn(Arc::new(Stapler::new(current.clone())).run());
    let assembler = Assembler::new(current.clone(), metrics.clone(), keeper, certificates, challenges.clone());
    background.spawn(assembler.with_aliases(config.vulcand.aliases).run(updates));
    let predecessors = Predecessors::default();
    if let Some(mut taken) = taken {
        let told = taken.settle(&current).await?;
        listeners.follow(&current.load()).await;
        taken.serving(told, &predecessors).await?;
        accept.send_replace(true);
        listeners.widen().await;
        sockets.close_inherited();
        tracing::info!("took over from the process before this one");
    }
    let name = succession::name().map_err(Error::Random)?;
    let reports = Reports::new(current.clone(), &predecessors, name);
    let mut reports_last = reports.clone();
    let (voice, retired) = (Arc::<Voice>::default(), watch::Sender::new(false));
    let mut has_retired = retired.subscribe();
    let over = Stop::new();
    // What must not go on once another process serves.
    let unretired = stop.child();
    if let Some(kept) = kept {
        let (kept, unretired) = (kept.keep(current.clone()), unretired.clone());
        background.spawn(async move {
            unretired.or(kept).await;
        });
    }
    if let Some(data) = &config.data {
        match Giver::listen(data) {
            Ok(listener) => {
                let (probe, reports) = (probe.secret().to_owned(), reports.clone());
                let (data, standing, voice, over) = (data.clone(), standing.clone(), voice.clone(), over.clone());
                let giver =
                    Giver { listener, data, sockets, probe, standing, voice, reports, predecessors, retired, over };
                background.spawn(giver.run());
            }
            Err(error) => tracing::warn!(%error, data = %data.display(), "nobody can take over from this process"),
        }
    }
    let leader = watch::Sender::new(None);
    if let Some(listener) = api {
        let activity = Arc::new(Activity::new(metrics.clone(), config.edge_id.clone()));
        let recent = Recent { activity: activity.clone(), current: current.clone() };
        let onward = dialer.knows_a_controller().then(|| Onward { leader: leader.subscribe(), client });
        let vulcands = config.vulcand.api.map(|make| vulcands::api(make, Arc::new(recent), onward));
        let readiness =
            Arc::new(Readiness::new(current.clone(), standing.clone(), contact, probe, Listener::new(first, &proxies)));
        let api = Api {
            current: current.clone(),
            reports: reports.clone(),
            listeners: problems,
            activity,
            metrics: metrics.clone(),
            readiness,
            quiesce: quiesce.clone(),
            edge_id: config.edge_id.clone(),
        };
        let router = api::router(api, vulcands, config.verifier);
        background.spawn(web::serve(listener, router, web::Bounds::default(), unretired.clone()));
    }
    if dialer.knows_a_controller() {
        let (edge_id, node_id, address) = (config.edge_id, config.node_id, first.to_string());
        let session = Session { dialer, edge_id, node_id, address, reports, challenges, standing, voice, leader };
        background.spawn(async move {
            if somebody_remains {
                tokio::time::sleep(HEAR_TIME).await;
            }
            session.run().await;
        });
    }

    let done = async move {
        let engine = listeners.run(current, &stop, has_retired.clone()).await;
        let is_retired = *has_retired.borrow_and_update();
        if is_retired {
            unretired.request();
            succession::retire(&engine, &quiesce, &metrics, config.drain, &stop).await;
        }
        engine.ended().await;
        if is_retired {
            // The next one hears of the one before only through this one, whose table goes on so that it holds nothing up.
            end.or(reports_last.alone()).await;
            over.request();
            let told = async { while has_retired.changed().await.is_ok() {} };
            let _in_time = tokio::time::timeout(LAST_WORD_TIMEOUT, told).await;
        }
        // The session told the controller until now that requests were still in flight.
        background.shutdown().await;
        observer.finish().await;
        Ok(())
    };
    let running = tokio::spawn(done);
    let started = Started::new(async move { running.await? });
    Ok(addresses.into_iter().fold(started, |started, (part, address)| started.listening(part, address)))
}

fn own_face(address: SocketAddr, tls: Option<Arc<ServerConfig>>, proxies: &Arc<[Network]>) -> FaceSpec {
    FaceSpec { address, kind: Kind::Http, scope: None, tls, proxy_header: own_proxy_header(proxies) }
}

/// The API's, which may have been handed over.
async fn api_listener(sockets: &Sockets, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match sockets.take(Use::Api, address).and_then(|mut inherited| inherited.pop()) {
        Some(inherited) => TcpListener::from_std(inherited)?,
        None => web::bind(address).await?,
    };
    sockets.keep(Use::Api, address, &[listener.as_fd().try_clone_to_owned()?.into()])?;
    Ok(listener)
}
