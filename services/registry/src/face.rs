//! The HTTP face: `/v2/…` and `/metrics`.

mod blobs;
mod lists;
mod manifests;
mod uploads;

pub use uploads::give_up;

use crate::error::{self, Code, RegistryError};
use crate::metrics::Answer;
use crate::registry::Registry;
use crate::route::Endpoint;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use identity::{Gate, Role, Verifier};

const DISTRIBUTION_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub fn router(registry: Registry, verifier: Verifier) -> Router {
    let gate = Gate::new(verifier, "registry", may);
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(dispatch)
        .layer(gate.layer())
        .layer(middleware::from_fn_with_state(registry.clone(), dress))
        .with_state(registry)
}

/// Administrators push; the platform's other parts and viewers pull. An edge has no business here.
fn may(role: Role, method: &Method, _path: &str) -> bool {
    role == Role::Admin || (method.is_safe() && role != Role::Edge)
}

async fn metrics(State(registry): State<Registry>) -> Response {
    registry.metrics.sessions.set(i64::try_from(registry.sessions.count()).unwrap_or(i64::MAX));
    ([(CONTENT_TYPE, lifecycle::metrics::CONTENT_TYPE)], registry.metrics.render()).into_response()
}

async fn dispatch(State(registry): State<Registry>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let call = Call { registry, query: Query::parse(head.uri.query()), headers: head.headers };
    match answer(&call, head.method, head.uri.path(), body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// What a handler works on.
struct Call {
    registry: Registry,
    query: Query,
    headers: HeaderMap,
}

async fn answer(call: &Call, method: Method, path: &str, body: Body) -> Result<Response, RegistryError> {
    match (Endpoint::parse(path)?, method) {
        (Endpoint::Version, Method::GET | Method::HEAD) => Ok(json("{}")),
        (Endpoint::Catalog, Method::GET) => lists::catalog(call).await,
        (Endpoint::Tags(name), Method::GET) => lists::tags(call, &name).await,
        (Endpoint::Referrers(name, subject), Method::GET) => lists::referrers(call, &name, &subject).await,
        (Endpoint::Blob(name, digest), Method::GET) => blobs::get(call, &name, &digest).await,
        (Endpoint::Blob(name, digest), Method::HEAD) => blobs::head(call, &name, &digest).await,
        (Endpoint::Blob(name, digest), Method::DELETE) => blobs::delete(call, &name, &digest).await,
        (Endpoint::Uploads(name), Method::POST) => uploads::begin(call, name, body).await,
        (Endpoint::Upload(name, id), Method::GET) => uploads::status(call, &name, &id).await,
        (Endpoint::Upload(name, id), Method::PATCH) => uploads::append(call, &name, &id, body).await,
        (Endpoint::Upload(name, id), Method::PUT) => uploads::finish(call, &name, &id, body).await,
        (Endpoint::Upload(name, id), Method::DELETE) => uploads::cancel(call, &name, &id).await,
        (Endpoint::Manifest(name, version), Method::GET | Method::HEAD) => manifests::get(call, &name, &version).await,
        (Endpoint::Manifest(name, version), Method::PUT) => manifests::put(call, &name, &version, body).await,
        (Endpoint::Manifest(name, version), Method::DELETE) => manifests::delete(call, &name, &version).await,
        (endpoint, method) => {
            let refusal = RegistryError::refused(Code::Unsupported, format!("{method} is not for this end point"));
            Ok(error::with_header(refusal.into_response(), ALLOW, allowed(&endpoint)))
        }
    }
}

fn allowed(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Version => "GET, HEAD",
        Endpoint::Catalog | Endpoint::Tags(_) | Endpoint::Referrers(..) => "GET",
        Endpoint::Blob(..) => "GET, HEAD, DELETE",
        Endpoint::Uploads(_) => "POST",
        Endpoint::Upload(..) => "GET, PATCH, PUT, DELETE",
        Endpoint::Manifest(..) => "GET, HEAD, PUT, DELETE",
    }
}

/// Counts the answer, and gives it what every answer of a registry has: the version header, and errors in the form that
/// clients of registries read (the gate knows nothing of it).
async fn dress(State(registry): State<Registry>, request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    let is_api = request.uri().path().starts_with("/v2");
    let mut response = next.run(request).await;
    let status = response.status();
    if is_api && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let challenge = response.headers().get(WWW_AUTHENTICATE).cloned();
        let (code, message) = match status {
            StatusCode::UNAUTHORIZED => (Code::Unauthorized, "a valid token is needed, as password"),
            _ => (Code::Denied, "this token may not do that"),
        };
        response = RegistryError::refused(code, message).into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
    }
    if is_api {
        response.headers_mut().insert(DISTRIBUTION_VERSION, HeaderValue::from_static("registry/2.0"));
    }
    registry.metrics.requests.get_or_create(&Answer { method, status: status.as_u16() }).inc();
    response
}

/// A query's parameters, decoded.
#[derive(Debug, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl Call {
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
