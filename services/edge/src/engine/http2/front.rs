//! A client's connection of HTTP/2, from its preface to its end, and the life of each of its streams.

use super::super::Face;
use super::super::arrival::{look, nonsense};
use super::super::client::{After, Client, answering};
use super::super::handshake::{self, Agreed};
use super::super::line::Line;
use super::super::registry::Entry;
use super::super::share::Share;
use super::super::thread::Worker;
use super::super::timer::Timer;
use super::Stream;
use super::from_client::FromClient;
use crate::count::Took;
use crate::limits::{
    CONNECTIONS_MAX, H2_CONNECTION_WINDOW_BYTES, H2_STREAM_UNSENT_BYTES_MAX, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
    H2_STREAMS_SERVED_MAX, H2_UNSENT_BYTES_MAX, HEAD_BYTES_MAX, LINGER_BYTES_MAX, LINGER_MAX,
};
use crate::per_thread;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http2::{Connection, Event, Head, Limits, Reason, Request};
use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

const LIMITS: Limits = Limits {
    streams_max: H2_STREAMS_MAX,
    stream_window_bytes: H2_STREAM_WINDOW_BYTES,
    connection_window_bytes: H2_CONNECTION_WINDOW_BYTES,
    head_bytes_max: HEAD_BYTES_MAX,
    unsent_bytes_max: H2_UNSENT_BYTES_MAX,
    stream_unsent_bytes_max: H2_STREAM_UNSENT_BYTES_MAX,
    websocket_key,
};

/// A connection, as its streams know it.
pub(super) struct Shared {
    worker: Rc<Worker>,
    peer: SocketAddr,
    face: Arc<Face>,
    tls: Option<Agreed>,
    connection: RefCell<Connection>,
    /// That are served.
    streams: Cell<usize>,
    /// Of the connection's task.
    waker: RefCell<Option<Waker>>,
}

struct Front {
    shared: Rc<Shared>,
    line: Line,
    /// While it has no streams.
    timer: Timer,
    idles: bool,
    /// Nothing more is heard of it.
    was_over: bool,
    /// The client took something since this was last looked at.
    has_moved: bool,
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
    let now = Instant::now();
    let shared = Rc::new(Shared {
        peer,
        face,
        tls: handshake::agreed(&line),
        connection: RefCell::new(Connection::new(LIMITS, now.into_std())),
        streams: Cell::new(0),
        waker: RefCell::default(),
        worker,
    });
    let (timer, shuts_before) = (Timer::new(now + shared.worker.house.client_times.head), shared.worker.shuts());
    let mut front =
        Front { shared, line, timer, idles: true, was_over: false, has_moved: false, is_ending: false, shuts_before };
    front.shared.take(&early);
    drop(early);
    poll_fn(|context| {
        entry.wake_by(context.waker());
        Poll::Ready(())
    })
    .await;
    poll_fn(|context| front.poll(context)).await;
    front.shared.connection().close();
    let _over = timeout(front.shared.worker.house.client_times.stall, front.linger()).await;
    front.line.close();
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
            return self.end(context);
        }
        let is_over = self.shared.connection().is_over();
        let begins_to_idle = has_none && !std::mem::replace(&mut self.idles, has_none);
        let begins_to_end = is_over && !std::mem::replace(&mut self.was_over, is_over);
        let is_last = self.is_ending || is_over;
        if std::mem::take(&mut self.has_moved) || begins_to_idle || begins_to_end {
            self.timer.set_in(if is_last { LINGER_MAX } else { worker.house.client_times.head });
        }
        self.idles = has_none;
        if !(has_none || is_over) || !self.timer.has_passed(context) {
            return Poll::Pending;
        }
        if is_last { Poll::Ready(()) } else { self.end(context) }
    }

    /// The client is told so.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.connection().announce_end();
        (self.is_ending, self.idles) = (true, false);
        self.poll(context)
    }

    /// Moves frames both ways; ready when that is over.
    fn poll_frames(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (shared, mut share) = (self.shared.clone(), Share::new());
        shared.connection().wake_by(context.waker());
        loop {
            let is_all = self.poll_read(context, &mut share).is_pending();
            match self.poll_send(context) {
                Poll::Ready(Ok(())) if shared.connection().is_over() => return Poll::Ready(()),
                Poll::Ready(Ok(())) if is_all => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes what came; ready when something has to be sent before more of it is.
    fn poll_read(&mut self, context: &mut Context<'_>, share: &mut Share) -> Poll<()> {
        let shared = self.shared.clone();
        let worker = &shared.worker;
        loop {
            {
                let connection = shared.connection();
                if connection.is_full() || connection.is_over() {
                    return Poll::Ready(());
                }
            }
            let read = worker.scratch.borrow_mut().poll_read(&mut self.line, context);
            match ready!(read) {
                Ok(count @ 1..) => {
                    shared.take(worker.scratch.borrow().bytes(count));
                    if share.is_used_up(count, context) {
                        return Poll::Pending;
                    }
                }
                // What it has been told is all it will be.
                _ => shared.connection().close(),
            }
        }
    }

    /// Sends what there is. Frames of one turn of this task, of whichever streams, go out together: one system call, and one
    /// record of TLS.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &mut *self.shared.connection();
        while !connection.unsent().is_empty() {
            let taken = ready!(self.line.poll_write(context, connection.unsent()))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            connection.sent(taken);
            self.has_moved = true;
        }
        if let Some(buffer) = connection.take_back() {
            self.shared.worker.http2.spare.give_back(buffer);
        }
        self.line.poll_flush(context)
    }

    /// Lets the client read what it was told last, as long as it is heard to: closing would take from it what lies in the socket.
    /// What it still sends is thrown away.
    async fn linger(&mut self) {
        let ended = timeout(LINGER_MAX, poll_fn(|context| self.line.poll_shutdown(context))).await;
        let mut left = if matches!(ended, Ok(Ok(()))) { LINGER_BYTES_MAX } else { 0 };
        while left > 0 {
            match timeout(LINGER_MAX, poll_fn(|context| self.line.poll_discard(context))).await {
                Ok(Ok(count @ 1..)) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

impl Shared {
    pub fn connection(&self) -> RefMut<'_, Connection> {
        self.connection.borrow_mut()
    }

    /// The same, with a buffer to write to.
    pub fn writing(&self) -> RefMut<'_, Connection> {
        let mut connection = self.connection();
        connection.lend(|| self.worker.http2.spare.take());
        connection
    }

    /// Takes what the client sent: its requests begin.
    fn take(self: &Rc<Self>, mut bytes: &[u8]) {
        let http2 = &self.worker.http2;
        while !bytes.is_empty() {
            let head = &mut *http2.head.borrow_mut();
            let (used, event) = self.writing().receive(bytes, head);
            bytes = &bytes[used..];
            match event {
                Some(Event::Request(request)) => self.begin(&request, head),
                Some(Event::Malformed(malformed)) => {
                    tracing::debug!(%malformed, "a request of HTTP/2");
                    self.worker.house.metrics.unrouted().here().answered(400, Took::at_once(Duration::ZERO));
                }
                None => {}
            }
        }
        self.connection().is_flooded(|| Instant::now().into_std());
    }

    /// Looks at a request, sends it on if that is possible without a wait, and has it served.
    fn begin(self: &Rc<Self>, request: &Request, head: &Head) {
        let worker = &self.worker;
        let is_full = worker.http2.streams.get() >= CONNECTIONS_MAX.div_ceil(per_thread::threads());
        if is_full || self.streams.get() >= H2_STREAMS_SERVED_MAX {
            let connection = &mut *self.connection();
            connection.reset(request.key, Reason::RefusedStream);
            return connection.release(request.key);
        }
        let stream = FromClient::new(self.clone(), request, self.tls.clone());
        let line = Line::Stream(Box::new(Stream::FromClient(stream)));
        // On the heap, since a task is moved several times before it runs.
        let mut client = Box::new(Client::new(line, self.peer, self.face.clone(), worker));
        let arrival = if request.is_too_large {
            nonsense(worker, &client.peer, head.bytes(), 431, "the request's headers are larger than was offered")
        } else {
            match look(worker, &client.peer, head.bytes()) {
                Some((arrival, _)) => arrival,
                // It was written whole, unless it is longer than any head may be.
                None => return client.line.reset(),
            }
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
