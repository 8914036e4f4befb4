//! Starting the controller: its listeners, its faces, and its part in who leads.
//!
//! Faces live as long as the process. Leading is a state: without a cluster the one controller takes the lead and ends
//! with it; in a cluster it leads and follows in turn (`office`).

use crate::acme;
use crate::api;
use crate::cluster::Cluster;
use crate::cluster::registrar::Shared;
use crate::cluster::revocation;
use crate::cluster::roster::Roster;
use crate::faces::{Faces, Others};
use crate::leader::Settings;
use crate::office::{self, Office};
use crate::sessions;
use crate::term::{self, Lead, TermSettings};
use crate::uuids::Uuids;
use axum::Router;
use futures::FutureExt;
use futures::future::BoxFuture;
use identity::{ClientCertificates, SealKey, Verifier};
use lifecycle::metrics::Registry;
use lifecycle::{Address, BoxError, Listening, Started, Stop};
use routing::document::RouteDocument;
use scheduler::Policy;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};
use tokio::net::{TcpListener, UnixListener};
use web::Bounds;

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
    /// Where browsers reach HTTPS, for redirects; `None`: 443.
    pub https_port: Option<u16>,
    /// What opens the private keys in the store; without it there are no certificates for apps.
    pub seal_key: Option<SealKey>,
    /// How a certificate authority is asked; `None`: as the leaders before did, or not at all.
    pub acme: Option<acme::Settings>,
    /// One of several controllers; `None`: one machine.
    pub cluster: Option<Cluster>,
    /// vulcand's API, made for each term: what it writes compares the term's fence. None: it is not served.
    pub vulcand: Option<MakeVulcandApi>,
}

pub type MakeVulcandApi = Arc<dyn Fn(store::Compare) -> Router + Send + Sync>;

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
            https_port: None,
            seal_key: None,
            acme: None,
            cluster: None,
            vulcand: None,
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
    #[error("lead")]
    Term(#[source] BoxError),
}

/// Listens and works until `stop`. Parts: the API (``""``), `socket`, `sessions`, `peers`. Without a cluster it leads when
/// this returns; in one, whoever leads answers through it as soon as somebody does.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    Ok(start_with_lead(config, stop).await?.0)
}

pub(crate) async fn start_with_lead(mut config: Config, stop: Stop) -> Result<(Started, Lead), Error> {
    let listeners = Listeners::bind(&config).await?;
    // Whatever ends takes the rest along: nothing behind the faces would answer, or nobody could ask.
    let stop = stop.child();
    let mut uuids = Uuids::new().map_err(Error::Random)?;
    let lead = Lead::none();
    let shared = config.cluster.take().map(|cluster| listeners.shared(cluster, &config));
    let settings = term_settings(&config, &listeners, shared.clone());
    let incarnation = uuids.next();
    let others = shared.clone().map(|shared| Others::new(shared, &lead, incarnation.clone()));

    // Whatever its fence is: it is asked for nothing that writes into the store.
    let own_vulcand = config.vulcand.as_ref().map(|make| make(store::Compare::absent(crate::keys::LEADER)));
    let faces = Faces { lead: lead.clone(), others: others.clone(), own_vulcand };
    let sessions = sessions::Service::server(config.verifier.clone(), lead.clone(), shared.clone());
    let sessions = tonic::service::Routes::new(sessions).into_axum_router();
    let leading: BoxFuture<'static, Result<(), BoxError>> = match others {
        None => {
            let fence = office::take_alone(config.store.as_ref(), &mut uuids, &stop).await.map_err(Error::Lead)?;
            let opened = term::open(settings, fence, &lead, stop.child()).await;
            let term = opened.map_err(|error| Error::Term(error.into()))?;
            async move { Ok(term.run().await?) }.boxed()
        }
        Some(Others { shared, reach, .. }) => {
            let record = shared.record(incarnation);
            let is_candidate = shared.cluster.candidate;
            tokio::spawn(shared.roster.clone().follow(shared.store.clone(), stop.clone()));
            tokio::spawn(revocation::follow(shared.clone(), stop.clone()));
            if is_candidate {
                tokio::spawn(reach.clone().watch(lead.clone(), stop.clone()));
            }
            Office::new(settings, record, is_candidate, uuids, lead.clone(), reach).run(stop.clone()).boxed()
        }
    };

    let started = listeners.addresses(config.socket.clone());
    let serving = listeners.serve(&faces, &sessions, &config.verifier, shared, &stop);
    let ending = stop.clone();
    let leading = async move {
        let ended = leading.await;
        ending.request();
        ended
    };
    // The parts are polled together by whoever waits for the end: spawned, they work without that.
    let work = tokio::spawn(async move { tokio::join!(leading, serving).0 });
    let mut result = Started::new(async move { work.await.map_err(BoxError::from).flatten() });
    result.listeners = started;
    Ok((result, lead))
}

fn term_settings(config: &Config, listeners: &Listeners, cluster: Option<Arc<Shared>>) -> TermSettings {
    let in_cluster = cluster.as_ref().map(|shared| &shared.cluster.settings);
    let policy = Policy { drain: config.drain, ..Policy::default() };
    let policy = match in_cluster {
        None => policy,
        Some(settings) => Policy {
            suspect_after: Duration::from_millis(settings.suspect_after_ms),
            lost_after: Duration::from_millis(settings.lost_after_ms),
            ..policy
        },
    };
    let api = listeners.api.1;
    let leader = match &cluster {
        Some(shared) => shared.advertise.clone(),
        None => api.to_string(),
    };
    TermSettings {
        leader: Settings {
            store: config.store.clone(),
            policy,
            domain: config.domain.clone(),
            https_port: config.https_port,
            platform_routes: config.platform_routes.clone(),
        },
        context: api::Context {
            leader,
            hostname: config.hostname.clone(),
            http_port: api.port(),
            framework_id: String::new(),
            domain: config.domain.clone(),
            edge_port: config.edge_port,
            registry: Arc::new(Registry::default()),
            registrar: None,
            history: None,
            vulcand: None,
            vault: None,
            stop: Stop::new(),
        },
        vulcand: config.vulcand.clone(),
        seal_key: config.seal_key.clone(),
        acme: config.acme.clone(),
        cluster,
    }
}

/// Everything that listens, bound.
struct Listeners {
    api: (TcpListener, SocketAddr),
    sessions: Option<(TcpListener, SocketAddr)>,
    peers: Option<(TcpListener, SocketAddr)>,
    socket: Option<UnixListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, Error> {
        let peers = config.cluster.as_ref().map(|cluster| cluster.peers_listen);
        // An open controller is for one machine: its peers' listener is no more open than its API.
        for listen in [Some(config.listen), config.sessions, peers].into_iter().flatten() {
            config.verifier.may_guard(listen)?;
        }
        Ok(Self {
            api: bind(config.listen).await?,
            sessions: match config.sessions {
                Some(listen) => Some(bind(listen).await?),
                None => None,
            },
            peers: match peers {
                Some(listen) => Some(bind(listen).await?),
                None => None,
            },
            socket: config.socket.as_deref().map(web::bind_unix).transpose().map_err(Error::Bind)?,
        })
    }

    fn shared(&self, cluster: Cluster, config: &Config) -> Arc<Shared> {
        let bound = self.peers.as_ref().map(|(_, address)| address.to_string());
        let advertise = Some(cluster.advertise.clone()).filter(|advertise| !advertise.is_empty());
        let advertise = advertise.or(bound).unwrap_or_default();
        let (store, seal_key) = (config.store.clone(), config.seal_key.clone());
        Arc::new(Shared { cluster, advertise, api: self.api.1, store, seal_key, roster: Roster::new() })
    }

    fn addresses(&self, socket: Option<PathBuf>) -> Vec<Listening> {
        let tcp = |part, address| Listening { part, address: Address::Tcp(address) };
        let mut addresses = vec![tcp("", self.api.1)];
        addresses.extend(self.sessions.as_ref().map(|(_, address)| tcp("sessions", *address)));
        addresses.extend(self.peers.as_ref().map(|(_, address)| tcp("peers", *address)));
        addresses.extend(socket.map(|path| Listening { part: "socket", address: Address::Unix(path) }));
        addresses
    }

    /// Answers on all of them until `stop`, and lets requests in flight end.
    fn serve(
        self,
        faces: &Faces,
        sessions: &Router,
        verifier: &Verifier,
        shared: Option<Arc<Shared>>,
        stop: &Stop,
    ) -> impl Future<Output = ()> + Send + 'static {
        let bounds = Bounds::default();
        let mut serving: Vec<BoxFuture<'static, ()>> = Vec::new();
        // Sessions are taken on the API's address, too: whoever knows the controller by one URL needs no second. They ask
        // for credentials themselves, so that a peer is refused by a gRPC status.
        let api = web::grpc_or(sessions.clone(), faces.local(verifier.clone()));
        serving.push(web::serve(self.api.0, api, bounds, stop.clone()).boxed());
        if let Some((listener, _)) = self.sessions {
            let sessions = web::grpc_or(sessions.clone(), faces.passed_on(verifier.clone()));
            serving.push(web::serve(listener, sessions, bounds, stop.clone()).boxed());
        }
        if let (Some((listener, _)), Some(shared)) = (self.peers, shared) {
            let peers = web::grpc_or(sessions.clone(), faces.peers(verifier.clone()));
            let tls = shared.cluster.tls.server(ClientCertificates::Optional);
            serving.push(web::serve_tls(listener, peers, bounds, tls, stop.clone()).boxed());
        }
        if let Some(listener) = self.socket {
            serving.push(web::serve_unix(listener, faces.owners(), bounds, stop.clone()).boxed());
        }
        async move {
            futures::future::join_all(serving).await;
        }
    }
}

async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = web::bind(listen).await.map_err(Error::Bind)?;
    let address = listener.local_addr().map_err(Error::Bind)?;
    Ok((listener, address))
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
