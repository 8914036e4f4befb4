//! The data path, on hyper: a request comes in, is admitted to a server, is sent there, and the response goes back, both
//! bodies streaming. This module is the whole of what knows hyper's connections; listeners hand it requests.
//!
//! # Failover
//! A request goes to another server when nothing of an answer has reached the client yet and
//! * connecting failed, so no byte was sent: any request; or
//! * the route's failover predicate allows it and the request has no body (bodies stream and are never replayed).
//!
//! The response to a GET that was sent to a machine which then vanished is no longer waited for after the times that
//! [`upstream`] names. What was sent with a body is never sent again: it fails, since nobody knows whether it was done.
//!
//! So that a server that dies in the middle of a response costs no GET, the response to a GET of at most
//! `READ_AHEAD_BYTES_MAX` is read whole before its head goes on. A kept connection that turns out to be closed is not the
//! server's failure: an idempotent request without a body is sent once more, on a new connection to the same server.
//!
//! No server is tried twice for one request; one that failed is passed over for `FAILED_SERVER_PAUSE` by others too.

mod answer;
mod body;
mod head;
mod tunnel;
mod upstream;

pub(crate) use body::{CountedIn, ResponseBody};
pub(crate) use upstream::Idle;

use crate::current::{Admitted, Current, Snapshot};
use crate::limits::{
    DIAL_TIMEOUT, FAILED_SERVER_PAUSE, LAST_DIAL_TIMEOUT, READ_AHEAD_BYTES_MAX, RESPONSE_HEAD_TIMEOUT,
    SMALL_BODY_BYTES_MAX,
};
use crate::metrics::Metrics;
use crate::ready::Probe;
use crate::servers::Server;
use answer::{Failure, error};
use body::{RequestBody, Stream};
use head::Incoming;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming as IncomingBody;
use hyper::upgrade::OnUpgrade;
use lifecycle::{ErrorChain, Stop};
use routing::{Attempt, Expression, RequestHead, Service};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tunnel::Tunnel;
use upstream::{Connection, Patience, Reuse, Unanswered, Wanted};

/// What every connection shares.
pub(crate) struct Proxy {
    pub current: Arc<Current>,
    pub metrics: Arc<Metrics>,
    /// The edge's name in `X-Forwarded-Server`.
    pub edge_id: String,
    pub probe: Arc<Probe>,
    pub tunnels: TaskTracker,
    /// Ends the tunnels that outlive the grace.
    pub cut_tunnels: Stop,
}

/// Why no server was found for a request.
enum NoServer {
    NotLoaded,
    NoRoute,
    Refused {
        route: String,
        reason: String,
    },
    /// The route has no server, or none that was not tried.
    NoneLeft {
        route: String,
    },
}

/// A request on its way, whichever server it goes to.
struct Journey {
    incoming: Incoming,
    /// Taken by the attempt that sends it.
    body: Option<IncomingBody>,
    has_body: bool,
    client_upgrade: Option<OnUpgrade>,
    tried: Vec<Arc<Server>>,
}

type Answer = Response<ResponseBody>;

impl Journey {
    /// What fits into any window is soon acknowledged by a machine that is there.
    fn patience(&self) -> Patience {
        let small =
            !self.has_body || self.incoming.content_length().is_some_and(|length| length <= SMALL_BODY_BYTES_MAX);
        if small && self.incoming.upgrade.is_none() { Patience::Short } else { Patience::Long }
    }
}

impl Proxy {
    /// Answers one request; `scope` is that of the listener it came by.
    pub async fn handle(
        &self,
        mut request: Request<IncomingBody>,
        peer: SocketAddr,
        scope: Option<Arc<Expression>>,
    ) -> Answer {
        if self.probe.is_ours(request.headers()) {
            return self.answer_probe(request);
        }
        let counted = CountedIn::new(&self.metrics.in_flight);
        let client_upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let (route, answer) = match Incoming::read(parts, peer.ip()) {
            _ if method == Method::CONNECT => {
                (String::new(), error(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served"))
            }
            Err(malformed) => (String::new(), error(StatusCode::BAD_REQUEST, &malformed.to_string())),
            Ok(incoming) if scope.is_some_and(|scope| !scope.matches(&head_of(&incoming))) => {
                (String::new(), error(StatusCode::NOT_FOUND, "not found"))
            }
            Ok(incoming) => {
                let has_body = !body.is_end_stream();
                let journey =
                    Journey { incoming, body: has_body.then_some(body), has_body, client_upgrade, tried: Vec::new() };
                self.travel(journey).await
            }
        };
        self.metrics.answered(&route, answer.status().as_u16());
        answer.map(|body| body.counted(counted))
    }

    /// The edge asks itself: the request goes as far as any other does before its server is chosen.
    fn answer_probe(&self, request: Request<IncomingBody>) -> Answer {
        let (parts, _) = request.into_parts();
        match Incoming::read(parts, IpAddr::V4(Ipv4Addr::LOCALHOST)) {
            Ok(incoming) => {
                let _whichever = self.current.load().table.find_position(&head_of(&incoming));
                self.probe.answer(ResponseBody::whole(""))
            }
            Err(malformed) => error(StatusCode::BAD_REQUEST, &malformed.to_string()),
        }
    }

    /// Attempt after attempt; returns the route's id and the answer.
    async fn travel(&self, mut journey: Journey) -> (String, Answer) {
        let mut admitted = match self.admit(&journey) {
            Ok(admitted) => admitted,
            Err(no_server) => return no_server.answer(),
        };
        loop {
            let (route, metrics) = (admitted.route.clone(), admitted.metrics.clone());
            let server = admitted.in_flight.0.clone();
            journey.tried.push(server.clone());
            let outcome = self.attempt(&mut journey, admitted).await;
            if outcome.as_ref().is_err_and(Failure::suggests_death) {
                server.pause(FAILED_SERVER_PAUSE);
            }
            if outcome.as_ref().is_err_and(Failure::is_silence) {
                server.pause_host(FAILED_SERVER_PAUSE);
            }
            let attempts = journey.tried.len() as u32;
            let (status, untouched) = match &outcome {
                Ok(response) => (response.status(), false),
                Err(failure) => (failure.status(), failure.request_is_untouched()),
            };
            let attempt = Attempt {
                network_error: matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT),
                attempts,
                response_code: status.as_u16(),
                method: journey.incoming.method.as_str(),
            };
            let may_retry = status != StatusCode::SWITCHING_PROTOCOLS
                && attempts <= routing::RETRIES_MAX
                && (untouched || !journey.has_body && route.failover.allows_retry(&attempt));
            if may_retry && let Ok(next) = self.admit(&journey) {
                tracing::debug!(route = route.id, from = %server.url, to = %next.in_flight.0.url, "retrying");
                metrics.retries.inc();
                admitted = next;
                continue;
            }
            let answer = outcome.unwrap_or_else(|failure| {
                let url = server.url.as_str();
                tracing::warn!(route = route.id, url, attempts, error = %ErrorChain(&failure), "request failed");
                failure.answer()
            });
            return (route.id.clone(), answer);
        }
    }

    fn admit(&self, journey: &Journey) -> Result<Admitted, NoServer> {
        let head = head_of(&journey.incoming);
        self.current.admit(|snapshot| choose(snapshot, &head, &journey.tried))
    }

    async fn attempt(&self, journey: &mut Journey, admitted: Admitted) -> Result<Answer, Failure> {
        let server = admitted.in_flight.0.clone();
        let limit = admitted.route.body_bytes_max;
        if limit > 0 && journey.incoming.content_length().is_some_and(|length| length > limit) {
            return Err(Failure::BodyTooLarge);
        }
        let can_repeat = !journey.has_body && journey.incoming.is_idempotent();
        let is_last = journey.tried.len() >= admitted.route.servers.len();
        let dial_timeout = if is_last { LAST_DIAL_TIMEOUT } else { DIAL_TIMEOUT };
        let mut wanted = Wanted {
            reuse: if can_repeat { Reuse::Any } else { Reuse::Recent },
            patience: journey.patience(),
            dial_timeout: admitted.route.dial_timeout.unwrap_or(dial_timeout),
        };
        loop {
            let mut connection = Connection::get(&server, wanted).await?;
            let request = self.request(journey, &admitted)?;
            let head_timeout = admitted.route.head_timeout.unwrap_or(RESPONSE_HEAD_TIMEOUT);
            match connection.ask(request, head_timeout).await {
                Ok(response) => return self.answer(journey, admitted, connection, response).await,
                Err(Unanswered { failure, request }) => {
                    let unsent = request.is_some();
                    journey.body = request.and_then(|request| request.into_body().into_inner());
                    if connection.reused && (unsent || can_repeat && matches!(failure, Failure::Closed(_))) {
                        wanted.reuse = Reuse::None;
                        continue;
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// The request as this server receives it; takes the body.
    fn request(&self, journey: &mut Journey, admitted: &Admitted) -> Result<Request<RequestBody>, Failure> {
        let incoming = &journey.incoming;
        let unframed = journey.has_body && !incoming.headers.contains_key(CONTENT_LENGTH);
        let server = &admitted.in_flight.0.url;
        let headers = incoming.headers_for(&admitted.route, server, &self.edge_id, unframed);
        let target = incoming.target.to_string();
        let start = incoming.method.as_str().len() + target.len() + " ".len() + " HTTP/1.1".len();
        let counter = admitted.metrics.request_bytes.clone();
        counter.inc_by(head::wire_bytes(start, &headers));

        let mut body = RequestBody::new(journey.body.take(), admitted.route.body_bytes_max, counter);
        let asked_for = (incoming.expects_continue && journey.has_body).then(|| Arc::new(Notify::new()));
        if let Some(asked_for) = &asked_for {
            body.wait_for(asked_for.clone());
        }
        let mut request = Request::builder()
            .method(incoming.method.clone())
            .uri(incoming.target.clone())
            .version(Version::HTTP_11)
            .body(body)
            .map_err(Failure::Request)?;
        *request.headers_mut() = headers;
        if let Some(asked_for) = asked_for {
            hyper::ext::on_informational(&mut request, move |informational| {
                if informational.status() == StatusCode::CONTINUE {
                    asked_for.notify_one();
                }
            });
        }
        Ok(request)
    }

    /// The response as the client receives it.
    async fn answer(
        &self,
        journey: &mut Journey,
        admitted: Admitted,
        connection: Connection,
        mut response: Response<IncomingBody>,
    ) -> Result<Answer, Failure> {
        let Admitted { metrics, in_flight, .. } = admitted;
        let start = "HTTP/1.1 200 ".len() + response.status().canonical_reason().unwrap_or_default().len();
        metrics.response_bytes.inc_by(head::wire_bytes(start, response.headers()));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(client), true) = (journey.client_upgrade.take(), journey.incoming.upgrade.is_some()) else {
                return Err(Failure::Unasked);
            };
            let server = hyper::upgrade::on(&mut response);
            let counted = CountedIn::new(&self.metrics.tunnels);
            let tunnel = Tunnel { client, server, metrics, in_flight, counted };
            self.tunnels.spawn(tunnel.run(self.cut_tunnels.clone()));
            let (mut parts, _) = response.into_parts();
            let protocol = parts.headers.get(UPGRADE).cloned().or_else(|| journey.incoming.upgrade.clone());
            head::strip_hop_by_hop(&mut parts.headers);
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.extend(protocol.map(|protocol| (UPGRADE, protocol)));
            return Ok(Response::from_parts(parts, ResponseBody::whole("")));
        }
        let (mut parts, body) = response.into_parts();
        let length = (!parts.headers.contains_key(TRANSFER_ENCODING)).then(|| body.size_hint().exact()).flatten();
        head::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let stream = Stream::new(body, connection, in_flight, metrics.response_bytes);
        let body = match length {
            Some(length) if length <= READ_AHEAD_BYTES_MAX && journey.incoming.method == Method::GET => {
                ResponseBody::whole(stream.read_whole(length).await?)
            }
            _ => ResponseBody::stream(stream),
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// Whose turn it is: of the route's servers one that was not tried, and rather one that did not fail a moment ago, on a
/// machine that did not go silent.
fn choose(
    snapshot: &Snapshot,
    head: &RequestHead<'_>,
    tried: &[Arc<Server>],
) -> Result<(usize, Arc<Server>), NoServer> {
    let Some(position) = snapshot.table.find_position(head) else {
        return Err(if snapshot.loaded { NoServer::NoRoute } else { NoServer::NotLoaded });
    };
    let route = &snapshot.table.routes()[position];
    if let Service::Refuse(reason) = &route.service {
        return Err(NoServer::Refused { route: route.id.clone(), reason: reason.clone() });
    }
    let now = Instant::now();
    let turns = &snapshot.turns[position];
    let untried = |server: &Arc<Server>| !tried.iter().any(|tried| tried.url == server.url);
    let server = turns
        .next(|server| untried(server) && !server.is_suspect(now))
        .or_else(|| turns.next(|server| untried(server) && !server.is_paused(now)))
        .or_else(|| turns.next(untried));
    server.map(|server| (position, server)).ok_or_else(|| NoServer::NoneLeft { route: route.id.clone() })
}

fn head_of(incoming: &Incoming) -> RequestHead<'_> {
    RequestHead {
        method: incoming.method.as_str(),
        host: &incoming.host,
        path: incoming.target.path(),
        query: incoming.target.query(),
        headers: incoming,
        client: incoming.client,
    }
}

impl NoServer {
    fn answer(self) -> (String, Answer) {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::NotLoaded => (String::new(), error(unavailable, "the routes were not read yet")),
            Self::NoRoute => (String::new(), error(StatusCode::NOT_FOUND, "not found")),
            Self::Refused { route, reason } => (route, error(unavailable, &reason)),
            Self::NoneLeft { route } => (route, error(unavailable, "the backend has no servers")),
        }
    }
}
