//! What is told of a request when it is over, if anybody wants to know it: see [`crate::observation`].

use super::client::Peer;
use super::journey::{Journey, NoServer};
use super::thread::Worker;
use crate::count::Took;
use crate::current::{Admitted, Turns};
use crate::observation::{Ended, Told, Trail};
use http1::Request;
use routing::Route;
use tokio::time::Instant;

/// Who was to answer it.
#[derive(Clone, Copy, Default)]
pub(super) struct Whose<'a> {
    pub route: Option<&'a Route>,
    pub server: Option<&'a str>,
}

impl<'a> Whose<'a> {
    pub fn admitted(admitted: &'a Admitted) -> Self {
        Self { route: Some(admitted.route()), server: Some(admitted.server().url.as_str()) }
    }

    pub fn route(turns: &'a Turns) -> Self {
        Self { route: Some(&turns.route), server: None }
    }

    pub fn nobody(none: &'a NoServer) -> Self {
        Self { route: none.route(), server: None }
    }
}

/// A request that got as far as its journey is over.
#[inline]
pub(super) fn ended(worker: &Worker, peer: &Peer, journey: &Journey, whose: Whose<'_>, status: u16, at: Instant) {
    if worker.house.observer.tells() {
        tell(worker, peer, journey, whose, status, at);
    }
}

#[cold]
fn tell(worker: &Worker, peer: &Peer, journey: &Journey, whose: Whose<'_>, status: u16, at: Instant) {
    let whole = at.saturating_duration_since(journey.begun);
    let head = journey.head_at.get().map_or(whole, |head_at| head_at.saturating_duration_since(journey.begun));
    let (request_bytes, response_bytes) = journey.moved.get();
    journey.read(|request| {
        worker.house.observer.ended(&Ended {
            request: Told::Request(request),
            client: peer.text(),
            is_secure: peer.is_secure,
            is_http2: peer.is_http2,
            status,
            request_bytes,
            response_bytes,
            begun: journey.begun,
            took: Took { head, whole },
            route: whose.route,
            server: whose.server,
            attempts: journey.attempts(),
            trail: journey.trail.as_deref(),
        });
    });
}

/// The edge answered at once: to a request, or to what was none.
#[inline]
pub(super) fn refused(
    worker: &Worker,
    peer: &Peer,
    request: Told<'_>,
    whose: Whose<'_>,
    status: u16,
    answer: &[u8],
    begun: Instant,
) {
    if worker.house.observer.tells() {
        tell_refused(worker, peer, request, whose, status, answer, begun);
    }
}

#[cold]
fn tell_refused(
    worker: &Worker,
    peer: &Peer,
    request: Told<'_>,
    whose: Whose<'_>,
    status: u16,
    answer: &[u8],
    begun: Instant,
) {
    let observer = &worker.house.observer;
    let trail: Option<Box<Trail>> = match &request {
        Told::Request(request) => follow(worker, request, whose.route, begun),
        Told::Connection(_) | Told::Nonsense(_) => None,
    };
    observer.ended(&Ended {
        request,
        client: peer.text(),
        is_secure: peer.is_secure,
        is_http2: peer.is_http2,
        status,
        request_bytes: 0,
        response_bytes: body_bytes(answer),
        begun,
        took: Took::at_once(begun.elapsed()),
        route: whose.route,
        server: None,
        attempts: 0,
        trail: trail.as_deref(),
    });
}

/// Begins to follow a request, if anything needs it.
#[inline]
pub(super) fn follow(
    worker: &Worker,
    request: &Request<'_>,
    route: Option<&Route>,
    begun: Instant,
) -> Option<Box<Trail>> {
    worker.house.observer.follow(request, route.is_some_and(|route| route.trust_forward_header), begun)
}

/// Of an answer of the edge's own.
pub(super) fn body_bytes(answer: &[u8]) -> u64 {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    head.map_or(0, |at| (answer.len() - at - 4) as u64)
}
