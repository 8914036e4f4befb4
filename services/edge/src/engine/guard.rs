//! The middlewares of a route, around an exchange: they are asked once per request, before a server is chosen, see the one
//! response that reaches the client, and hear how it ended. Requests of routes without any never come here.

use super::answer;
use super::arrival;
use super::buffering;
use super::client::{After, Client, Peer};
use super::exchange::{self, Begun, CLIENT_LEFT, Start};
use super::handshake::{self, Agreed};
use super::journey::{Journey, NoServer, admit};
use super::orders::Orders;
use super::record::{self, Whose};
use super::thread::Worker;
use crate::count::Took;
use crate::current::Turns;
use crate::limits::ROUTE_CHANGES_MAX;
use http1::{Framing, Header, Request};
use middleware::{Answer, Chain, Decision, Finish, Headers, Now, Passage, Reply, Response, ResponseEdits};
use routing::Route;
use std::future::poll_fn;
use std::mem;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A request that its route's middlewares let pass.
pub(super) struct Guard<'c> {
    passage: Passage<'c>,
    /// Bytes of the bodies.
    pub moved: Finish,
}

/// Answers a request of a route with middlewares; what becomes of the client's connection.
pub(super) async fn run(worker: &Worker, client: &mut Client, mut journey: Journey, mut turns: Arc<Turns>) -> After {
    for _ in 0..ROUTE_CHANGES_MAX {
        let guarding = turns.clone();
        let Some(chain) = &guarding.chain else { break };
        let passage = match decide(worker, client, &journey, &guarding.route, chain).await {
            Some(Decision::Continue(passage)) => passage,
            Some(Decision::Answer(answer)) => return refuse(worker, client, &journey, &guarding, answer).await,
            Some(Decision::Ask(_)) | None => {
                guarding.counts.here().answered(CLIENT_LEFT, Took::at_once(journey.begun.elapsed()));
                let whose = Whose::route(&guarding);
                record::ended(worker, &client.peer, &journey, whose, CLIENT_LEFT, Instant::now());
                return After::Close;
            }
        };
        let mut guard = Guard { passage, moved: Finish::default() };
        worker.house.outside.perform(mem::take(&mut guard.passage.effects));
        journey.orders = Some(Box::new(Orders::of(&guarding.route.id, &mut guard.passage)));
        let mut admitted = journey.read(|request| admit(worker, &client.peer, request, &[], journey.passed()));
        if let Err(NoServer::Unkept(turns)) = &admitted {
            if let Err(not_kept) = buffering::keep(worker, client, &mut journey, turns).await {
                let after = buffering::refuse(worker, client, &journey, turns, not_kept, Some(&mut guard)).await;
                worker.house.outside.perform(guard.passage.finish(&guard.moved, now()));
                return after;
            }
            admitted = journey.read(|request| admit(worker, &client.peer, request, &[], journey.passed()));
        }
        let after = match admitted {
            Ok(admitted) => {
                let begun = Begun { journey, admitted, start: Start::Unsent };
                exchange::run(worker, client, Box::new(begun), Some(&mut guard)).await
            }
            Err(NoServer::Guarded(other)) => {
                turns = other;
                continue;
            }
            Err(none) => unserved(worker, client, &journey, &none, Some(&mut guard)).await,
        };
        worker.house.outside.perform(guard.passage.finish(&guard.moved, now()));
        return after;
    }
    let (connection, after) = skip_body(worker, client, &journey);
    let bytes = answer::error(503, "the route changes too often", connection, journey.asked.head);
    journey.moved.set((0, record::body_bytes(&bytes)));
    record::ended(worker, &client.peer, &journey, Whose::route(&turns), 503, Instant::now());
    client.answer(&bytes).await.unwrap_or(after)
}

/// Answers a request that no server was found for.
pub(super) async fn unserved(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    none: &NoServer,
    guard: Option<&mut Guard<'_>>,
) -> After {
    let status = none.status();
    let counts = none.counts().unwrap_or(worker.house.metrics.unrouted());
    counts.here().answered(status, Took::at_once(journey.begun.elapsed()));
    let (connection, after) = skip_body(worker, client, journey);
    let bytes = error(worker, guard, status, none.message(), connection, journey.asked.head);
    journey.moved.set((0, record::body_bytes(&bytes)));
    record::ended(worker, &client.peer, journey, Whose::nobody(none), status, Instant::now());
    client.answer(&bytes).await.unwrap_or(after)
}

/// An error of the edge's own, as the client receives it: the middlewares that let the request pass have their say.
pub(super) fn error(
    worker: &Worker,
    guard: Option<&mut Guard<'_>>,
    status: u16,
    message: &str,
    connection: http1::Connection<'_>,
    to_head: bool,
) -> Vec<u8> {
    match guard {
        None => answer::error(status, message, connection, to_head),
        Some(guard) => guard.error(worker, status, message, connection, to_head),
    }
}

/// `None`: the client left while something was asked. Never a question.
async fn decide<'c>(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    route: &Route,
    chain: &'c Chain,
) -> Option<Decision<'c>> {
    let agreed = handshake::agreed(&client.line);
    let tls = agreed.as_ref().map(Agreed::shown);
    let mut decision =
        journey.read(|request| show(request, &client.peer, tls, route, |seen| chain.before(seen, now())));
    while let Decision::Ask(asking) = decision {
        let reply = {
            let mut reply = pin!(worker.house.outside.reply(asking.question()));
            let wait = poll_fn(|context| match reply.as_mut().poll(context) {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                // What comes of a body is not looked at, so that nobody could tell it from the end.
                Poll::Pending => {
                    let left =
                        if journey.has_body() { client.line.poll_gone(context) } else { client.poll_left(context) };
                    if left { Poll::Ready(None) } else { Poll::Pending }
                }
            });
            wait.await?
        };
        let resume = |seen: &middleware::Request<'_>, reply: Reply| asking.resume(reply, seen, now());
        decision = journey.read(|request| show(request, &client.peer, tls, route, |seen| resume(seen, reply)));
    }
    Some(decision)
}

/// Sends what a middleware answers itself.
async fn refuse(worker: &Worker, client: &mut Client, journey: &Journey, turns: &Turns, answer: Answer) -> After {
    worker.house.outside.perform(answer.effects);
    turns.counts.here().answered(answer.status, Took::at_once(journey.begun.elapsed()));
    let (connection, after) = skip_body(worker, client, journey);
    let headers: Vec<(&str, &[u8])> =
        answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let bytes = answer::given(answer.status, &headers, &answer.body, connection, journey.asked.head);
    journey.moved.set((0, record::body_bytes(&bytes)));
    record::ended(worker, &client.peer, journey, Whose::route(turns), answer.status, Instant::now());
    client.answer(&bytes).await.unwrap_or(after)
}

impl<'c> Guard<'c> {
    /// The head of the response that reaches the client.
    pub fn response(&mut self, worker: &Worker, response: &http1::Response<'_>) -> ResponseEdits<'c> {
        let body_bytes = body_bytes(response.framing);
        self.edits(
            worker,
            &Response { status: response.status, headers: &Fields(response.headers()), body_bytes, is_own: false },
        )
    }

    fn error(
        &mut self,
        worker: &Worker,
        status: u16,
        message: &str,
        connection: http1::Connection<'_>,
        to_head: bool,
    ) -> Vec<u8> {
        let body = answer::error_body(message);
        let own = [("Content-Type", "application/json")];
        let response = Response { status, headers: &own, body_bytes: Some(body.len() as u64), is_own: true };
        let edits = self.edits(worker, &response);
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        edits.each(&own, &mut |name, value| headers.push((name.to_owned(), value.to_vec())));
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        self.moved.response_body_bytes = body.len() as u64;
        answer::given(status, &headers, body.as_bytes(), connection, to_head)
    }

    fn edits(&mut self, worker: &Worker, response: &Response<'_>) -> ResponseEdits<'c> {
        let mut edits = self.passage.response(response, now());
        worker.house.outside.perform(mem::take(&mut edits.effects));
        edits
    }
}

/// What becomes of a connection whose request is answered without a server.
fn skip_body(worker: &Worker, client: &mut Client, journey: &Journey) -> (http1::Connection<'static>, After) {
    // What follows a body that was taken already is not a part of it.
    let framing = if journey.stored.is_some() { Framing::None } else { journey.framing };
    let (keep_alive, rest) = (journey.keep_alive, client.leftover.bytes());
    let (used, connection, after) = arrival::skip_body(worker, &client.peer, framing, keep_alive, rest);
    client.leftover.advance(used);
    (connection, after)
}

/// A head's fields, as they came.
struct Fields<'a>(&'a [Header<'a>]);

impl Headers for Fields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.0.iter().for_each(|field| visit(field.name, field.value));
    }
}

/// Shows a request to the middlewares of a route. Who trusts what clients say of theirs sees those.
fn show<R>(
    request: &Request<'_>,
    peer: &Peer,
    tls: Option<middleware::Tls<'_>>,
    route: &Route,
    to: impl FnOnce(&middleware::Request<'_>) -> R,
) -> R {
    // Of several lines the last: whoever is in front may have added its own below those that a client sent.
    let last = |name| request.headers().iter().rfind(|header| header.name.eq_ignore_ascii_case(name));
    let said = |name| last(name).filter(|_| route.trust_forward_header).map(|header| header.value);
    let is_secure = said("x-forwarded-proto").map_or(peer.is_secure, |proto| matches!(proto, b"https" | b"wss"));
    to(&middleware::Request {
        method: request.method,
        scheme: if is_secure { "https" } else { "http" },
        host: request.host,
        target: request.target,
        client: said("x-forwarded-for").and_then(last_address).unwrap_or(peer.address),
        headers: &Fields(request.headers()),
        body_bytes: body_bytes(request.framing),
        tls,
    })
}

/// The one that the proxy in front has seen itself; those before it are hearsay.
fn last_address(chain: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(chain).ok()?.rsplit(',').next()?.trim().parse().ok()
}

fn body_bytes(framing: Framing) -> Option<u64> {
    match framing {
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    }
}

fn now() -> Now {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let nanos = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { nanos, unix_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_chain_of_addresses_the_last_is_believed() {
        assert_eq!(last_address(b"6.6.6.6, 10.0.0.1"), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(last_address(b"::1"), Some("::1".parse().unwrap()));
        assert_eq!((last_address(b"10.0.0.1, unknown"), last_address(b"")), (None, None));
    }
}
