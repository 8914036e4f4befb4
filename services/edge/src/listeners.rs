//! Listeners: the edge's own, and those the store asks for (`/vulcand/listeners/<id>`), bound and closed as the table
//! changes. A listener's scope changes without touching its socket.

use crate::current::Current;
use crate::limits::{
    ACCEPT_PAUSE, CLIENT_STALL_MAX, CONNECTIONS_MAX, DRAIN_GRACE, HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX,
    LISTENER_RETRY, LISTENERS_MAX,
};
use crate::proxy::{CountedIn, Proxy};
use crate::quiesce::{self, Phase, Quiesce};
use crate::servers::lock;
use crate::stall::StallGuard;
use arc_swap::ArcSwapOption;
use http::StatusCode;
use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lifecycle::Stop;
use routing::Expression;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vulcand::{ListenerSpec, Problem};

/// Requests outside of it are answered 404.
type Scope = Arc<ArcSwapOption<Expression>>;

/// What all listeners share.
pub(crate) struct Listeners {
    proxy: Arc<Proxy>,
    slots: Arc<Semaphore>,
    quiesce: Arc<Quiesce>,
    stop: Stop,
    running: TaskTracker,
    problems: Mutex<Vec<Problem>>,
}

/// A listener the store asked for.
struct Bound {
    address: SocketAddr,
    scope_text: String,
    scope: Scope,
    stop: Stop,
}

impl Listeners {
    pub fn new(proxy: Arc<Proxy>, quiesce: Arc<Quiesce>, stop: Stop) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Arc::new(Self { proxy, slots, quiesce, stop, running: TaskTracker::new(), problems: Mutex::default() })
    }

    /// Serves on a listener that is bound.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) {
        let stop = self.stop.child();
        self.running.spawn(self.clone().accept(listener, Scope::default(), stop));
    }

    /// What cannot be listened on as asked.
    pub fn problems(&self) -> Vec<Problem> {
        lock(&self.problems).clone()
    }

    /// Follows the store's listeners until the stop, then waits for all connections, within the grace.
    pub async fn run(self: Arc<Self>, current: Arc<Current>) {
        let mut changes = current.changes();
        let mut bound: BTreeMap<String, Bound> = BTreeMap::new();
        while !self.stop.is_requested() {
            changes.borrow_and_update();
            self.follow(&current.load().listeners, &mut bound).await;
            let retry = !lock(&self.problems).is_empty();
            tokio::select! {
                () = self.stop.requested() => {}
                changed = changes.changed() => if changed.is_err() { self.stop.requested().await },
                () = tokio::time::sleep(LISTENER_RETRY), if retry => {}
            }
        }
        self.running.close();
        self.running.wait().await;
    }

    async fn follow(self: &Arc<Self>, wanted: &[ListenerSpec], bound: &mut BTreeMap<String, Bound>) {
        let mut problems = Vec::new();
        let mut report = |id: &str, message: String| {
            problems.push(Problem { key: format!("{}listeners/{id}", vulcand::PREFIX), message });
        };
        bound.retain(|id, listener| {
            let stays = wanted.iter().any(|spec| spec.id == *id && spec.address == listener.address);
            if !stays {
                tracing::info!(id, address = %listener.address, "listener closes");
                listener.stop.request();
            }
            stays
        });
        for (position, spec) in wanted.iter().enumerate() {
            if position >= LISTENERS_MAX {
                report(&spec.id, format!("more than {LISTENERS_MAX} listeners"));
                continue;
            }
            if let Some(listener) = bound.get_mut(&spec.id) {
                if listener.scope_text != spec.scope {
                    listener.scope.store(scope(&spec.scope));
                    listener.scope_text.clone_from(&spec.scope);
                }
                continue;
            }
            match web::bind(spec.address).await {
                Ok(listener) => {
                    tracing::info!(id = spec.id, address = %spec.address, "listener opens");
                    let shared = Scope::new(ArcSwapOption::new(scope(&spec.scope)));
                    let stop = self.stop.child();
                    self.running.spawn(self.clone().accept(listener, shared.clone(), stop.clone()));
                    let (address, scope_text) = (spec.address, spec.scope.clone());
                    bound.insert(spec.id.clone(), Bound { address, scope_text, scope: shared, stop });
                }
                Err(error) => report(&spec.id, error.to_string()),
            }
        }
        let mut known = lock(&self.problems);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(key = problem.key, message = problem.message, "not served as asked");
        }
        *known = problems;
    }

    /// Resolves when the edge becomes quiet in the life of a connection. One that comes later brings its request along.
    async fn is_to_close(&self) {
        let mut phases = self.quiesce.phases();
        let was_shut = *phases.borrow_and_update() == Phase::Shut;
        if was_shut || phases.wait_for(|phase| *phase == Phase::Shut).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, scope: Scope, stop: Stop) {
        let connections = TaskTracker::new();
        let cut = Stop::new();
        let mut phases = self.quiesce.phases();
        loop {
            let slot = self.slots.clone().acquire_owned();
            let Some(Ok(slot)) = stop.or(slot).await else { break };
            let accepting = async {
                loop {
                    tokio::select! {
                        accepted = listener.accept() => return accepted,
                        Ok(()) = phases.changed() => hear(&listener, *phases.borrow_and_update()),
                    }
                }
            };
            match stop.or(accepting).await {
                None => break,
                Some(Ok((stream, peer))) => {
                    let served = self.clone().serve_connection(stream, peer, scope.clone(), stop.clone());
                    let cut = cut.clone();
                    connections.spawn(async move {
                        cut.or(served).await;
                        drop(slot);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(DRAIN_GRACE, connections.wait()).await.is_err() {
            tracing::warn!(grace = ?DRAIN_GRACE, "requests in flight outlived the grace and are cut");
            cut.request();
            connections.wait().await;
        }
    }

    /// Serves one connection; after the stop, to the end of the request in flight.
    async fn serve_connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, scope: Scope, stop: Stop) {
        // A socket that refuses is already closing, which reading will show.
        let _closing = stream.set_nodelay(true);
        let _counted = CountedIn::new(&self.proxy.metrics.connections);
        let service = service_fn(|request| {
            let (proxy, scope) = (self.proxy.clone(), scope.load_full());
            let quiesce = &self.quiesce;
            async move {
                let mut answer = proxy.handle(request, peer, scope).await;
                let is_last = quiesce.phase() != Phase::Open && answer.status() != StatusCode::SWITCHING_PROTOCOLS;
                if is_last {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = StallGuard::new(stream, CLIENT_STALL_MAX);
        let mut builder = Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = self.is_to_close() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "client connection");
        }
    }
}

fn hear(listener: &TcpListener, phase: Phase) {
    let changed = match phase {
        Phase::Shut => quiesce::stop_hearing(listener),
        Phase::Open => quiesce::hear_again(listener),
        Phase::Closing => Ok(()),
    };
    if let Err(error) = changed {
        // Then new clients are heard until the address goes, and may have to ask again.
        tracing::warn!(%error, ?phase, "the listener's filter");
    }
}

/// The table's listeners were checked when they were read; empty means everything.
fn scope(text: &str) -> Option<Arc<Expression>> {
    (!text.is_empty()).then(|| Expression::parse(text).ok().map(Arc::new)).flatten()
}
