//! A client's connection of HTTP/2, from its preface to its end, and the life of each of its streams.

use super::super::Face;
use super::super::arrival::look;
use super::super::client::{After, Client, answering};
use super::super::handshake::{self, Agreed};
use super::super::line::Line;
use super::super::registry::Entry;
use super::super::thread::Worker;
use super::super::timer::Timer;
use super::Stream;
use super::from_client::FromClient;
use super::inbound::Inbound;
use super::piece::{Piece, Sending};
use super::wire::Wire;
use crate::count::Took;
use crate::limits::{
    CONNECTIONS_MAX, H2_CONNECTION_WINDOW_BYTES, H2_STREAM_UNSENT_BYTES_MAX, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
    H2_STREAMS_SERVED_MAX, HEAD_BYTES_MAX, LINGER_MAX,
};
use crate::per_thread;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use http1::Asked;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// A connection, as its streams know it.
struct Shared {
    worker: Rc<Worker>,
    peer: SocketAddr,
    face: Arc<Face>,
    tls: Option<Agreed>,
    sending: Rc<Sending>,
    /// That are served.
    streams: Cell<usize>,
    /// Of the connection's task.
    waker: RefCell<Option<Waker>>,
}

struct Front {
    shared: Rc<Shared>,
    connection: Connection<Wire, Piece>,
    wire: Wire,
    /// While it has no streams.
    timer: Timer,
    idles: bool,
    /// The client was told that it ends.
    is_ending: bool,
    shuts_before: u32,
}

/// Serves a connection to its end; `early` is what was read of it.
pub(in super::super) async fn serve(
    worker: Rc<Worker>,
    line: Line,
    early: Bytes,
    peer: SocketAddr,
    face: Arc<Face>,
    entry: Entry,
) {
    let times = worker.house.client_times;
    let (spare, tls) = (worker.http2.spare.clone(), handshake::agreed(&line));
    let wire = Wire::to_client(line, early, spare.clone());
    let shake = builder().handshake(wire.clone());
    let mut shake = std::pin::pin!(shake);
    let shaken = poll_fn(|context| {
        entry.wake_by(context.waker());
        let shaken = shake.as_mut().poll(context);
        match wire.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
            _ => shaken.map_err(|error| error.to_string()),
        }
    });
    let Ok(Ok(connection)) = timeout(times.head, shaken).await else { return wire.close() };
    let shared = Rc::new(Shared {
        peer,
        face,
        tls,
        sending: Sending::new(spare),
        streams: Cell::new(0),
        waker: RefCell::default(),
        worker,
    });
    let (timer, shuts_before) = (Timer::new(Instant::now() + times.head), shared.worker.shuts());
    let mut front = Front { shared, connection, wire, timer, idles: true, is_ending: false, shuts_before };
    poll_fn(|context| front.poll(context)).await;
    if !front.is_ending {
        // It is told what it did wrong.
        let _over = timeout(LINGER_MAX, front.wire.linger()).await;
    }
    front.wire.close();
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(H2_STREAMS_MAX)
        // Too many of them are found by `flood`.
        .max_pending_accept_reset_streams(H2_STREAMS_MAX as usize)
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buffer_size(H2_STREAM_UNSENT_BYTES_MAX)
        .enable_connect_protocol();
    builder
}

impl Front {
    /// Ready when it has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        *self.shared.waker.borrow_mut() = Some(context.waker().clone());
        if self.shared.face.cut.load(Relaxed) || self.poll_frames(context).is_ready() {
            return Poll::Ready(());
        }
        let (worker, face) = (&self.shared.worker, &self.shared.face);
        let has_none = self.shared.streams.get() == 0;
        if !self.is_ending && (worker.is_ending(face) || has_none && worker.ends_idle(face, self.shuts_before)) {
            self.connection.graceful_shutdown();
            return self.end(context);
        }
        if self.wire.is_flooded() {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            let _sent = self.poll_frames(context);
            return Poll::Ready(());
        }
        let begins_to_idle = has_none && !std::mem::replace(&mut self.idles, has_none);
        if self.wire.has_moved() || begins_to_idle {
            self.timer.set_in(if self.is_ending { LINGER_MAX } else { worker.house.client_times.head });
        }
        self.idles = has_none;
        if !has_none || !self.timer.has_passed(context) {
            return Poll::Pending;
        }
        if self.is_ending {
            return Poll::Ready(());
        }
        self.connection.graceful_shutdown();
        self.end(context)
    }

    /// The client was told so.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        (self.is_ending, self.idles) = (true, false);
        self.poll(context)
    }

    /// Moves frames both ways; ready when that is over.
    fn poll_frames(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => self.shared.begin(request, respond),
                Poll::Ready(_) => {
                    // What it says last.
                    let _sent = self.wire.poll_send(context);
                    return Poll::Ready(());
                }
                Poll::Pending => break,
            }
        }
        match self.wire.poll_send(context) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Shared {
    /// Looks at a request, sends it on if that is possible without a wait, and has it served.
    fn begin(self: &Rc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Piece>) {
        let (worker, http2) = (&self.worker, &self.worker.http2);
        let is_full = http2.streams.get() >= CONNECTIONS_MAX.div_ceil(per_thread::threads());
        if is_full || self.streams.get() >= H2_STREAMS_SERVED_MAX {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let head = &mut *http2.head.borrow_mut();
        head.clear();
        let protocol = request.extensions().get::<Protocol>();
        let key = if protocol.is_some() { websocket_key() } else { String::new() };
        let coding = match http2heads::write(
            head,
            &request,
            protocol.map(Protocol::as_str),
            !request.body().is_end_stream(),
            &key,
        ) {
            Ok(coding) => coding,
            Err(malformed) => {
                tracing::debug!(%malformed, "a request of HTTP/2");
                worker.house.metrics.unrouted().here().answered(400, Took::at_once(Duration::ZERO));
                return respond.send_reset(Reason::PROTOCOL_ERROR);
            }
        };
        let asked = Asked { head: request.method() == Method::HEAD, upgrade: protocol.is_some() };
        let inbound = Inbound::request(request.into_body(), coding);
        let stream = FromClient::new(inbound, respond, asked, self.sending.clone(), self.tls.clone());
        let line = Line::Stream(Box::new(Stream::FromClient(stream)));
        // On the heap, since a task is moved several times before it runs.
        let mut client = Box::new(Client::new(line, self.peer, self.face.clone(), worker));
        let Some((arrival, _)) = look(worker, &client.peer, head) else {
            // It was written whole, unless it is longer than any head may be.
            return client.line.reset();
        };
        let counted = Served::new(self.clone());
        spawn_local(async move {
            let worker = &counted.0.worker;
            if answering(worker, &mut client, arrival).await == After::Reset {
                client.line.reset();
            }
        });
    }
}

/// Counts a stream for as long as it is served.
struct Served(Rc<Shared>);

impl Served {
    fn new(shared: Rc<Shared>) -> Self {
        let streams = &shared.worker.http2.streams;
        streams.set(streams.get() + 1);
        shared.streams.set(shared.streams.get() + 1);
        Self(shared)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Shared { worker, streams, waker, .. } = &*self.0;
        worker.http2.streams.set(worker.http2.streams.get() - 1);
        streams.set(streams.get() - 1);
        if streams.get() == 0
            && let Some(waker) = &*waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

/// HTTP/1 asks a server to prove that it speaks the protocol. Nobody has to guess it (RFC 6455 §10.3 is about browsers).
fn websocket_key() -> String {
    let mut key = [0; 16];
    // Without randomness it is one that was used before.
    let _drawn = getrandom::fill(&mut key);
    BASE64_STANDARD.encode(key)
}
