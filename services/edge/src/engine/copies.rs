//! Copies of requests for a route's mirror, sent on the thread whose client asked, by tasks of their own: nobody waits for
//! them, and what is answered is thrown away. So that a mirror which hangs costs nobody anything there is a bound per route
//! (`MIRRORED_AT_ONCE_MAX`), one per thread, and a time; what is beyond is not copied, and counted.
//!
//! Copied are requests without a body, and those whose body is kept in memory because the route buffers (`super::buffering`):
//! a body that streams has gone by before a copy could be sent.

use super::answer::Failure;
use super::client::Peer;
use super::dial::{Connection, DialTimes, Patience, Want};
use super::exchange;
use super::journey::{Journey, limits, shown};
use super::pool::Reuse;
use super::thread::Worker;
use super::unsent::Unsent;
use super::upload::write_head;
use crate::current::{Admitted, Turns};
use crate::limits::{
    BUFFERED_PIECE_BYTES, DIAL_TIMEOUT, HEAD_BYTES_MAX, MIRROR_ANSWER_BYTES_MAX, MIRROR_TIMEOUT, TLS_HANDSHAKE_TIMEOUT,
};
use crate::mirror::{MIRROR_HEADER, Mirror, To};
use crate::secure::servers::Upstream;
use crate::servers::Server;
use crate::spool::Stored;
use http1::{Asked, Body, Edit, Limits, Parsed, Response, Storage};
use lifecycle::ErrorChain;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// A request on its way to a mirror.
pub(super) struct Copy {
    server: Arc<Server>,
    upstream: Option<Arc<Upstream>>,
    head: Vec<u8>,
    body: Option<Rc<Stored>>,
    asked: Asked,
    patience: Patience,
    _place: Place,
}

/// What a mirror's answer begins with.
struct Answered {
    body: Body,
    keep_alive: bool,
    /// With the interim ones before.
    head_bytes: usize,
}

/// Counted with the mirror of a route.
struct Place(Arc<Turns>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mirror) = &self.0.mirror {
            mirror.leave();
        }
    }
}

/// Hands a copy over, if this request is one that is copied.
pub(super) fn copy(worker: &Worker, peer: &Peer, journey: &Journey, admitted: &Admitted) {
    let turns = admitted.turns();
    let Some(mirror) = &turns.mirror else { return };
    let has_gone_by = journey.has_body() && journey.stored.as_ref().is_none_or(|stored| stored.in_memory().is_none());
    if has_gone_by || journey.asked.upgrade || !mirror.is_due() {
        return;
    }
    let is_copied = journey.read(|request| {
        let is_copy = request.header(MIRROR_HEADER).is_some();
        is_copy
            || make(worker, peer, request, journey, turns, mirror)
                .is_some_and(|copy| worker.copies.try_send(copy).is_ok())
    });
    if !is_copied {
        worker.house.copies.dropped.fetch_add(1, Relaxed);
    }
}

fn make(
    worker: &Worker,
    peer: &Peer,
    request: &http1::Request<'_>,
    journey: &Journey,
    turns: &Arc<Turns>,
    mirror: &Mirror,
) -> Option<Copy> {
    let (server, upstream) = match &mirror.to {
        To::Servers { .. } => {
            let server = mirror.to.next()?;
            let upstream = turns.upstream_of(&server).cloned();
            (server, upstream)
        }
        To::Route(id) => {
            let snapshot = worker.house.current.load();
            let other = snapshot.of_route(id)?;
            let picked = shown(request, peer, |head| other.pick(head, |_| true))?;
            let server = other.servers[picked.position].clone();
            let upstream = other.upstream_of(&server).cloned();
            (server, upstream)
        }
    };
    if !mirror.enter() {
        return None;
    }
    let place = Place(turns.clone());
    let mark = Edit::set(MIRROR_HEADER, b"1");
    let mut head = Vec::new();
    write_head(worker, peer, request, journey, &turns.route, &server, mark, &mut head);
    let (asked, patience) = (journey.asked, journey.patience());
    Some(Copy { server, upstream, head, body: journey.stored.clone(), asked, patience, _place: place })
}

/// Sends what is handed over, for as long as the thread lives.
pub(super) async fn run(worker: Rc<Worker>, mut copies: mpsc::Receiver<Copy>) {
    while let Some(copy) = copies.recv().await {
        let worker = worker.clone();
        spawn_local(async move {
            let sent = timeout(MIRROR_TIMEOUT, copy.send(&worker)).await;
            let sent = sent.unwrap_or(Err(Failure::HeadTimeout));
            let counts = &worker.house.copies;
            let count = if sent.is_ok() { &counts.answered } else { &counts.failed };
            count.fetch_add(1, Relaxed);
            if let Err(failure) = sent {
                tracing::debug!(url = copy.server.url.as_str(), error = %ErrorChain(&failure), "a mirror failed");
            }
        });
    }
}

impl Copy {
    /// Sends it, and waits for the end of the answer, so that the connection can be used again.
    async fn send(&self, worker: &Worker) -> Result<(), Failure> {
        let want = Want { upstream: self.upstream.as_ref(), patience: self.patience, switches: false };
        let times = DialTimes { dial: DIAL_TIMEOUT, handshake: TLS_HANDSHAKE_TIMEOUT };
        let kept = worker.kept(&self.server, want, Reuse::Recent, Instant::now());
        let mut connection = match kept {
            Some(connection) => connection,
            None => exchange::dial(worker, &self.server, want, times).await?,
        };
        let body = self.body.as_deref().and_then(Stored::in_memory).unwrap_or_default();
        let mut unsent = Unsent::default();
        let mut head = &self.head[..];
        // Piece by piece: a mirror that takes nothing has one of them copied, not all.
        let pieces = body.chunks(BUFFERED_PIECE_BYTES);
        for piece in std::iter::once(&[][..]).chain(pieces) {
            unsent.send(&mut connection.line, std::mem::take(&mut head), piece).map_err(Failure::before_head)?;
            let flushed = poll_fn(|context| unsent.poll_flush(&mut connection.line, context));
            flushed.await.map_err(Failure::before_head)?;
        }
        if self.pass_answer(worker, &mut connection).await? {
            worker.pool.borrow_mut().put(&self.server, connection, Instant::now());
        }
        Ok(())
    }

    /// Reads the answer to its end; whether the connection can be used again.
    async fn pass_answer(&self, worker: &Worker, connection: &mut Connection) -> Result<bool, Failure> {
        let mut head = Vec::new();
        let (mut body, keep_alive) = loop {
            let count = read(worker, connection).await.map_err(Failure::before_head)?;
            head.extend_from_slice(worker.scratch.borrow().bytes(count));
            let Some(Answered { mut body, keep_alive, head_bytes }) =
                self.head_of(&head, limits(connection.line.is_stream()))?
            else {
                continue;
            };
            let passed = body.advance(&head[head_bytes..]).map_err(Failure::Chunk)?;
            break (body, keep_alive && head_bytes + passed == head.len());
        };
        let mut is_exact = true;
        while !body.is_done() {
            if body.data_bytes() > MIRROR_ANSWER_BYTES_MAX {
                return Ok(false);
            }
            let count = match read(worker, connection).await {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && body.may_end_here() => return Ok(false),
                read => read.map_err(Failure::Body)?,
            };
            let passed = body.advance(worker.scratch.borrow().bytes(count)).map_err(Failure::Chunk)?;
            is_exact &= passed == count;
        }
        Ok(keep_alive && is_exact)
    }

    /// The last head among what came, once it is whole.
    fn head_of(&self, bytes: &[u8], limits: &Limits) -> Result<Option<Answered>, Failure> {
        let mut from = 0;
        loop {
            let mut storage = Storage::new();
            match Response::parse(&bytes[from..], &mut storage, limits, self.asked) {
                Ok(Parsed::Complete(response)) if response.is_interim() => from += response.head_bytes(),
                Ok(Parsed::Complete(response)) => {
                    let (body, head_bytes) = (Body::new(response.framing), from + response.head_bytes());
                    return Ok(Some(Answered { body, keep_alive: response.keep_alive, head_bytes }));
                }
                Ok(Parsed::Partial) if bytes.len() > 2 * HEAD_BYTES_MAX => return Err(Failure::Interim),
                Ok(Parsed::Partial) => return Ok(None),
                Err(bad) => return Err(Failure::Head(bad)),
            }
        }
    }
}

/// Into the thread's read buffer; never nothing.
async fn read(worker: &Worker, connection: &mut Connection) -> io::Result<usize> {
    let count = poll_fn(|context| worker.scratch.borrow_mut().poll_read(&mut connection.line, context)).await?;
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}
