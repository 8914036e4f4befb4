//! Connections of HTTP/2 to servers: per thread and server as many as its limit of concurrent streams asks for, each driven
//! by a task of its own. A request takes a [`Place`] on one of them.
//!
//! They follow the ways of kept connections ([`super::super::pool`]): they are of two kinds of patience, and of routes that
//! ask for the same TLS; they end when their server leaves the table and carries no request any more, when they have idled,
//! and take no more requests when the server met silence or said that it goes away.
//!
//! # A server that has the choice (`h2://`)
//! Every new connection offers both HTTPs (ALPN) and becomes what the server picks. The first request finds out while those
//! beside it wait for its connection; what was picked is remembered for all threads. A server that picked HTTP/1.1 has
//! nobody wait: each request makes the connection it needs, as with any server of HTTP/1.1, and once one of them is HTTP/2
//! the server is one that speaks HTTP/2.

use super::super::answer::Failure;
use super::super::dial::{Connection, DialTimes, Patience, Want};
use super::super::line::Line;
use super::super::thread::Worker;
use super::piece::{Piece, Sending};
use super::to_server::ToServer;
use super::wire::Wire;
use super::{Http2, Stream};
use crate::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_LINK_STREAMS_MAX, H2_LINKS_MAX, H2_STREAM_UNSENT_BYTES_MAX, H2_STREAM_WINDOW_BYTES,
    HEAD_BYTES_MAX, IDLE_CONNECTION_MAX,
};
use crate::secure::servers::Upstream;
use crate::servers::Server;
use h2::SendStream;
use h2::client::{self, Builder, ResponseFuture, SendRequest};
use http::Request;
use http::uri::Scheme;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

#[derive(Default)]
pub(in super::super) struct Links {
    /// By the server's slot.
    of: Vec<Option<OfServer>>,
}

/// Of one server. While this knows the server its slot is nobody else's.
struct OfServer {
    server: Arc<Server>,
    /// How often the server had met silence when the first of these was made.
    silences: u64,
    links: Vec<Link>,
    /// Of these kinds somebody makes one more.
    dialing: Rc<RefCell<Vec<Kind>>>,
    changed: Rc<Notify>,
}

/// A connection, until its last request has ended once this is dropped.
struct Link {
    handle: SendRequest<Piece>,
    kind: Kind,
    state: Rc<State>,
}

/// Which requests may take a connection.
#[derive(Clone)]
struct Kind {
    upstream: Option<Arc<Upstream>>,
    patience: Patience,
}

struct State {
    scheme: Scheme,
    /// On their way.
    streams: Cell<usize>,
    /// What the server allows; one until it has said so.
    streams_max: Cell<usize>,
    was_told: Cell<bool>,
    was_used: Cell<bool>,
    has_ended: Cell<bool>,
    idle_since: Cell<Instant>,
    sending: Rc<Sending>,
    /// Told when there may be a place, or room for one more connection.
    changed: Rc<Notify>,
}

/// For one request.
pub(super) struct Place {
    handle: SendRequest<Piece>,
    state: Rc<State>,
}

impl Links {
    /// A place for a request on a connection that is not known to be dead.
    pub fn take(&mut self, server: &Arc<Server>, want: Want<'_>) -> Option<Connection> {
        let of = self.of.get_mut(server.slot)?.as_mut()?;
        if of.silences != server.silences() {
            of.silences = server.silences();
            of.links.clear();
        }
        of.links.retain_mut(|link| link.is_live());
        of.links.iter().find(|link| link.kind.is_for(want) && link.state.has_place()).map(Link::take)
    }

    /// Forgets those that were closed.
    pub fn clear(&mut self, server: &Server) {
        if let Some(Some(of)) = self.of.get_mut(server.slot) {
            of.links.retain_mut(|link| link.is_live());
        }
    }

    /// Called after the table changed.
    pub fn forget_unlisted(&mut self) {
        for of in &mut self.of {
            of.take_if(|of| !of.server.is_listed());
        }
    }

    pub fn expire(&mut self, now: Instant) {
        for of in self.of.iter_mut().flatten() {
            of.links.retain_mut(|link| link.is_live() && !link.state.has_idled(now));
        }
    }

    fn of(&mut self, server: &Arc<Server>) -> &mut OfServer {
        if self.of.len() <= server.slot {
            self.of.resize_with(server.slot + 1, || None);
        }
        self.of[server.slot].get_or_insert_with(|| OfServer {
            server: server.clone(),
            silences: server.silences(),
            links: Vec::new(),
            dialing: Rc::default(),
            changed: Rc::default(),
        })
    }
}

/// Whose turn it is to make a connection, until this is dropped.
struct Turn {
    dialing: Rc<RefCell<Vec<Kind>>>,
    kind: Kind,
    changed: Rc<Notify>,
}

impl Kind {
    fn of(want: Want<'_>) -> Self {
        Self { upstream: want.upstream.cloned(), patience: want.patience }
    }

    fn is_for(&self, want: Want<'_>) -> bool {
        want.is_met_by(self.upstream.as_ref(), self.patience)
    }

    fn want(&self) -> Want<'_> {
        Want { upstream: self.upstream.as_ref(), patience: self.patience, switches: false }
    }
}

impl OfServer {
    /// One of a kind is made at a time, and the next one once the server has said how many streams it allows on the last.
    fn turn(&self, want: Want<'_>) -> Option<Turn> {
        let mut links = self.links.iter().filter(|link| link.kind.is_for(want));
        let is_dialed = self.dialing.borrow().iter().any(|kind| kind.is_for(want));
        if links.clone().count() >= H2_LINKS_MAX || links.any(|link| !link.state.was_told.get()) || is_dialed {
            return None;
        }
        let kind = Kind::of(want);
        self.dialing.borrow_mut().push(kind.clone());
        Some(Turn { dialing: self.dialing.clone(), kind, changed: self.changed.clone() })
    }

    /// Keeps it for others; one too many is for the request that made it.
    fn keep(&mut self, link: Link) {
        if self.links.iter().filter(|known| known.kind.is_for(link.kind.want())).count() < H2_LINKS_MAX {
            self.links.push(link);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.dialing.borrow_mut().retain(|kind| !kind.is_for(self.kind.want()));
        self.changed.notify_waiters();
    }
}

/// A place on a connection that is there, or is made, within these times; or a connection of HTTP/1.1, if that is what the
/// server picked.
pub(in super::super) async fn connect(
    worker: &Worker,
    server: &Arc<Server>,
    want: Want<'_>,
    times: DialTimes,
) -> Result<Connection, Failure> {
    let begun = Instant::now();
    let others_handshake = if want.upstream.is_some() { times.handshake } else { Duration::ZERO };
    let deadline = begun + times.dial + others_handshake;
    let _turn = loop {
        let changed = {
            let links = &mut *worker.http2.links.borrow_mut();
            if let Some(connection) = links.take(server, want) {
                return Ok(connection);
            }
            if server.chose_http1() {
                break None;
            }
            let of = links.of(server);
            if let Some(turn) = of.turn(want) {
                break Some(turn);
            }
            of.changed.clone()
        };
        if timeout_at(deadline, changed.notified()).await.is_err() {
            return Err(Failure::Crowded);
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let dialled =
        Connection::dial(worker, &server.url, want, DialTimes { dial: times.dial.min(left), ..times }).await?;
    let is_http2 = dialled.is_http2();
    server.chose(is_http2);
    if !is_http2 {
        return Ok(dialled);
    }
    let link = make(worker, server, dialled).await?;
    let place = link.take();
    worker.http2.links.borrow_mut().of(server).keep(link);
    Ok(place)
}

/// The one place on a connection that is for one client.
pub(in super::super) async fn alone(
    worker: &Worker,
    server: &Arc<Server>,
    connection: Connection,
) -> Result<Connection, Failure> {
    Ok(make(worker, server, connection).await?.take())
}

/// Makes a connection one of HTTP/2.
async fn make(worker: &Worker, server: &Arc<Server>, connection: Connection) -> Result<Link, Failure> {
    let Connection { line, patience, .. } = connection;
    let kind = Kind { upstream: line.upstream().cloned(), patience };
    let Http2 { spare, links, .. } = &worker.http2;
    let scheme = if line.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
    let wire = Wire::to_server(line, spare.clone());
    let made = builder().handshake(wire.clone()).await;
    let (handle, connection) = made.map_err(|error| Failure::Dial(super::fault::fault(error)))?;
    let changed = links.borrow_mut().of(server).changed.clone();
    let state = Rc::new(State {
        scheme,
        streams: Cell::new(0),
        streams_max: Cell::new(1),
        was_told: Cell::new(false),
        was_used: Cell::new(false),
        has_ended: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
        sending: Sending::new(spare.clone()),
        changed,
    });
    spawn_local(drive(connection, wire, state.clone()));
    Ok(Link { handle, kind, state })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // Until the server has said how many it takes.
        .initial_max_send_streams(1)
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buffer_size(H2_STREAM_UNSENT_BYTES_MAX);
    builder
}

/// Moves a connection's frames until it ends.
async fn drive(connection: client::Connection<Wire, Piece>, wire: Wire, state: Rc<State>) {
    let mut connection = pin!(connection);
    poll_fn(|context| {
        let polled = connection.as_mut().poll(context);
        let streams_max = connection.max_concurrent_send_streams().min(H2_LINK_STREAMS_MAX);
        // What the server says first is its settings (RFC 9113 §3.4).
        let was_told = wire.has_heard();
        let before = (state.streams_max.replace(streams_max), state.was_told.replace(was_told));
        if before != (streams_max, was_told) {
            state.changed.notify_waiters();
        }
        match wire.poll_send(context) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => polled.map(drop),
        }
    })
    .await;
    wire.close();
    state.has_ended.set(true);
    state.changed.notify_waiters();
}

impl Link {
    fn take(&self) -> Connection {
        let state = self.state.clone();
        state.streams.set(state.streams.get() + 1);
        let is_reused = state.was_used.replace(true);
        let place = Place { handle: self.handle.clone(), state };
        let line = Line::Stream(Box::new(Stream::ToServer(ToServer::new(place))));
        Connection { line, patience: self.kind.patience, is_reused, is_doubted: false, brings_much: false }
    }

    /// Whether new requests may take it.
    fn is_live(&mut self) -> bool {
        let asked = self.handle.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.state.has_ended.get() && matches!(asked, Poll::Ready(Ok(())))
    }
}

impl State {
    fn has_place(&self) -> bool {
        self.streams.get() < self.streams_max.get()
    }

    fn has_idled(&self, now: Instant) -> bool {
        self.streams.get() == 0 && now.saturating_duration_since(self.idle_since.get()) >= IDLE_CONNECTION_MAX
    }
}

impl Place {
    pub fn scheme(&self) -> Scheme {
        self.state.scheme.clone()
    }

    /// Whether the server takes websockets (RFC 8441).
    pub fn takes_protocols(&self) -> bool {
        self.handle.is_extended_connect_protocol_enabled()
    }

    pub fn sending(&self) -> Rc<Sending> {
        self.state.sending.clone()
    }

    pub fn send(
        &mut self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Piece>), h2::Error> {
        self.handle.send_request(request, is_all)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.streams.set(self.state.streams.get() - 1);
        self.state.idle_since.set(Instant::now());
        // Those who wait may want places of different kinds.
        self.state.changed.notify_waiters();
    }
}
