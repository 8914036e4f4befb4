//! A request on its way, whichever server it goes to, and how one is found.

use super::client::Peer;
use super::dial::{Patience, Want};
use super::orders::Orders;
use super::thread::Worker;
use crate::count::CountsOf;
use crate::current::{Admitted, Snapshot, Turns};
use crate::limits::{H2_ADDED_HEADERS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, SMALL_REQUEST_BYTES_MAX};
use crate::observation::Trail;
use crate::servers::Server;
use crate::spool::Stored;
use http1::{Asked, Framing, Limits, Parsed, Request, Storage, Version};
use routing::{Attempt, Headers, Picked, RequestHead, Route};
use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

const LIMITS: Limits = Limits { head_bytes_max: HEAD_BYTES_MAX, headers_max: HEADERS_MAX };
/// Of a head that came in HTTP/2: it has lines that its sender did not write.
const H2_LIMITS: Limits = Limits { headers_max: HEADERS_MAX + H2_ADDED_HEADERS_MAX, ..LIMITS };
/// Of a head that the edge wrote itself: it and the middlewares have added lines.
pub(super) const OWN_LIMITS: Limits = Limits { head_bytes_max: 2 * HEAD_BYTES_MAX, headers_max: http1::HEADERS_MAX };

/// Of a head that came: on a stream of HTTP/2, or on a connection of its own.
pub(super) fn limits(is_stream: bool) -> &'static Limits {
    if is_stream { &H2_LIMITS } else { &LIMITS }
}

/// What of a request is needed after its first attempt has begun.
#[derive(Debug)]
pub(super) struct Journey {
    /// Its head as it came: read again for each further attempt.
    head: Vec<u8>,
    pub begun: Instant,
    pub framing: Framing,
    pub asked: Asked,
    pub is_get: bool,
    pub is_idempotent: bool,
    pub keep_alive: bool,
    pub version: Version,
    /// Servers that failed.
    pub tried: Vec<Arc<Server>>,
    /// No more of it is to come from the client, though it may have been sent in vain.
    pub was_read: Cell<bool>,
    /// What the middlewares of its route ask for, once they let it pass.
    pub orders: Option<Box<Orders>>,
    /// Its body, if it was taken whole before a server was chosen.
    pub stored: Option<Rc<Stored>>,
    /// Of a request with a deadline: a part of the response is on its way to the client.
    pub is_answered: Cell<bool>,
    /// When the attempt that is being made began.
    pub attempt_begun: Cell<Instant>,
    /// When the head of the response went on, unless all of it did.
    pub head_at: Cell<Option<Instant>>,
    /// Bytes of the bodies that came from the client, and that went to it.
    pub moved: Cell<(u64, u64)>,
    /// By what it is known beyond the edge, if by anything.
    pub trail: Option<Box<Trail>>,
}

/// Why no server was found for a request.
#[derive(Debug)]
pub(super) enum NoServer {
    NotLoaded,
    NoRoute,
    Refused(Arc<Turns>),
    /// The route wants the body to be taken whole first.
    Unkept(Arc<Turns>),
    /// The route has middlewares, which did not let it pass yet.
    Guarded(Arc<Turns>),
    /// The route has no server, or none that was not tried.
    NoneLeft(Arc<Turns>),
}

/// What a request has behind it when a server is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed<'a> {
    /// The route whose middlewares let it pass.
    middlewares_of: Option<&'a str>,
    /// It has a body, and that is still the client's.
    body_streams: bool,
}

impl Passed<'_> {
    pub fn nothing(request: &Request<'_>) -> Self {
        Self { middlewares_of: None, body_streams: request.framing != Framing::None && request.upgrade.is_none() }
    }
}

impl Journey {
    pub fn of(request: &Request<'_>, head: &[u8], begun: Instant) -> Self {
        Self {
            head: head.to_vec(),
            begun,
            framing: request.framing,
            asked: Asked { head: request.method == "HEAD", upgrade: request.upgrade.is_some() },
            is_get: request.method == "GET",
            is_idempotent: request.is_idempotent(),
            keep_alive: request.keep_alive,
            version: request.version,
            tried: Vec::new(),
            was_read: Cell::new(request.framing == Framing::None),
            orders: None,
            stored: None,
            is_answered: Cell::new(false),
            attempt_begun: Cell::new(begun),
            head_at: Cell::new(None),
            moved: Cell::default(),
            trail: None,
        }
    }

    pub fn passed(&self) -> Passed<'_> {
        let middlewares_of = self.orders.as_ref().map(|orders| orders.route.as_str());
        Passed { middlewares_of, body_streams: self.stored.is_none() && self.has_body() && !self.asked.upgrade }
    }

    /// When the whole exchange has to be over.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.begun + self.orders.as_ref()?.limits.timeouts.request?)
    }

    /// Bytes its body may have.
    pub fn body_bytes_max(&self, route: &Route) -> u64 {
        let asked = self.orders.as_ref().and_then(|orders| orders.limits.request_body_bytes_max);
        let known = Some(route.body_bytes_max).filter(|bytes| *bytes > 0);
        [asked, known].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Reads the head again.
    pub fn read<R>(&self, use_it: impl FnOnce(&Request<'_>) -> R) -> R {
        let mut storage = Storage::new();
        match Request::parse(&self.head, &mut storage, &OWN_LIMITS) {
            Ok(Parsed::Complete(request)) => use_it(&request),
            _ => unreachable!("the same bytes were a request before"),
        }
    }

    pub fn has_body(&self) -> bool {
        self.framing != Framing::None
    }

    /// Whether it can be sent again, for all anybody knows.
    pub fn can_repeat(&self) -> bool {
        self.is_replayable() && self.is_idempotent
    }

    /// Whether what was sent of it can be sent again.
    fn is_replayable(&self) -> bool {
        !self.has_body() || self.stored.is_some()
    }

    /// What fits into any window is soon acknowledged by a machine that is there.
    pub fn patience(&self) -> Patience {
        let is_small = match self.framing {
            Framing::None => self.head.len() as u64 <= SMALL_REQUEST_BYTES_MAX,
            Framing::Length(length) => length.saturating_add(self.head.len() as u64) <= SMALL_REQUEST_BYTES_MAX,
            Framing::Chunked | Framing::UntilClose => false,
        };
        if is_small && !self.asked.upgrade { Patience::Short } else { Patience::Long }
    }

    /// What it asks of a connection to the server that it was admitted to.
    pub fn want<'a>(&self, admitted: &'a Admitted) -> Want<'a> {
        Want { upstream: admitted.upstream(), patience: self.patience(), switches: self.asked.upgrade }
    }

    /// Admits it to another server after an attempt that ended with this status, if it may go there and there is one.
    pub fn go_on(
        &self,
        worker: &Worker,
        peer: &Peer,
        admitted: &Admitted,
        status: u16,
        is_untouched: bool,
    ) -> Option<Admitted> {
        let attempts = self.attempts();
        if attempts > routing::RETRIES_MAX || !self.is_replayable() && !is_untouched {
            return None;
        }
        let method = if self.is_get { "GET" } else { self.method() };
        let network_error = matches!(status, 502 | 504);
        let attempt = Attempt { network_error, attempts, response_code: status, method };
        if !is_untouched && !admitted.route().failover.allows_retry(&attempt) {
            return None;
        }
        let tried: Vec<_> = self.tried.iter().chain([admitted.server()]).cloned().collect();
        let next = self.read(|request| admit(worker, peer, request, &tried, self.passed())).ok()?;
        // Instead of a server that cannot be reached another one may always be asked: that is no load for the first.
        let is_free = is_untouched && attempts == 1;
        (is_free || next.may_retry()).then_some(next)
    }

    /// Whether a GET whose server breaks off could go to another one.
    pub fn has_alternative(&self, admitted: &Admitted) -> bool {
        let (route, attempts) = (admitted.route(), self.attempts());
        let attempt = Attempt { network_error: true, attempts, response_code: 502, method: "GET" };
        (attempts as usize) < route.servers.len() && route.failover.allows_retry(&attempt)
    }

    /// With the one that is being made.
    pub fn attempts(&self) -> u32 {
        self.tried.len() as u32 + 1
    }

    /// An attempt is over: what the server answered, or why it did not.
    pub fn attempted(&self, admitted: &Admitted, status: Option<u16>, failure: Option<&dyn Display>) {
        if let Some(trail) = &self.trail {
            trail.attempted(admitted.server().url.as_str(), status, failure.map(|failure| failure.to_string()));
        }
    }

    fn method(&self) -> &str {
        let line = self.head.trim_ascii_start();
        let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        std::str::from_utf8(method).unwrap_or_default()
    }
}

struct Shown<'a>(&'a Request<'a>);

impl Headers for Shown<'_> {
    fn first(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.header(name)?).ok()
    }
}

/// Shows a request to the routes.
pub(super) fn shown<R>(request: &Request<'_>, peer: &Peer, to: impl FnOnce(&RequestHead<'_>) -> R) -> R {
    let (method, host, path, query) = (request.method, request.host, request.path(), request.query());
    to(&RequestHead { method, host, path, query, headers: &Shown(request), client: peer.address })
}

pub(super) fn admit(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    tried: &[Arc<Server>],
    passed: Passed<'_>,
) -> Result<Admitted, NoServer> {
    shown(request, peer, |head| worker.house.current.admit(|snapshot| choose(snapshot, head, tried, passed)))
}

/// Whose turn it is, once the request `passed` the route's middlewares if it has some: of the route's servers one that was not
/// tried, and rather one that did not fail a moment ago, on a machine that did not go silent.
fn choose(
    snapshot: &Snapshot,
    head: &RequestHead<'_>,
    tried: &[Arc<Server>],
    passed: Passed<'_>,
) -> Result<(usize, Picked), NoServer> {
    let Some(route) = snapshot.table.find_position(head) else {
        return Err(if snapshot.loaded { NoServer::NoRoute } else { NoServer::NotLoaded });
    };
    let turns = &snapshot.turns[route];
    if turns.refusal.is_some() {
        return Err(NoServer::Refused(turns.clone()));
    }
    if turns.chain.is_some() && passed.middlewares_of != Some(turns.route.id.as_str()) {
        return Err(NoServer::Guarded(turns.clone()));
    }
    if passed.body_streams && turns.route.buffered_bytes(head.method).is_some() {
        return Err(NoServer::Unkept(turns.clone()));
    }
    let picked = turns.pick(head, |server| !tried.iter().any(|tried| tried.url == server.url));
    picked.map(|picked| (route, picked)).ok_or_else(|| NoServer::NoneLeft(turns.clone()))
}

impl NoServer {
    pub fn status(&self) -> u16 {
        if matches!(self, Self::NoRoute) { 404 } else { 503 }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::NotLoaded => "the routes were not read yet",
            Self::NoRoute => "not found",
            Self::NoneLeft(_) => "the backend has no servers",
            Self::Unkept(_) => "the request's body was not taken",
            Self::Guarded(_) => "the route's middlewares were not asked",
            Self::Refused(turns) => turns.refusal.as_deref().unwrap_or("refused"),
        }
    }

    pub fn route(&self) -> Option<&Route> {
        match self {
            Self::NotLoaded | Self::NoRoute => None,
            Self::Refused(turns) | Self::Unkept(turns) | Self::Guarded(turns) | Self::NoneLeft(turns) => {
                Some(&turns.route)
            }
        }
    }

    /// Of the route, if one took the request.
    pub fn counts(&self) -> Option<&CountsOf> {
        match self {
            Self::NotLoaded | Self::NoRoute => None,
            Self::Refused(turns) | Self::Unkept(turns) | Self::Guarded(turns) | Self::NoneLeft(turns) => {
                Some(&turns.counts)
            }
        }
    }
}
