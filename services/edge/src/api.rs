//! What the edge says of itself over HTTP: `/status`, `/v2/status` (vulcand's), `/ready`, `/routes`, `/explain`, `/metrics`,
//! `/top`; and `POST /quiesce`. What else is below `/v2/` is vulcand's API ([`crate::vulcands`]).

use crate::activity::{Activity, Top};
use crate::certificates::Certificate;
use crate::current::{Current, Report, Turns};
use crate::limits::TOP_ROWS_MAX;
use crate::listeners::ListenerProblems;
use crate::metrics::{Format, Metrics};
use crate::quiesce::Quiesce;
use crate::ready::Readiness;
use crate::succession::Reports;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};
use identity::{Gate, Role, Verifier};
use middleware::Middleware;
use routing::{Explanation, Headers, RequestHead};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct Api {
    pub current: Arc<Current>,
    pub reports: Reports,
    pub listeners: ListenerProblems,
    pub metrics: Arc<Metrics>,
    pub activity: Arc<Activity>,
    pub readiness: Arc<Readiness>,
    pub quiesce: Arc<Quiesce>,
    pub edge_id: String,
}

/// The API behind its gate: people and the platform's own may read; whoever moves the address away may ask for quiet.
/// `vulcands` is vulcand's API, which administrators may change things by.
pub(crate) fn router(api: Api, vulcands: Option<Router>, verifier: Verifier) -> Router {
    let gate = Gate::new(verifier, "roadstead edge", |role, method, path| {
        let reads = [Role::Admin, Role::Viewer, Role::Controller, Role::Console, Role::Edge, Role::Node, Role::Vip];
        let quiets = [Role::Admin, Role::Vip];
        let changes = role == Role::Admin && path.starts_with("/v2/");
        changes || (method.is_safe() && reads.contains(&role)) || (path == "/quiesce" && quiets.contains(&role))
    });
    let own = Router::new()
        .route("/status", get(status))
        .route("/v1/status", get(vulcands_status))
        .route("/v2/status", get(vulcands_status))
        .route("/ready", get(ready))
        .route("/quiesce", post(quiesce))
        .route("/routes", get(routes))
        .route("/explain", get(explain))
        .route("/metrics", get(metrics))
        .route("/top", get(top))
        .with_state(api);
    let all = match vulcands {
        Some(vulcands) => own.fallback_service(vulcands),
        None => own,
    };
    all.layer(gate.layer())
}

async fn status(State(api): State<Api>) -> Json<Value> {
    let snapshot = api.current.load();
    let Report { cluster_id, revision, busy } = api.reports.now();
    let mut problems = snapshot.problems.to_vec();
    problems.extend(api.listeners.all());
    let busy: Vec<Value> =
        busy.into_iter().map(|(url, in_flight)| json!({ "url": url, "in_flight": in_flight })).collect();
    let certificate = |certificate: &Arc<Certificate>| {
        json!({
            "key": certificate.key,
            "names": certificate.names,
            "not_after_s": certificate.not_after_s,
            "issuer": certificate.document().issuer,
            "default": certificate.document().default,
            "ocsp": certificate.standing(),
        })
    };
    let certificates: Vec<Value> = snapshot.certificates.iter().map(certificate).collect();
    Json(json!({
        "edge": api.edge_id,
        "loaded": snapshot.loaded,
        "stale": api.readiness.is_stale(),
        "from_disk": snapshot.stale,
        "node_draining": api.readiness.is_draining(),
        "cluster_id": cluster_id.to_string(),
        "revision": revision,
        "routes": snapshot.table.routes().len(),
        "servers": api.current.servers.all().iter().filter(|server| server.is_listed()).count(),
        "certificates": certificates,
        "draining": busy,
        "problems": problems,
    }))
}

/// 200 when requests should come here, else 503 and why. A table that may be behind is no reason: `stale` says so.
async fn ready(State(api): State<Api>) -> Response {
    let stale = api.readiness.is_stale();
    match api.readiness.check().await {
        Ok(()) => Json(json!({ "ready": true, "stale": stale })).into_response(),
        Err(reason) => {
            let body = json!({ "ready": false, "stale": stale, "reason": reason.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Answers when this edge is quiet, so that the floating address can move away from it (see [`crate::quiesce`]).
async fn quiesce(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "connections": api.quiesce.begin().await }))
}

async fn vulcands_status() -> Json<Value> {
    Json(json!({ "Status": "ok" }))
}

#[derive(Serialize)]
struct RouteView<'a> {
    id: &'a str,
    /// Of a TCP route, what it takes.
    rule: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    pass_host_header: bool,
    failover_predicate: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
    /// Type and id, in the order in which requests pass them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    middlewares: Vec<String>,
    servers: Vec<ServerView<'a>>,
}

#[derive(Serialize)]
struct ServerView<'a> {
    id: &'a str,
    url: &'a str,
    weight: u32,
    in_flight: u64,
    /// What checks and requests say of it, in words.
    state: String,
}

fn named(middleware: &Middleware) -> String {
    format!("{} {}", middleware.kind(), middleware.id())
}

/// In the order they are tried.
async fn routes(State(api): State<Api>) -> Json<Value> {
    let snapshot = api.current.load();
    let view = |position: usize| {
        let (route, turns) = (&snapshot.table.routes()[position], &snapshot.turns[position]);
        let states = turns.servers.iter().enumerate();
        let servers = route.servers.iter().zip(states).map(|(server, (position, state))| ServerView {
            id: &server.id,
            url: server.url.as_str(),
            weight: server.weight,
            in_flight: state.in_flight(),
            state: turns.state(position),
        });
        json!(RouteView {
            id: &route.id,
            rule: match &route.tcp {
                Some(tcp) => tcp.describe().into(),
                None => route.expression.as_str().into(),
            },
            priority: route.priority,
            app: route.app.as_deref(),
            pass_host_header: route.pass_host_header,
            failover_predicate: route.failover.as_str(),
            refused: turns.refusal.as_deref(),
            middlewares: turns.chain.iter().flat_map(|chain| chain.middlewares()).map(named).collect(),
            servers: servers.collect(),
        })
    };
    let routes: Vec<Value> = snapshot.table.in_order().into_iter().map(view).collect();
    Json(json!({ "revision": snapshot.revision(), "routes": routes }))
}

/// Headers of an explained request, `Name: value` each.
struct Given(Vec<(String, String)>);

impl Headers for Given {
    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// `?method=GET&url=http://host/path&header=Name:value…&client=10.0.0.1`: which route wins, which lose, and why; and where the
/// winner would send the request. Its middlewares are not asked.
async fn explain(State(api): State<Api>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut method = "GET";
    let mut url = None;
    let mut headers = Given(Vec::new());
    let mut client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (name, value) in &query {
        match name.as_str() {
            "method" => method = value,
            "url" => url = Some(value),
            "header" => match value.split_once(':') {
                Some((name, value)) => headers.0.push((name.trim().to_owned(), value.trim().to_owned())),
                None => return refuse(&format!("header {value:?} is not of the form Name: value")),
            },
            "client" => match value.parse() {
                Ok(address) => client = address,
                Err(_) => return refuse(&format!("client {value:?} is no IP address")),
            },
            other => return refuse(&format!("unknown parameter {other:?}: expected method, url, header or client")),
        }
    }
    let Some(url) = url else { return refuse("the parameter url is missing") };
    let Ok(uri) = url.parse::<Uri>() else { return refuse(&format!("{url:?} is no URL")) };
    let host = headers.first("host").or(uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    let head = RequestHead { method, host, path: uri.path(), query: uri.query(), headers: &headers, client };
    let snapshot = api.current.load();
    let Explanation { winner, routes } = snapshot.table.explain(&head);
    let servers = winner.as_ref().and_then(|id| snapshot.table.routes().iter().find(|route| route.id == *id));
    let servers: Vec<&str> =
        servers.iter().flat_map(|route| route.servers.iter()).map(|server| server.url.as_str()).collect();
    let turns = winner.as_deref().and_then(|id| snapshot.of_route(id));
    let picks = turns.map(|turns| turns.would_pick(&head)).unwrap_or_default();
    let state = |turns: &Turns, position: usize| {
        let url = turns.servers[position].url.as_str();
        let picked_by: Vec<usize> = (0..picks.len()).filter(|thread| picks[*thread] == Some(position)).collect();
        json!({ "url": url, "state": turns.state(position), "picked_by": picked_by })
    };
    let states: Vec<Value> =
        turns.iter().flat_map(|turns| (0..turns.servers.len()).map(|position| state(turns, position))).collect();
    let refused = turns.and_then(|turns| turns.refusal.as_deref());
    let answer =
        json!({ "winner": winner, "refused": refused, "servers": servers, "states": states, "routes": routes });
    Json(answer).into_response()
}

fn refuse(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response()
}

/// Written while it is read: of thousands of routes it is long.
async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::asked(accept);
    let pieces = api.metrics.pieces(format, &api.current.load());
    let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)));
    ([(CONTENT_TYPE, format.content_type())], body).into_response()
}

/// What happened in the last seconds, by route and by server.
async fn top(State(api): State<Api>) -> Json<Top> {
    Json(api.activity.top(&api.current.load(), TOP_ROWS_MAX).await)
}
