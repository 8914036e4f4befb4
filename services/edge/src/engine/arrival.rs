//! The fast path: a head that lies in the read buffer is parsed, routed, admitted and sent on, without a wait.

use super::answer;
use super::client::{After, Peer};
use super::exchange::Start;
use super::journey::{Journey, LIMITS, admit, shown};
use super::thread::Worker;
use super::upload::{NotSent, Sent, reuse};
use crate::current::Admitted;
use http1::{Body, Connection, Parsed, Request, Storage};
use std::time::Duration;
use tokio::time::Instant;

/// What became of what a client sent.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and goes on the heap at once")]
pub(super) enum Arrival {
    /// Nothing will come any more.
    None,
    /// The edge answers itself.
    Answer(Vec<u8>, After),
    /// A server was found.
    Request(Journey, Admitted, Start),
}

/// Looks at what came; `None` when it is not a whole head yet. What is not used goes to `leftover`, which is empty.
pub(super) fn look(worker: &Worker, peer: &Peer, bytes: &[u8], leftover: &mut Vec<u8>) -> Option<Arrival> {
    let mut storage = Storage::new();
    let request = match Request::parse(bytes, &mut storage, &LIMITS) {
        Ok(Parsed::Complete(request)) => request,
        Ok(Parsed::Partial) => {
            leftover.extend_from_slice(bytes);
            return None;
        }
        Err(bad) => {
            worker.house.metrics.unrouted().here().answered(bad.status(), Duration::ZERO);
            let answer = answer::error(bad.status(), &bad.to_string(), Connection::Close, false);
            return Some(Arrival::Answer(answer, After::Linger));
        }
    };
    let (head, rest) = bytes.split_at(request.head_bytes());
    let begun = Instant::now();
    if worker.house.probe.is_ours(&request) {
        // The edge asks itself: the request goes as far as any other does before its server is chosen.
        let current = worker.house.current.load();
        let _whichever = shown(&request, peer, |head| current.table.find_position(head));
        return Some(Arrival::Answer(worker.house.probe.answer(), After::Close));
    }
    let scope = peer.face.scope.load();
    let admitted = if scope.as_ref().is_some_and(|scope| !shown(&request, peer, |head| scope.matches(head))) {
        Err((404, "not found".into()))
    } else {
        admit(worker, peer, &request, &[]).map_err(|none| {
            let counts = none.counts().unwrap_or(worker.house.metrics.unrouted());
            counts.here().answered(none.status(), begun.elapsed());
            (none.status(), none.message().to_owned())
        })
    };
    Some(match admitted {
        Err((status, message)) => refuse(worker, peer, &request, rest, leftover, status, &message),
        Ok(admitted) => {
            let journey = Journey::of(&request, head, begun);
            let start = start(worker, peer, &request, &journey, &admitted, rest, leftover);
            Arrival::Request(journey, admitted, start)
        }
    })
}

/// Sends the request on a kept connection, if there is one.
fn start(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    journey: &Journey,
    admitted: &Admitted,
    rest: &[u8],
    leftover: &mut Vec<u8>,
) -> Start {
    let (server, patience) = (admitted.server(), journey.patience());
    loop {
        let kept = worker.pool.borrow_mut().take(server, patience, reuse(journey), journey.begun);
        let Some(connection) = kept else {
            leftover.extend_from_slice(rest);
            return Start::Unsent;
        };
        match Sent::send(worker, peer, request, admitted, connection, rest) {
            Ok((sent, used)) => {
                leftover.extend_from_slice(&rest[used..]);
                return Start::Sent(sent);
            }
            Err(NotSent::Closed(_)) => {}
            Err(NotSent::Faulty(failure)) => return Start::Failed(failure),
        }
    }
}

/// Answers without asking a server; a body that has come whole already is skipped.
fn refuse(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    rest: &[u8],
    leftover: &mut Vec<u8>,
    status: u16,
    message: &str,
) -> Arrival {
    let mut body = Body::new(request.framing);
    let used = body.advance(rest).unwrap_or_default();
    let (connection, after) = if !body.is_done() {
        (Connection::Close, After::Linger)
    } else if !request.keep_alive || worker.is_ending(&peer.face) {
        (Connection::Close, After::Close)
    } else {
        (Connection::KeepAlive, After::Next)
    };
    leftover.extend_from_slice(&rest[used..]);
    Arrival::Answer(answer::error(status, message, connection, request.method == "HEAD"), after)
}
