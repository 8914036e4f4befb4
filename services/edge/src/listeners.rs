//! Listeners: the edge's own, and those the store asks for (`/vulcand/listeners/<id>`, and the addresses of TCP routes),
//! opened and closed as the table changes. A listener's scope and its settings of TLS change without touching its sockets.

use crate::certificates::Certificates;
use crate::current::{Current, Snapshot};
use crate::engine::{Engine, Face, FaceSpec, Kind, ProxyHeader};
use crate::limits::{LISTENER_RETRY, LISTENERS_MAX};
use crate::secure::{self, TicketKeys};
use crate::servers::lock;
use lifecycle::{ErrorChain, Stop};
use proxyprotocol::Accepted;
use routing::document::ROUTES_PREFIX;
use routing::{Expression, ListenerTls, Network};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use vulcand::Problem;

/// Opens and closes what the store asks for.
pub(crate) struct Listeners {
    engine: Engine,
    certificates: Arc<Certificates>,
    tickets: TicketKeys,
    /// Who may say whom it speaks for.
    proxies: Arc<[Network]>,
    problems: Arc<Mutex<Vec<Problem>>>,
    open: BTreeMap<Id, Open>,
}

/// What cannot be listened on as asked.
#[derive(Clone, Default)]
pub(crate) struct ListenerProblems(Arc<Mutex<Vec<Problem>>>);

/// A listener of vulcand's, or an address of TCP routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Vulcand(String),
    Tcp(SocketAddr),
}

/// A listener the store asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// Where it is asked for.
    key: String,
    address: SocketAddr,
    kind: Kind,
    proxy_header: Option<ProxyHeader>,
    scope: String,
    tls: Option<ListenerTls>,
}

struct Open {
    wanted: Wanted,
    face: Arc<Face>,
}

impl ListenerProblems {
    pub fn all(&self) -> Vec<Problem> {
        lock(&self.0).clone()
    }
}

impl Listeners {
    pub fn new(
        engine: Engine,
        proxies: Arc<[Network]>,
        certificates: Arc<Certificates>,
        tickets: TicketKeys,
        problems: &ListenerProblems,
    ) -> Self {
        Self { engine, proxies, certificates, tickets, problems: problems.0.clone(), open: BTreeMap::new() }
    }

    /// Follows the store's listeners until the stop, or until another process does.
    pub async fn run(mut self, current: Arc<Current>, stop: &Stop, mut retired: watch::Receiver<bool>) -> Engine {
        let mut changes = current.changes();
        while !stop.is_requested() && !*retired.borrow_and_update() {
            changes.borrow_and_update();
            let Some(changing) = stop.or(self.engine.sockets().change()).await else { break };
            // Another process may have taken over since.
            if *retired.borrow() {
                break;
            }
            self.follow(&current.load()).await;
            drop(changing);
            let retry = !lock(&self.problems).is_empty();
            tokio::select! {
                () = stop.requested() => {}
                Ok(()) = retired.changed() => {}
                changed = changes.changed() => if changed.is_err() { stop.requested().await },
                () = tokio::time::sleep(LISTENER_RETRY), if retry => {}
            }
        }
        self.engine
    }

    /// This process serves now, with sockets of another one.
    pub async fn widen(&self) {
        self.engine.widen().await;
    }

    pub async fn follow(&mut self, snapshot: &Snapshot) {
        let wanted = self.wanted(snapshot);
        let is_wanted =
            |id: &Id, open: &Open| wanted.iter().any(|(known, wanted)| known == id && wanted.is_as(&open.wanted));
        for (_, open) in self.open.extract_if(.., |id, open| !is_wanted(id, open)) {
            tracing::info!(key = open.wanted.key, address = %open.wanted.address, "listener closes");
            self.engine.close(&open.face).await;
        }
        let mut problems: Vec<Problem> = Vec::new();
        for (position, what) in snapshot.tcp.taken() {
            let message = format!("another route has {what}");
            problems.push(Problem { key: key_of_route(snapshot, *position), message });
        }
        for (number, (id, wanted)) in wanted.into_iter().enumerate() {
            let key = wanted.key.clone();
            if let Err(message) = self.follow_one(number, id, wanted).await {
                problems.push(Problem { key, message });
            }
        }
        let mut known = lock(&self.problems);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(key = problem.key, message = problem.message, "not served as asked");
        }
        *known = problems;
    }

    fn wanted(&self, snapshot: &Snapshot) -> Vec<(Id, Wanted)> {
        let header = |accepted| ProxyHeader { accepted, senders: self.proxies.clone() };
        let vulcands = snapshot.listeners.iter().map(|spec| {
            let wanted = Wanted {
                key: format!("{}listeners/{}", vulcand::PREFIX, spec.id),
                address: spec.address,
                kind: Kind::Http,
                proxy_header: accepted(spec.proxy).map(header),
                scope: spec.scope.clone(),
                tls: spec.tls.clone(),
            };
            (Id::Vulcand(spec.id.clone()), wanted)
        });
        let tcp = snapshot.tcp.addresses().map(|(address, route)| {
            let wanted = Wanted {
                key: key_of_route(snapshot, route),
                address,
                kind: Kind::Tcp,
                proxy_header: own_proxy_header(&self.proxies),
                scope: String::new(),
                tls: None,
            };
            (Id::Tcp(address), wanted)
        });
        vulcands.chain(tcp).collect()
    }

    async fn follow_one(&mut self, number: usize, id: Id, wanted: Wanted) -> Result<(), String> {
        if number >= LISTENERS_MAX {
            return Err(format!("more than {LISTENERS_MAX} listeners"));
        }
        if let Some(open) = self.open.get_mut(&id) {
            if open.wanted.scope != wanted.scope {
                open.face.scope.store(scope(&wanted.scope));
            }
            if open.wanted.tls != wanted.tls {
                let tls = secure(wanted.tls.as_ref(), &self.certificates, &self.tickets);
                open.wanted.scope.clone_from(&wanted.scope);
                open.face.tls.store(tls?);
            }
            open.wanted = wanted;
            return Ok(());
        }
        let tls = secure(wanted.tls.as_ref(), &self.certificates, &self.tickets)?;
        let Wanted { address, kind, ref proxy_header, .. } = wanted;
        let spec = FaceSpec { address, kind, scope: scope(&wanted.scope), tls, proxy_header: proxy_header.clone() };
        let face = self.engine.open(spec).await.map_err(|error| error.to_string())?;
        tracing::info!(key = wanted.key, %address, "listener opens");
        self.open.insert(id, Open { wanted, face });
        Ok(())
    }
}

/// Its last good settings stay where these cannot be used.
fn secure(
    asked: Option<&ListenerTls>,
    certificates: &Arc<Certificates>,
    tickets: &TicketKeys,
) -> Result<Option<Arc<ServerConfig>>, String> {
    let config = asked.map(|settings| secure::listener(settings, certificates, tickets));
    config.transpose().map_err(|error| format!("TLS: {}", ErrorChain(&error)))
}

impl Wanted {
    /// Whether the other's sockets are what this one needs.
    fn is_as(&self, other: &Self) -> bool {
        let of = |wanted: &Self| (wanted.address, wanted.kind, wanted.proxy_header.clone());
        of(self) == of(other)
    }
}

/// Of a listener whose clients are told from proxies by their addresses alone.
pub(crate) fn own_proxy_header(senders: &Arc<[Network]>) -> Option<ProxyHeader> {
    (!senders.is_empty()).then(|| ProxyHeader { accepted: Accepted::Either, senders: senders.clone() })
}

fn accepted(proxy: vulcand::ProxyHeader) -> Option<Accepted> {
    match proxy {
        vulcand::ProxyHeader::None => None,
        vulcand::ProxyHeader::V1 => Some(Accepted::V1),
        vulcand::ProxyHeader::V2 => Some(Accepted::V2),
        vulcand::ProxyHeader::Either => Some(Accepted::Either),
    }
}

fn key_of_route(snapshot: &Snapshot, position: usize) -> String {
    format!("{ROUTES_PREFIX}{}", snapshot.table.routes()[position].id)
}

/// The table's listeners were checked when they were read; empty means everything.
fn scope(text: &str) -> Option<Arc<Expression>> {
    (!text.is_empty()).then(|| Expression::parse(text).ok().map(Arc::new)).flatten()
}
