//! The fast path: a head that lies in the read buffer is parsed, routed, admitted and sent on, without a wait.

use super::answer;
use super::client::{After, Peer};
use super::exchange::{Begun, Start};
use super::journey::{Journey, NoServer, Passed, admit, limits, shown};
use super::record::{self, Whose};
use super::thread::Worker;
use super::upload::{NotSent, Sent, reuse};
use crate::count::Took;
use crate::current::{Admitted, Turns};
use crate::observation::Told;
use http1::{Body, Connection, Framing, Parsed, Request, Storage};
use std::sync::Arc;
use tokio::time::Instant;

/// What became of what a client sent.
pub(super) enum Arrival {
    /// Nothing will come any more.
    None,
    /// The edge answers itself.
    Answer(Vec<u8>, After),
    /// A server was found.
    Request(Box<Begun>),
    /// A route was found, and the request's body is to be taken whole first.
    Unkept(Box<Journey>, Arc<Turns>),
    /// A route was found, and its middlewares are to be asked first.
    Guarded(Box<Journey>, Arc<Turns>),
    /// It is HTTP/2, from the first byte on.
    Http2,
}

/// Looks at what came, and how much of it is used; `None` when it is not a whole head yet.
pub(super) fn look(worker: &Worker, peer: &Peer, bytes: &[u8]) -> Option<(Arrival, usize)> {
    let mut storage = Storage::new();
    let request = match Request::parse(bytes, &mut storage, limits(peer.is_http2)) {
        Ok(Parsed::Complete(request)) => request,
        Ok(Parsed::Partial) => return None,
        Err(bad) => {
            return Some((nonsense(worker, peer, bytes, bad.status(), &bad.to_string()), bytes.len()));
        }
    };
    let (head, rest) = bytes.split_at(request.head_bytes());
    let begun = Instant::now();
    if worker.house.probe.is_ours(&request) {
        // The edge asks itself: the request goes as far as any other does before its server is chosen.
        let current = worker.house.current.load();
        let _whichever = shown(&request, peer, |head| current.table.find_position(head));
        return Some((Arrival::Answer(worker.house.probe.answer(), After::Close), bytes.len()));
    }
    if let Some(expected) = worker.house.challenges.answer(request.method, request.target) {
        let (used, connection, after) = skip_body(worker, peer, request.framing, request.keep_alive, rest);
        let headers: [(&str, &[u8]); 1] = [("Content-Type", b"text/plain")];
        let answer = answer::given(200, &headers, &expected, connection, request.method == "HEAD");
        worker.house.metrics.unrouted().here().answered(200, Took::at_once(begun.elapsed()));
        return Some((Arrival::Answer(answer, after), head.len() + used));
    }
    let scope = peer.face.scope.load();
    let is_out = scope.as_ref().is_some_and(|scope| !shown(&request, peer, |head| scope.matches(head)));
    let admitted =
        if is_out { Err(NoServer::NoRoute) } else { admit(worker, peer, &request, &[], Passed::nothing(&request)) };
    let (arrival, used) = match admitted {
        Err(NoServer::Unkept(turns)) => {
            let mut journey = Journey::of(&request, head, begun);
            journey.trail = record::follow(worker, &request, Some(&turns.route), begun);
            (Arrival::Unkept(Box::new(journey), turns), 0)
        }
        Err(NoServer::Guarded(turns)) => {
            let mut journey = Journey::of(&request, head, begun);
            journey.trail = record::follow(worker, &request, Some(&turns.route), begun);
            (Arrival::Guarded(Box::new(journey), turns), 0)
        }
        Err(none) => {
            if !is_out {
                let counts = none.counts().unwrap_or(worker.house.metrics.unrouted());
                counts.here().answered(none.status(), Took::at_once(begun.elapsed()));
            }
            let (arrival, used) = refuse(worker, peer, &request, rest, none.status(), none.message());
            if let Arrival::Answer(answer, _) = &arrival {
                let whose = Whose::nobody(&none);
                record::refused(worker, peer, Told::Request(&request), whose, none.status(), answer, begun);
            }
            (arrival, used)
        }
        Ok(admitted) => {
            let mut journey = Journey::of(&request, head, begun);
            journey.trail = record::follow(worker, &request, Some(admitted.route()), begun);
            let (start, used) = start(worker, peer, &request, &journey, &admitted, rest);
            (Arrival::Request(Box::new(Begun { journey, admitted, start })), used)
        }
    };
    Some((arrival, head.len() + used))
}

/// Refuses what is no request.
pub(super) fn nonsense(worker: &Worker, peer: &Peer, bytes: &[u8], status: u16, message: &str) -> Arrival {
    worker.house.metrics.unrouted().here().answered(status, Took::default());
    let answer = answer::error(status, message, Connection::Close, false);
    record::refused(worker, peer, Told::Nonsense(bytes), Whose::default(), status, &answer, Instant::now());
    Arrival::Answer(answer, After::Linger)
}

/// Sends the request on a kept connection, if there is one, and what `rest` has of its body: how much that is.
fn start(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    journey: &Journey,
    admitted: &Admitted,
    rest: &[u8],
) -> (Start, usize) {
    let (server, want) = (admitted.server(), journey.want(admitted));
    if admitted.route().send_proxy.is_some() {
        return (Start::Unsent, 0);
    }
    loop {
        let kept = worker.kept(server, want, reuse(journey), journey.begun);
        let Some(connection) = kept else {
            return (Start::Unsent, 0);
        };
        let is_stream = connection.line.is_stream();
        match Sent::send(worker, peer, request, journey, admitted, connection, rest) {
            Ok((sent, used)) => return (Start::Sent(sent), used),
            // Of HTTP/2 there is one connection, which would be taken again.
            Err(NotSent::Closed(_)) if is_stream => return (Start::Unsent, 0),
            Err(NotSent::Closed(_)) => {}
            Err(NotSent::Faulty(failure)) => return (Start::Failed(failure), 0),
        }
    }
}

/// Answers without asking a server; a body that has come whole already is skipped.
fn refuse(
    worker: &Worker,
    peer: &Peer,
    request: &Request<'_>,
    rest: &[u8],
    status: u16,
    message: &str,
) -> (Arrival, usize) {
    let (used, connection, after) = skip_body(worker, peer, request.framing, request.keep_alive, rest);
    (Arrival::Answer(answer::error(status, message, connection, request.method == "HEAD"), after), used)
}

/// Skips a body that has come whole already: how much of `rest` that is, and what becomes of the connection.
pub(super) fn skip_body(
    worker: &Worker,
    peer: &Peer,
    framing: Framing,
    keep_alive: bool,
    rest: &[u8],
) -> (usize, Connection<'static>, After) {
    let mut body = Body::new(framing);
    let used = body.advance(rest).unwrap_or_default();
    if !body.is_done() {
        (used, Connection::Close, After::Linger)
    } else if !keep_alive || worker.is_ending(&peer.face) {
        (used, Connection::Close, After::Close)
    } else {
        (used, Connection::KeepAlive, After::Next)
    }
}
