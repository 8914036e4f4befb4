//! From the client to the server: the request's head, and its body as it comes.

use super::answer::Failure;
use super::client::{Client, Peer};
use super::dial::Connection;
use super::journey::Journey;
use super::orders::Orders;
use super::pool::Reuse;
use super::share::Share;
use super::splice::{Pipe, pipe_to_fill};
use super::thread::Worker;
use super::unsent::Unsent;
use crate::current::Admitted;
use crate::observation::Trail;
use crate::servers::Server;
use crate::spool::Replay;
use http1::{Body, Edit, Forward, Forwarded, Framing, Request};
use routing::Route;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

/// A request that was sent, at least its head (or the kernel would not take it yet).
pub(super) struct Sent {
    pub connection: Connection,
    pub upload: Upload,
}

pub(super) struct Upload {
    body: Body,
    /// What the server has not taken yet.
    unsent: Unsent,
    /// What a large body goes through.
    pipe: Option<Pipe>,
    flow: Flow,
    bytes_max: u64,
    /// Where the body comes from, if it was taken whole before.
    replay: Option<Box<Replay>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// Until the server says that it wants the body (`Expect: 100-continue`).
    Held,
    /// The server takes no more; it may have answered.
    Over,
}

pub(super) enum NotSent {
    /// The server had closed the connection; not a byte was sent.
    Closed(io::Error),
    Faulty(Failure),
}

/// Which kept connections a request may take.
pub(super) fn reuse(journey: &Journey) -> Reuse {
    if journey.can_repeat() { Reuse::Any } else { Reuse::Recent }
}

impl Sent {
    /// Sends the head and what has come of the body; returns how much of `rest` that is.
    pub fn send(
        worker: &Worker,
        peer: &Peer,
        request: &Request<'_>,
        journey: &Journey,
        admitted: &Admitted,
        mut connection: Connection,
        rest: &[u8],
    ) -> Result<(Self, usize), NotSent> {
        let (route, server) = (admitted.route(), admitted.server());
        let bytes_max = journey.body_bytes_max(route);
        if matches!(request.framing, Framing::Length(length) if length > bytes_max) {
            return Err(NotSent::Faulty(Failure::RequestTooLarge));
        }
        let (mut body, rest) = match &journey.stored {
            Some(stored) => (stored.body.clone(), &[][..]),
            None => (Body::new(request.framing), rest),
        };
        let used = body.advance(rest).map_err(|bad| NotSent::Faulty(Failure::RequestChunk(bad)))?;
        if body.data_bytes() > bytes_max {
            return Err(NotSent::Faulty(Failure::RequestTooLarge));
        }
        let mut unsent = Unsent::default();
        let head = &mut *worker.head.borrow_mut();
        head.clear();
        write_head(worker, peer, request, journey, route, server, None, head);
        let head_bytes = head.len() as u64;
        unsent.send_all(&mut connection.line, head, &rest[..used]).map_err(|error| match error.kind() {
            ErrorKind::InvalidData if connection.line.is_stream() => NotSent::Faulty(Failure::Unsayable(error)),
            _ => NotSent::Closed(error),
        })?;
        count_bytes(admitted, head_bytes + body.data_bytes());
        // A client that sends its body without being asked to is not waiting.
        let is_held = request.expects_continue && used == 0 && !body.is_done();
        let replay = journey.stored.clone().map(|stored| Box::new(Replay::new(stored)));
        let flow = if is_held { Flow::Held } else { Flow::Open };
        Ok((Self { connection, upload: Upload { body, unsent, pipe: None, flow, bytes_max, replay } }, used))
    }
}

/// Writes the head as this server receives it, with one more edit.
#[allow(clippy::too_many_arguments, reason = "what a head is made of")]
pub(super) fn write_head(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    journey: &Journey,
    route: &Route,
    server: &Server,
    edit: Option<Edit<'_>>,
    out: &mut Vec<u8>,
) {
    let orders = journey.orders.as_deref();
    let mut edits = orders.map(Orders::edits).unwrap_or_default();
    let trail = journey.trail.as_deref();
    let parent = trail.and_then(Trail::traceparent);
    edits.extend(trail.into_iter().flat_map(|trail| trail.edits(parent.as_deref())));
    edits.extend(edit);
    let named = route.forwarded_server.as_str();
    let forward = Forward {
        authority: server.url.authority(),
        keeps_host: route.pass_host_header,
        target: orders.and_then(Orders::target),
        forwarded: Forwarded {
            trusted: route.trust_forward_header,
            client: peer.text(),
            scheme: peer.scheme(),
            server: if named.is_empty() { &worker.house.edge_id } else { named },
        },
        framing: None,
        edits: &edits,
    };
    request.write(out, &forward);
}

impl Upload {
    /// Whether the server has the whole request.
    pub fn is_done(&self) -> bool {
        self.body.is_done() && self.waiting_bytes() == 0 && self.replay.as_ref().is_none_or(|replay| replay.is_done())
    }

    /// Whether all that is to come from the client has come and, as far as can be helped, nobody looks at what else it sends.
    pub fn is_free_of_client(&self) -> bool {
        self.is_done() || self.replay.is_some()
    }

    /// Whether all of the body can still go elsewhere: nothing of it came, or it was taken whole before.
    pub fn is_untouched(&self, framing: Framing) -> bool {
        self.replay.is_some() || self.body == Body::new(framing)
    }

    /// What came from the client, and the server has not taken.
    fn waiting_bytes(&self) -> usize {
        self.unsent.bytes_left() + self.pipe.as_ref().map_or(0, Pipe::filled)
    }

    /// Bytes of the body that came.
    pub fn body_bytes(&self) -> u64 {
        self.body.data_bytes()
    }

    /// Whether the client has sent all of it.
    pub fn was_read(&self) -> bool {
        self.body.is_done()
    }

    /// Whether the client is awaited, not the server.
    pub fn awaits_client(&self) -> bool {
        self.flow == Flow::Open && self.waiting_bytes() == 0 && !self.body.is_done()
    }

    pub fn is_held(&self) -> bool {
        self.flow == Flow::Held
    }

    /// The server wants the body, or was given long enough to say so.
    pub fn open(&mut self) {
        if self.flow == Flow::Held {
            self.flow = Flow::Open;
        }
    }

    /// Passes on what comes, as far as the server takes it; whether anything moved.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        client: &mut Client,
        connection: &mut Connection,
        admitted: &Admitted,
    ) -> Result<bool, Failure> {
        let (mut moved, mut share) = (false, Share::new());
        loop {
            let waiting_bytes = self.waiting_bytes();
            let flushed = self.poll_flush(context, connection);
            moved |= self.waiting_bytes() < waiting_bytes;
            match flushed {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.give_up(),
            }
            if self.flow == Flow::Open
                && let Some(replay) = &mut self.replay
                && !replay.is_done()
            {
                let piece = match replay.poll_piece(context) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(piece) => piece.map_err(|error| Failure::Spool(error.into()))?,
                };
                let count = piece.len();
                count_bytes(admitted, count as u64);
                if self.unsent.send(&mut connection.line, &[], piece).is_err() {
                    self.give_up();
                }
                moved = true;
                if share.is_used_up(count, context) {
                    return Ok(moved);
                }
                continue;
            }
            if self.body.is_done()
                && let Some(pipe) = self.pipe.take()
            {
                worker.pipes.borrow_mut().give_back(pipe);
            }
            if self.flow != Flow::Open || self.body.is_done() {
                return Ok(moved);
            }
            if !client.leftover.is_empty() {
                let used = self.pass(client.leftover.bytes(), connection, admitted)?;
                client.leftover.advance(used);
                moved = true;
                continue;
            }
            let plain = client.line.plain().filter(|_| connection.line.plain().is_some());
            if let Some(from) = plain
                && let Some((pipe, left)) = pipe_to_fill(&mut self.pipe, &self.body, &worker.pipes)
            {
                match pipe.poll_fill(context, from, left) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(count @ 1..)) => {
                        self.body.skip(count as u64);
                        count_bytes(admitted, count as u64);
                        moved = true;
                        if share.is_used_up(count, context) {
                            return Ok(moved);
                        }
                        continue;
                    }
                    Poll::Ready(_) => return Err(Failure::RequestBody),
                }
            }
            let read = worker.scratch.borrow_mut().poll_read(&mut client.line, context);
            match read {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count @ 1..)) => {
                    let scratch = worker.scratch.borrow();
                    let bytes = scratch.bytes(count);
                    let used = self.pass(bytes, connection, admitted)?;
                    client.leftover.extend(&bytes[used..]);
                    moved = true;
                    if share.is_used_up(count, context) {
                        return Ok(moved);
                    }
                }
                Poll::Ready(_) => return Err(Failure::RequestBody),
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, connection: &mut Connection) -> Poll<io::Result<()>> {
        ready!(self.unsent.poll_flush(&mut connection.line, context))?;
        match (&mut self.pipe, connection.line.plain()) {
            (Some(pipe), Some(to)) => pipe.poll_drain(context, to),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends what belongs to the body; returns how much that is.
    fn pass(&mut self, bytes: &[u8], connection: &mut Connection, admitted: &Admitted) -> Result<usize, Failure> {
        let before = self.body.data_bytes();
        let used = self.body.advance(bytes).map_err(Failure::RequestChunk)?;
        let data_bytes = self.body.data_bytes();
        if data_bytes > self.bytes_max {
            return Err(Failure::RequestTooLarge);
        }
        count_bytes(admitted, data_bytes - before);
        if self.unsent.send(&mut connection.line, &[], &bytes[..used]).is_err() {
            self.give_up();
        }
        Ok(used)
    }

    fn give_up(&mut self) {
        self.flow = Flow::Over;
        self.unsent = Unsent::default();
        self.pipe = None;
    }
}

fn count_bytes(admitted: &Admitted, bytes: u64) {
    admitted.counts().here().request_bytes.add(bytes);
    admitted.server().counts.here().request_bytes.add(bytes);
}
