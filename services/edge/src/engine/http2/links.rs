//! Connections of HTTP/2 to servers: per thread and server as many as its limit of concurrent streams asks for, each driven
//! by a task of its own. A request takes a [`Place`] on one of them.
//!
//! They follow the ways of kept connections ([`super::super::pool`]): they are of two kinds of patience, end when their
//! server leaves the table and carries no request any more, when they have idled, and take no more requests when the
//! server met silence or said that it goes away.

use super::super::answer::Failure;
use super::super::dial::{Connection, Patience};
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
use crate::servers::Server;
use h2::SendStream;
use h2::client::{self, Builder, ResponseFuture, SendRequest};
use http::Request;
use http::uri::Scheme;
use std::cell::Cell;
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
    /// Somebody makes one more, of short and of long patience.
    dialing: [Rc<Cell<bool>>; 2],
    changed: Rc<Notify>,
}

/// A connection, until its last request has ended once this is dropped.
struct Link {
    handle: SendRequest<Piece>,
    patience: Patience,
    state: Rc<State>,
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
    pub fn take(&mut self, server: &Arc<Server>, patience: Patience) -> Option<Connection> {
        let of = self.of.get_mut(server.slot)?.as_mut()?;
        if of.silences != server.silences() {
            of.silences = server.silences();
            of.links.clear();
        }
        of.links.retain_mut(|link| link.is_live());
        of.links.iter().find(|link| link.patience == patience && link.state.has_place()).map(Link::take)
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
            dialing: Default::default(),
            changed: Rc::default(),
        })
    }
}

/// Whose turn it is to make a connection, until this is dropped.
struct Turn {
    dialing: Rc<Cell<bool>>,
    changed: Rc<Notify>,
}

impl OfServer {
    /// One is made at a time, and the next one once the server has said how many streams it allows on the last.
    fn turn(&self, patience: Patience) -> Option<Turn> {
        let dialing = &self.dialing[usize::from(patience == Patience::Long)];
        let mut links = self.links.iter().filter(|link| link.patience == patience);
        if links.clone().count() >= H2_LINKS_MAX || links.any(|link| !link.state.was_told.get()) || dialing.get() {
            return None;
        }
        dialing.set(true);
        Some(Turn { dialing: dialing.clone(), changed: self.changed.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.dialing.set(false);
        self.changed.notify_waiters();
    }
}

/// A place on a connection that is there, or is made, within a time.
pub(in super::super) async fn connect(
    worker: &Worker,
    server: &Arc<Server>,
    patience: Patience,
    time: Duration,
) -> Result<Connection, Failure> {
    let deadline = Instant::now() + time;
    loop {
        let (turn, changed) = {
            let links = &mut *worker.http2.links.borrow_mut();
            if let Some(connection) = links.take(server, patience) {
                return Ok(connection);
            }
            let of = links.of(server);
            (of.turn(patience), of.changed.clone())
        };
        let Some(_turn) = turn else {
            if timeout_at(deadline, changed.notified()).await.is_err() {
                return Err(Failure::Crowded);
            }
            continue;
        };
        let dialed =
            Connection::dial_plain(&server.url, patience, deadline.saturating_duration_since(Instant::now())).await?;
        let link = make(worker, server, dialed).await?;
        let place = link.take();
        worker.http2.links.borrow_mut().of(server).links.push(link);
        return Ok(place);
    }
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
    Ok(Link { handle, patience, state })
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
        Connection { line, patience: self.patience, is_reused, is_doubted: false }
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
