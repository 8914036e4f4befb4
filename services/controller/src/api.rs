//! The Marathon HTTP face, and ours beside it.
//!
//! App ids contain slashes, and clients of ten years send `/v2/apps/` and `/v2/apps//s3pics`; so requests are not matched by
//! axum's router but by [`path`], over the decoded segments: slashes at the ends and doubled ones do not count, nothing is
//! ever redirected, and the reserved last segments (`tasks`, `versions`, `restart`) are matched before ids.
//!
//! Reads are rendered from one immutable view of the world; writes are asked of the controller through the
//! [`Desk`](crate::desk::Desk). There is no gate in here: the controller puts `identity::Gate` around, with [`allowed`].
//!
//! | path | what |
//! |---|---|
//! | `/v2/apps…`, `/v2/tasks…`, `/v2/deployments…`, `/v2/queue…`, `/v2/info`, `/v2/leader`, `/v2/events`, `/ping` | Marathon's |
//! | `/metrics` | Prometheus' text; JSON in Marathon's form when only JSON is accepted |
//! | `/v1/nodes…`, `/v1/apps/{id}`, `/v1/apps/{id}/explain`, `/v1/tasks/{id}/logs` | ours |
//! | `/vulcand/v2/…` | vulcand's, as on an edge's port |
//! | `/v1/routes/history…`, `/v1/routes/rollback`, `/v1/routes/documents…` | ours |
//! | `/v1/certificates…` | ours: certificates for apps' names; POST renews those of the cluster's machines |
//! | `/v1/cluster`, `/v1/join`, `/v1/join-tokens…` | ours, in a cluster |

mod answer;
mod apps;
mod call;
mod certificates;
mod change;
mod cluster;
mod deployments;
mod events;
mod logs;
mod nodes;
mod path;
mod render;
mod routes;
mod selector;
mod system;
mod tasks;
mod vulcand;

#[cfg(test)]
mod tests;

use crate::acme::Vault;
use crate::cluster::registrar::Registrar;
use crate::desk::{Answer, Ask, Desk};
use crate::history::History;
use answer::Failure;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use call::Call;
use http::{Method, StatusCode};
use identity::Role;
use lifecycle::Stop;
use lifecycle::metrics::Registry;
use path::Route;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
pub(crate) use vulcand::{answer as answer_vulcands, is_for_it as is_vulcands, is_for_process};

/// Bytes the body of one request may hold.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Posts told on `/v2/events` that one slow listener may be behind before it is cut.
const POSTS_QUEUED_MAX: usize = 1024;

/// The controller answers a request within this time (it waits for the store), or the caller gets 504.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the face says of its surroundings.
#[derive(Clone)]
pub struct Context {
    /// `host:port` of this API, as `/v2/leader` tells it.
    pub leader: String,
    pub hostname: String,
    pub http_port: u16,
    pub framework_id: String,
    /// Apps are served as `<app>.<domain>`.
    pub domain: String,
    /// The port the edges serve on; `None`: 80.
    pub edge_port: Option<u16>,
    pub registry: Arc<Registry>,
    /// The cluster's own keys; `None`: one machine.
    pub(crate) registrar: Option<Arc<Registrar>>,
    /// Of the routes; `None`: nobody keeps one.
    pub(crate) history: Option<Arc<History>>,
    /// vulcand's API; `None`: it is not served.
    pub(crate) vulcand: Option<Router>,
    /// Certificates for apps' names; `None`: there is no store behind this face.
    pub(crate) vault: Option<Arc<Vault>>,
    /// Of the term: ends its streams when requested; `DELETE /v2/leader` requests it.
    pub stop: Stop,
}

/// What every handler works with.
struct Api {
    desk: Desk,
    context: Context,
    /// `api_post_event`s, which the face itself tells.
    posts: broadcast::Sender<Arc<Value>>,
}

impl Api {
    /// Asks the controller; what takes too long may still happen.
    async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.desk.ask(ask)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::message(StatusCode::GATEWAY_TIMEOUT, "the controller did not answer in time")),
        }
    }
}

/// The face, without a gate.
pub fn router(desk: Desk, context: Context) -> Router {
    let (posts, _) = broadcast::channel(POSTS_QUEUED_MAX);
    let api = Arc::new(Api { desk, context, posts });
    Router::new().fallback(dispatch).with_state(api)
}

/// Whether a role may make a request: administrators all, people who watch and the parts that show only read (who may
/// join is for administrators, and so is what holds the secrets of middlewares); a machine renews its certificates; the others have no business here.
pub fn allowed(role: Role, method: &Method, path: &str) -> bool {
    let reads = method == Method::GET || method == Method::HEAD;
    let route = path::route(path);
    match role {
        Role::Admin => true,
        Role::Viewer | Role::Console | Role::Edge | Role::Controller => {
            reads
                && !matches!(
                    route,
                    Some(Route::JoinTokens | Route::JoinToken(_) | Route::RoutesRevision(_) | Route::Documents)
                )
        }
        Role::Node if route == Some(Route::Certificates) => method == Method::POST,
        Role::Agent | Role::Registry | Role::Node | Role::Store | Role::Vip => reads && route == Some(Route::Ping),
    }
}

/// Whether a request is a machine's that joins: its body bears its credentials.
pub(crate) fn is_join(method: &Method, path: &str) -> bool {
    method == Method::POST && path::route(path) == Some(Route::Join)
}

/// An answer in words.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    Failure::message(status, text).into_response()
}

async fn dispatch(State(api): State<Arc<Api>>, request: Request) -> Response {
    match answer(&api, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn answer(api: &Arc<Api>, request: Request) -> Result<Response, Failure> {
    if let Some(vulcand) = api.context.vulcand.as_ref().filter(|_| vulcand::is_for_it(request.uri())) {
        return Ok(vulcand::answer(vulcand.clone(), request).await);
    }
    let Some(route) = path::route(request.uri().path()) else {
        return Err(Failure::unrouted(request.uri().path()));
    };
    // HEAD is answered like GET; hyper leaves the body out.
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let allowed = route.methods();
    if !allowed.contains(&method.as_str()) {
        return Err(Failure::method(allowed));
    }
    let call = Call::read(request).await?;
    match (route, method) {
        (Route::Apps, Method::GET) => apps::list(api, &call),
        (Route::Apps, Method::POST) => change::create(api, &call).await,
        (Route::Apps, _) => change::update_all(api, &call).await,
        (Route::AppsBelow(group), _) => apps::below(api, &group),
        (Route::App(id), Method::GET) => apps::show(api, &id),
        (Route::App(id), Method::DELETE) => change::remove(api, &id, &call).await,
        (Route::App(id), method) => change::update(api, &id, &call, method == Method::PATCH).await,
        (Route::Restart(id), _) => change::restart(api, &id, &call).await,
        (Route::Versions(id), _) => apps::versions(api, &id),
        (Route::Version(id, version), _) => apps::version(api, &id, &version),
        (Route::AppTasks(id), Method::GET) => tasks::of_app(api, &id, &call),
        (Route::AppTasks(id), _) => tasks::kill_of_app(api, &id, &call).await,
        (Route::AppTask(id, task), _) => tasks::kill_one(api, &id, &task, &call).await,
        (Route::Tasks, _) => tasks::list(api, &call),
        (Route::TasksDelete, _) => tasks::kill_listed(api, &call).await,
        (Route::Deployments, _) => deployments::list(api),
        (Route::Deployment(id), _) => deployments::cancel(api, &id, &call).await,
        (Route::Queue, _) => deployments::queue(api),
        (Route::QueueDelay(id), _) => deployments::reset_delay(api, &id).await,
        (Route::Info, _) => system::info(api),
        (Route::Leader, Method::GET) => system::leader(api),
        (Route::Leader, _) => system::abdicate(api),
        (Route::Events, _) => events::stream(api, &call),
        (Route::Ping, _) => system::ping(),
        (Route::Metrics, _) => system::metrics(api, &call),
        (Route::Nodes, _) => nodes::list(api).await,
        (Route::Node(node), _) => cluster::remove(api, &node, &call).await,
        (Route::NodeDrain(node), _) => nodes::drain(api, &node, true).await,
        (Route::NodeRestore(node), _) => nodes::drain(api, &node, false).await,
        (Route::Cluster, _) => cluster::show(api).await,
        (Route::Join, _) => cluster::join(api, &call).await,
        (Route::JoinTokens, Method::GET) => cluster::tokens(api).await,
        (Route::JoinTokens, _) => cluster::issue_token(api, &call).await,
        (Route::JoinToken(id), _) => cluster::revoke_token(api, &id).await,
        (Route::Certificates, Method::GET) => certificates::list(api).await,
        (Route::Certificates, Method::PUT) => certificates::add(api, &call).await,
        (Route::Certificates, _) => cluster::certificates(api, &call).await,
        (Route::Certificate(id), Method::GET) => certificates::show(api, &id).await,
        (Route::Certificate(id), _) => certificates::remove(api, &id).await,
        (Route::CertificateRenewal(name), _) => certificates::renew(api, &name).await,
        (Route::AppDetails(id), _) => nodes::app(api, &id),
        (Route::Explain(id), _) => nodes::explain(api, &id),
        (Route::RoutesHistory, _) => routes::history(api, &call).await,
        (Route::RoutesRevision(revision), _) => routes::revision(api, &revision).await,
        (Route::RoutesRollback, _) => routes::rollback(api, &call).await,
        (Route::Documents, _) => routes::documents(api).await,
        (Route::Document(id), Method::PUT) => routes::put(api, &id, &call).await,
        (Route::Document(id), _) => routes::delete(api, &id).await,
        (Route::Logs(task), _) => logs::stream(api, &task, &call).await,
    }
}

pub(crate) fn now() -> model::Timestamp {
    model::Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
