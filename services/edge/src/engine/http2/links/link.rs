//! One connection of HTTP/2 to a server, driven by a task of its own, and the places on it.

use super::super::super::answer::Failure;
use super::super::super::dial::{Connection, Patience, Want};
use super::super::super::line::Line;
use super::super::super::thread::Worker;
use super::super::fault::fault;
use super::super::piece::{Piece, Sending};
use super::super::to_server::ToServer;
use super::super::wire::Wire;
use super::super::{Http2, Stream};
use super::Queue;
use crate::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_LINK_STREAMS_MAX, H2_STREAM_UNSENT_BYTES_MAX, H2_STREAM_WINDOW_BYTES,
    HEAD_BYTES_MAX, IDLE_CONNECTION_MAX,
};
use crate::secure::servers::Upstream;
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
use tokio::task::spawn_local;
use tokio::time::Instant;

/// A connection, until its last request has ended once this is dropped.
pub(super) struct Link {
    handle: SendRequest<Piece>,
    pub kind: Kind,
    state: Rc<State>,
}

/// Which requests may take a connection.
#[derive(Clone)]
pub(super) struct Kind {
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
    /// Of those who wait for a place, or for room for one more connection.
    queue: Rc<Queue>,
}

/// For one request.
pub(in super::super) struct Place {
    handle: SendRequest<Piece>,
    state: Rc<State>,
}

impl Kind {
    pub fn of(want: Want<'_>) -> Self {
        Self { upstream: want.upstream.cloned(), patience: want.patience }
    }

    pub fn is_for(&self, want: Want<'_>) -> bool {
        want.is_met_by(self.upstream.as_ref(), self.patience)
    }

    pub fn want(&self) -> Want<'_> {
        Want { upstream: self.upstream.as_ref(), patience: self.patience, switches: false }
    }
}

/// Makes a connection one of HTTP/2.
pub(super) async fn make(worker: &Worker, server: &Arc<Server>, connection: Connection) -> Result<Link, Failure> {
    let Connection { line, patience, .. } = connection;
    let kind = Kind { upstream: line.upstream().cloned(), patience };
    let Http2 { spare, links, .. } = &worker.http2;
    let scheme = if line.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
    let wire = Wire::new(line, spare.clone());
    let made = builder().handshake(wire.clone()).await;
    let (handle, connection) = made.map_err(|error| Failure::Dial(fault(error)))?;
    let queue = links.borrow_mut().of(server).kind(kind.want()).queue.clone();
    let link = Link::new(handle, kind, scheme, Sending::new(spare.clone()), queue);
    spawn_local(drive(connection, wire, link.state.clone()));
    Ok(link)
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
        state.allow(streams_max, was_told);
        match wire.poll_send(context) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => polled.map(drop),
        }
    })
    .await;
    wire.close();
    state.has_ended.set(true);
    state.queue.wake_one();
}

impl State {
    fn allow(&self, streams_max: usize, was_told: bool) {
        let before = (self.streams_max.replace(streams_max), self.was_told.replace(was_told));
        if before != (streams_max, was_told) {
            self.queue.wake_one();
        }
    }
}

impl Link {
    fn new(handle: SendRequest<Piece>, kind: Kind, scheme: Scheme, sending: Rc<Sending>, queue: Rc<Queue>) -> Self {
        let state = Rc::new(State {
            scheme,
            streams: Cell::new(0),
            streams_max: Cell::new(1),
            was_told: Cell::new(false),
            was_used: Cell::new(false),
            has_ended: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            sending,
            queue,
        });
        Self { handle, kind, state }
    }

    pub fn take(&self) -> Connection {
        let state = self.state.clone();
        state.streams.set(state.streams.get() + 1);
        let is_reused = state.was_used.replace(true);
        let place = Place { handle: self.handle.clone(), state };
        let line = Line::Stream(Box::new(Stream::ToServer(ToServer::new(place))));
        Connection { line, patience: self.kind.patience, is_reused, is_doubted: false, brings_much: false }
    }

    /// Whether new requests may take it.
    pub fn is_live(&mut self) -> bool {
        let asked = self.handle.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.state.has_ended.get() && matches!(asked, Poll::Ready(Ok(())))
    }

    pub fn has_place(&self) -> bool {
        self.state.streams.get() < self.state.streams_max.get()
    }

    /// Whether the server has said how many streams it allows.
    pub fn was_told(&self) -> bool {
        self.state.was_told.get()
    }

    pub fn has_idled(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.state.idle_since.get());
        self.state.streams.get() == 0 && idle >= IDLE_CONNECTION_MAX
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
        self.state.queue.wake_one();
    }
}

#[cfg(test)]
impl Link {
    /// To a server that has said nothing, and all that keeps the connection.
    pub async fn to_nobody(want: Want<'_>, queue: Rc<Queue>) -> (Self, impl Sized) {
        let (edges, servers) = tokio::io::duplex(4096);
        let (handle, connection) = builder().handshake::<_, Piece>(edges).await.unwrap();
        let link = Self::new(handle, Kind::of(want), Scheme::HTTP, Sending::new(Rc::default()), queue);
        (link, (connection, servers))
    }

    /// It never says how many more connections there may be.
    pub fn has_places(&self, streams_max: usize) {
        self.state.allow(streams_max, false);
    }
}
