//! From the client to the server: the request's head, and its body as it comes.

use super::answer::Failure;
use super::client::{Client, Peer};
use super::dial::Connection;
use super::journey::Journey;
use super::pool::Reuse;
use super::thread::Worker;
use super::unsent::Unsent;
use crate::current::Admitted;
use http1::{Body, Forward, Forwarded, Framing, Request, Scheme};
use std::io;
use std::mem;
use std::task::{Context, Poll};

/// A request that was sent, at least its head (or the kernel would not take it yet).
pub(super) struct Sent {
    pub connection: Connection,
    pub upload: Upload,
}

pub(super) struct Upload {
    body: Body,
    /// What the server has not taken yet.
    unsent: Unsent,
    flow: Flow,
    /// 0: no limit.
    bytes_max: u64,
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
        admitted: &Admitted,
        connection: Connection,
        rest: &[u8],
    ) -> Result<(Self, usize), NotSent> {
        let (route, server) = (admitted.route(), admitted.server());
        let bytes_max = route.body_bytes_max;
        if matches!(request.framing, Framing::Length(length) if bytes_max > 0 && length > bytes_max) {
            return Err(NotSent::Faulty(Failure::RequestTooLarge));
        }
        let mut body = Body::new(request.framing);
        let used = body.advance(rest).map_err(|bad| NotSent::Faulty(Failure::RequestChunk(bad)))?;
        if bytes_max > 0 && body.data_bytes() > bytes_max {
            return Err(NotSent::Faulty(Failure::RequestTooLarge));
        }
        let named = route.forwarded_server.as_str();
        let forward = Forward {
            authority: server.url.authority(),
            keeps_host: route.pass_host_header,
            target: None,
            forwarded: Forwarded {
                trusted: route.trust_forward_header,
                client: peer.text(),
                scheme: Scheme::Http,
                server: if named.is_empty() { &worker.house.edge_id } else { named },
            },
            framing: None,
            edits: &[],
        };
        let mut unsent = Unsent::default();
        let head = &mut *worker.head.borrow_mut();
        head.clear();
        request.write(head, &forward);
        unsent.send(&connection.stream, head, &rest[..used]).map_err(NotSent::Closed)?;
        let bytes = head.len() as u64 + body.data_bytes();
        admitted.counts().here().request_bytes.add(bytes);
        server.counts.here().request_bytes.add(bytes);
        // A client that sends its body without being asked to is not waiting.
        let is_held = request.expects_continue && used == 0 && !body.is_done();
        let flow = if is_held { Flow::Held } else { Flow::Open };
        Ok((Self { connection, upload: Upload { body, unsent, flow, bytes_max } }, used))
    }
}

impl Upload {
    /// Whether the server has the whole request.
    pub fn is_done(&self) -> bool {
        self.body.is_done() && self.unsent.is_empty()
    }

    /// Whether the client has sent all of it.
    pub fn was_read(&self) -> bool {
        self.body.is_done()
    }

    /// Whether the client is awaited, not the server.
    pub fn awaits_client(&self) -> bool {
        self.flow == Flow::Open && self.unsent.is_empty() && !self.body.is_done()
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
        let mut moved = false;
        loop {
            if !self.unsent.is_empty() {
                match self.unsent.poll_flush(&mut connection.stream, context) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => self.give_up(),
                }
            }
            if self.flow != Flow::Open || self.body.is_done() {
                return Ok(moved);
            }
            if !client.leftover.is_empty() {
                let bytes = mem::take(&mut client.leftover);
                let used = self.pass(&bytes, connection, admitted)?;
                client.leftover.extend_from_slice(&bytes[used..]);
                moved = true;
                continue;
            }
            let read = worker.scratch.borrow_mut().poll_read(&mut client.stream, context);
            match read {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(count @ 1..)) => {
                    let scratch = worker.scratch.borrow();
                    let bytes = scratch.bytes(count);
                    let used = self.pass(bytes, connection, admitted)?;
                    client.leftover.extend_from_slice(&bytes[used..]);
                    moved = true;
                }
                Poll::Ready(_) => return Err(Failure::RequestBody),
            }
        }
    }

    /// Sends what belongs to the body; returns how much that is.
    fn pass(&mut self, bytes: &[u8], connection: &Connection, admitted: &Admitted) -> Result<usize, Failure> {
        let before = self.body.data_bytes();
        let used = self.body.advance(bytes).map_err(Failure::RequestChunk)?;
        let data_bytes = self.body.data_bytes();
        if self.bytes_max > 0 && data_bytes > self.bytes_max {
            return Err(Failure::RequestTooLarge);
        }
        admitted.counts().here().request_bytes.add(data_bytes - before);
        admitted.server().counts.here().request_bytes.add(data_bytes - before);
        if self.unsent.send(&connection.stream, &[], &bytes[..used]).is_err() {
            self.give_up();
        }
        Ok(used)
    }

    fn give_up(&mut self) {
        self.flow = Flow::Over;
        self.unsent = Unsent::default();
    }
}
