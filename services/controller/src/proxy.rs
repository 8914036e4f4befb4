//! Asking whoever leads, this controller or another.
//!
//! The leader trusts a controller's certificate to say for whom it asks: the caller's role, and the machine of a caller
//! that showed a certificate. A machine that keeps no state has no such certificate and vouches for nobody: it passes on the
//! token its caller showed, and only reads for one that showed none. A request waits a moment for a leader, so that a handover is a pause and not a gap; it is
//! sent again only when it was surely not carried out, or only reads. What streams from a leader ends with it.

use crate::api::{self, BODY_BYTES_MAX};
use crate::cluster::registrar::Shared;
use crate::term::{Following, Lead, Standing};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TE, TRAILER};
use http::header::{HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode, request};
use identity::{Caller, Peer, Role};
use lifecycle::{BoxError, ErrorChain, Stop};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt;
use web::ClientError;

/// Whoever asks while nobody leads waits this long: a new leader answers within it.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(2);
/// A leader that could not be reached is tried again after this time, unless another leads before.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// A request meets this many leaders, and no more.
const ATTEMPTS_MAX: u32 = 64;
/// A leader answers within its own bound and a little more.
const ANSWER_MAX: Duration = api::ANSWER_TIMEOUT.saturating_add(Duration::from_secs(5));
/// One who gave the lead away answers what it had begun: it has this long after another leads.
const LAST_ANSWERS_MAX: Duration = Duration::from_millis(300);

/// For whom a controller asks; read from controllers only.
const CALLER_ROLE: HeaderName = HeaderName::from_static("x-roadstead-role");
const CALLER_NODE: HeaderName = HeaderName::from_static("x-roadstead-node");
const CALLER_ADDRESS: HeaderName = HeaderName::from_static("x-roadstead-client");
/// In an answer: nothing was done, since this controller does not lead (any more).
pub(crate) const NOT_LEADING: HeaderName = HeaderName::from_static("x-roadstead-not-leading");

/// Headers that belong to one connection (RFC 9110, 7.6.1), or to the hop before.
const HOP_HEADERS: [HeaderName; 10] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

pub(crate) struct Proxy {
    client: web::Client,
    lead: Lead,
    /// It is believed for whom it asks.
    vouches: bool,
}

/// What became of one attempt.
enum Attempt {
    Answered(Response),
    /// Surely nothing was done.
    NotSent,
    /// It may have been carried out.
    Lost(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the leader has changed")]
struct LeaderChanged;

impl Proxy {
    pub(crate) fn new(client: web::Client, lead: Lead, vouches: bool) -> Self {
        Self { client, lead, vouches }
    }

    /// The leader's answer, wherever the leader is.
    pub(crate) async fn ask_leader(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        if !self.vouches && !head.method.is_safe() && !head.headers.contains_key(AUTHORIZATION) {
            let message = "this machine keeps no state and vouches for nobody: ask with an administrator's token, or ask \
                           on a machine that keeps the state";
            return answer(StatusCode::FORBIDDEN, message);
        }
        let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
            let message = format!("the body is broken off or longer than {BODY_BYTES_MAX} bytes");
            return answer(StatusCode::PAYLOAD_TOO_LARGE, &message);
        };
        let mut standings = self.lead.subscribe();
        let mut deadline = Instant::now() + LEADER_WAIT_MAX;
        for _ in 0..ATTEMPTS_MAX {
            let standing = standings.borrow_and_update().clone();
            match standing {
                Standing::Leads(term) => {
                    let request = Request::from_parts(head.clone(), Body::from(body.clone()));
                    let answered = term.face.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
                    if !answered.headers().contains_key(NOT_LEADING) {
                        return answered;
                    }
                }
                Standing::Follows(following) => match self.attempt(&following, &head, body.clone()).await {
                    Attempt::Answered(response) => return response,
                    Attempt::NotSent => {}
                    Attempt::Lost(_) if head.method.is_safe() => deadline = Instant::now() + LEADER_WAIT_MAX,
                    Attempt::Lost(reason) => {
                        let message = format!("the leader did not answer, the change may have been made: {reason}");
                        return unavailable(&message);
                    }
                },
            }
            if Instant::now() >= deadline {
                break;
            }
            let changed = async {
                tokio::select! { _ = standings.changed() => {}, () = sleep(RETRY_INTERVAL) => {} }
            };
            let _too_late = timeout_at(deadline, changed).await;
        }
        unavailable("no controller leads at this moment; try again")
    }

    async fn attempt(&self, following: &Following, head: &request::Parts, body: Bytes) -> Attempt {
        let Some(leader) = &following.leader else { return Attempt::NotSent };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = http::Request::builder()
            .method(head.method.clone())
            .uri(format!("https://{}{path}", leader.record.peers))
            .body(web::full_body(body));
        match &mut request {
            Ok(request) => *request.headers_mut() = headers_for_leader(head, self.vouches),
            Err(error) => return Attempt::Lost(error.to_string()),
        }
        let Ok(request) = request else { return Attempt::NotSent };
        let sent = self.client.send_within(request, ANSWER_MAX);
        let response = tokio::select! {
            response = sent => response,
            () = another_leads(following) => return Attempt::Lost("another leads by now".to_owned()),
        };
        match response {
            Ok(response) if response.headers().contains_key(NOT_LEADING) => Attempt::NotSent,
            Ok(response) => Attempt::Answered(passed_back(response, following.stop.clone())),
            Err(ClientError::Call { source, .. }) if source.is_connect() => Attempt::NotSent,
            Err(error) => Attempt::Lost(ErrorChain(&error).to_string()),
        }
    }
}

/// What the leader is told, with for whom it is asked, or with the token that says so.
fn headers_for_leader(head: &request::Parts, vouches: bool) -> HeaderMap {
    let mut headers = head.headers.clone();
    for name in HOP_HEADERS.iter().chain([&CALLER_ROLE, &CALLER_NODE, &CALLER_ADDRESS]) {
        headers.remove(name);
    }
    if !vouches {
        headers.extend(head.headers.get(AUTHORIZATION).map(|shown| (AUTHORIZATION, shown.clone())));
        return headers;
    }
    if let Some(Caller(role)) = head.extensions.get() {
        headers.insert(CALLER_ROLE, HeaderValue::from_static(role.name()));
    }
    if let Some(Peer { node, .. }) = head.extensions.get()
        && let Ok(node) = HeaderValue::from_str(node)
    {
        headers.insert(CALLER_NODE, node);
    }
    if let Some(ConnectInfo(address)) = head.extensions.get::<ConnectInfo<SocketAddr>>()
        && let Ok(address) = HeaderValue::from_str(&address.ip().to_string())
    {
        headers.insert(CALLER_ADDRESS, address);
    }
    headers
}

fn passed_back(response: http::Response<web::Incoming>, stop: Stop) -> Response {
    let (mut head, body) = response.into_parts();
    for name in HOP_HEADERS.iter().filter(|name| *name != CONTENT_LENGTH) {
        head.headers.remove(name);
    }
    let is_endless =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let pieces = Body::new(body).into_data_stream();
    let until_changed = futures::stream::unfold(Some(pieces), move |pieces| {
        let stop = stop.clone();
        async move {
            let mut pieces = pieces?;
            match stop.or(pieces.next()).await {
                Some(piece) => Some((piece?.map_err(BoxError::from), Some(pieces))),
                // A stream of events ends; what has an end of its own would look whole.
                None if is_endless => None,
                None => Some((Err(LeaderChanged.into()), None)),
            }
        }
    });
    Response::from_parts(head, Body::from_stream(until_changed))
}

/// A request that another controller passed on bears its caller from here on. The error is the answer to give: `shared`
/// knows who is none of the cluster (any more), as surely as only the leader's does.
pub(crate) fn receive(request: &mut Request, shared: Option<&Shared>) -> Result<Received, Box<Response>> {
    let peer = request.extensions().get::<Peer>().cloned();
    let from_controller = peer.as_ref().is_some_and(|peer| peer.role == Role::Controller);
    let header =
        |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (role, node, address) = (header(&CALLER_ROLE), header(&CALLER_NODE), header(&CALLER_ADDRESS));
    let is_passed_on = from_controller && (role.is_some() || api::is_join(request.method(), request.uri().path()));
    let strangers = [peer.as_ref().map(|peer| peer.node.as_str()), node.as_deref().filter(|_| is_passed_on)];
    let is_stranger = |node: &&str| shared.is_some_and(|shared| shared.roster.is_stranger(node));
    if let Some(stranger) = strangers.into_iter().flatten().find(is_stranger) {
        let message = format!("the machine '{stranger}' is none of this cluster (any more)");
        return Err(Box::new(answer(StatusCode::FORBIDDEN, &message)));
    }
    if !is_passed_on {
        return Ok(Received::Directly);
    }
    let extensions = request.extensions_mut();
    extensions.remove::<Peer>();
    extensions.remove::<Caller>();
    if let Some(role) = role {
        let Some(role) = Role::parse(&role) else {
            return Err(Box::new(answer(StatusCode::FORBIDDEN, "the caller's role is not known here")));
        };
        extensions.insert(Caller(role));
        if let Some(node) = node {
            extensions.insert(Peer { role, node });
        }
    }
    if let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok()) {
        extensions.insert(ConnectInfo(SocketAddr::new(address, 0)));
    }
    Ok(Received::PassedOn)
}

/// How a request came to the peers' listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Directly,
    /// By another controller, which took this one for the leader.
    PassedOn,
}

/// To a controller that asked the wrong one.
pub(crate) fn not_leading() -> Response {
    let mut response = unavailable("this controller does not lead");
    response.headers_mut().insert(NOT_LEADING, HeaderValue::from_static("1"));
    response
}

pub(crate) fn unavailable(message: &str) -> Response {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(crate) fn answer(status: StatusCode, message: &str) -> Response {
    api::message(status, message)
}

/// A client of other controllers.
pub(crate) fn client(shared: &Arc<Shared>) -> web::Client {
    web::Client::default().with_tls(shared.cluster.tls.client(Some(Role::Controller)))
}

async fn another_leads(following: &Following) {
    following.stop.requested().await;
    sleep(LAST_ANSWERS_MAX).await;
}
