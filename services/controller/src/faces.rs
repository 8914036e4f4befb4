//! What is asked of this controller, wherever it comes in: answered by its term while it leads, by the leader otherwise. The
//! log is each process's own.
//!
//! | listener | who is let in |
//! |---|---|
//! | the API | tokens |
//! | the Unix socket | its owner, as the administrator |
//! | peers | certificates of the cluster (a controller may ask for others), people's tokens; who joins, with a join token |

use crate::api;
use crate::cluster::Member;
use crate::cluster::registrar::Shared;
use crate::peers::{Reach, STANDING_PATH};
use crate::proxy::{self, Proxy, Received};
use crate::term::Lead;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use identity::{Caller, Gate, Peer, Role, Verifier, authorization_token};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;

const REALM: &str = "roadstead controller";
/// On the Unix socket only.
const MEMBERS_PATH: &str = "/v1/members";

/// Anybody on the network may ask to join: so many at once…
const JOINS_MAX: usize = 64;
/// …with bodies of so many bytes (requests for ten certificates have 4 KiB)…
const JOIN_BODY_BYTES_MAX: usize = 64 << 10;
/// …that arrive within this time.
const JOIN_BODY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Faces {
    pub lead: Lead,
    /// `None`: one machine.
    pub others: Option<Others>,
    /// vulcand's API, for what is about this process alone.
    pub own_vulcand: Option<Router>,
}

/// What there is besides in a cluster.
#[derive(Clone)]
pub(crate) struct Others {
    pub shared: Arc<Shared>,
    pub proxy: Arc<Proxy>,
    pub reach: Arc<Reach>,
}

impl Others {
    pub(crate) fn new(shared: Arc<Shared>, lead: &Lead, incarnation: String) -> Self {
        let client = proxy::client(&shared);
        let reach = Arc::new(Reach::new(shared.clone(), client.clone(), incarnation));
        let vouches = shared.cluster.tls.own().role == Role::Controller;
        let proxy = Proxy::new(client, lead.clone(), vouches);
        Self { shared, proxy: Arc::new(proxy), reach }
    }
}

impl Faces {
    pub(crate) fn local(&self, verifier: Verifier) -> Router {
        let gate = Gate::new(verifier, REALM, api::allowed);
        Router::new().fallback(local).with_state(self.clone()).layer(gate.layer())
    }

    /// Whoever can open the socket is its owner, and may do everything.
    pub(crate) fn owners(&self) -> Router {
        let as_owner = axum::middleware::map_request(|mut request: Request| async move {
            request.extensions_mut().insert(Caller(Role::Admin));
            request
        });
        let router = Router::new().route(MEMBERS_PATH, get(members)).fallback(local);
        router.with_state(self.clone()).layer(as_owner)
    }

    /// What the edges of this machine pass on, for those who ask them.
    pub(crate) fn passed_on(&self, verifier: Verifier) -> Router {
        let gate = Gate::new(verifier, REALM, api::allowed);
        Router::new().fallback(passed_on).with_state(self.clone()).layer(gate.layer())
    }

    pub(crate) fn peers(&self, verifier: Verifier) -> Router {
        // A controller asks for others, and an edge and a machine without state do; what those may is looked at once they
        // are known.
        let rule = |role, method: &http::Method, path: &str| {
            matches!(role, Role::Controller | Role::Console | Role::Edge) || api::allowed(role, method, path)
        };
        let gated = Router::new().fallback(peers).with_state((self.clone(), verifier.clone()));
        let gated = gated.layer(Gate::new(verifier, REALM, rule).layer());
        let places = Arc::new(Semaphore::new(JOINS_MAX));
        let joining = Router::new().fallback(joining).with_state((self.clone(), places));
        Router::new().fallback(move |request: Request| {
            let has_certificate = request.extensions().get::<web::PeerCertificate>().is_some();
            let joins = api::is_join(request.method(), request.uri().path()) && !has_certificate;
            let chosen = if joins { joining.clone() } else { gated.clone() };
            chosen.oneshot(request)
        })
    }

    async fn dispatch(&self, request: Request, received: Received) -> Response {
        if let Some(own) = self.own_vulcand.as_ref().filter(|_| api::is_for_process(request.uri())) {
            return api::answer_vulcands(own.clone(), request).await;
        }
        match (&self.others, received, self.lead.term()) {
            (Some(others), Received::Directly, _) => others.proxy.ask_leader(request).await,
            (_, _, Some(term)) => term.face.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            (Some(_), Received::PassedOn, None) => proxy::not_leading(),
            (None, _, None) => proxy::unavailable("the controller is stopping"),
        }
    }
}

/// Tokens among machines. People's are good anywhere; a machine's own are the same on every machine, also on one that was
/// removed: without a certificate they are good for nothing. An edge, and a machine that keeps no state, show the token of
/// whoever asks through them.
fn weigh_token(request: &mut Request, verifier: &Verifier) -> Result<(), Box<Response>> {
    let refuse = |message| Err(Box::new(proxy::answer(StatusCode::UNAUTHORIZED, message)));
    let caller = request.extensions().get().map(|Caller(role)| *role);
    match request.extensions().get::<Peer>() {
        None if caller.is_some_and(|role| !matches!(role, Role::Admin | Role::Viewer)) => {
            refuse("a machine's token is of no use here without its certificate")
        }
        Some(peer) if matches!(peer.role, Role::Console | Role::Edge) => {
            let Some(token) = authorization_token(request.headers()) else { return Ok(()) };
            let Some(role) = verifier.role_of(&token) else { return refuse("the token is not valid") };
            request.extensions_mut().insert(Caller(role));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The machines of the cluster as this controller knows them, for the processes of its own machine: nobody else is asked.
async fn members(State(faces): State<Faces>) -> Response {
    let machines = faces.others.map(|others| others.shared.roster.machines()).unwrap_or_default();
    axum::Json(machines.values().map(told).collect::<Vec<_>>()).into_response()
}

fn told(member: &Member) -> serde_json::Value {
    json!({ "name": member.name, "address": member.address, "peers": member.peers, "state": member.state })
}

async fn local(State(faces): State<Faces>, request: Request) -> Response {
    faces.dispatch(request, Received::Directly).await
}

/// vulcand's API, which edges serve but for what writes; nothing else. (A path with parameters of its own would add them to
/// those of the API's.)
async fn passed_on(State(faces): State<Faces>, request: Request) -> Response {
    match api::is_vulcands(request.uri()) {
        true => faces.dispatch(request, Received::Directly).await,
        false => proxy::answer(StatusCode::NOT_FOUND, "only vulcand's API is served here, beside sessions"),
    }
}

/// A machine without a certificate: its join token is looked at by the leader.
async fn joining(State((faces, places)): State<(Faces, Arc<Semaphore>)>, request: Request) -> Response {
    let Ok(_place) = places.try_acquire() else { return proxy::unavailable("too many machines join at this moment") };
    let (head, body) = request.into_parts();
    let message = match timeout(JOIN_BODY_TIMEOUT, axum::body::to_bytes(body, JOIN_BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => return faces.dispatch(Request::from_parts(head, body.into()), Received::Directly).await,
        Ok(Err(_)) => format!("the body is broken off or longer than {JOIN_BODY_BYTES_MAX} bytes"),
        Err(_) => format!("the body did not arrive within {JOIN_BODY_TIMEOUT:?}"),
    };
    proxy::answer(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

async fn peers(State((faces, verifier)): State<(Faces, Verifier)>, mut request: Request) -> Response {
    let Some(others) = &faces.others else { return proxy::unavailable("there is no cluster") };
    if let Err(answer) = weigh_token(&mut request, &verifier) {
        return *answer;
    }
    let registry = faces.lead.term().map(|_| others.shared.as_ref());
    let received = match proxy::receive(&mut request, registry) {
        Ok(received) => received,
        Err(answer) => return *answer,
    };
    let (method, path) = (request.method(), request.uri().path());
    let caller = request.extensions().get().map(|Caller(role)| *role);
    if caller == Some(Role::Controller) && path == STANDING_PATH {
        return axum::Json(others.reach.word()).into_response();
    }
    let may = caller.map_or_else(|| api::is_join(method, path), |role| api::allowed(role, method, path));
    if !may {
        let role = caller.map_or("", Role::name);
        return proxy::answer(StatusCode::FORBIDDEN, &format!("role {role} may not {method} {path}"));
    }
    faces.dispatch(request, received).await
}
