//! The HTTP side: etcd's JSON gateway, `/health`, `/version`, `/metrics`.

mod json;

use super::{ETCD_CLUSTER_VERSION, ETCD_VERSION, Face, pb};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use identity::{Caller, Gate};
use lifecycle::metrics::Registry;
use lifecycle::metrics::metrics::gauge::Gauge;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// Base64 makes a request a third longer, JSON a little more.
const BODY_BYTES_MAX: usize = 2 * crate::REQUEST_BYTES_MAX;
const REALM: &str = "store";

pub fn router(face: Face) -> Router {
    // Whose keys they are is decided per request.
    let gate = Gate::new(face.verifier.clone(), REALM, |_, _, _| true);
    let guarded = Router::new()
        .route("/v3/kv/range", post(range))
        .route("/v3/kv/put", post(put))
        .route("/v3/kv/deleterange", post(delete_range))
        .route("/v3/kv/txn", post(txn))
        .route("/metrics", get(metrics))
        .layer(gate.layer());
    Router::new()
        .route("/v3/auth/authenticate", post(authenticate))
        .route("/health", get(health))
        .route("/version", get(version))
        .merge(guarded)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(face)
}

async fn range(State(face): State<Face>, Extension(Caller(role)): Extension<Caller>, body: Bytes) -> Answer {
    let request: json::RangeRequest = parse(&body)?;
    Ok(Json(json::range_response(face.range_as(role, &request.into())?)))
}

async fn put(State(face): State<Face>, Extension(Caller(role)): Extension<Caller>, body: Bytes) -> Answer {
    let request: json::PutRequest = parse(&body)?;
    Ok(Json(json::put_response(face.put_as(role, &request.into()).await?)))
}

async fn delete_range(State(face): State<Face>, Extension(Caller(role)): Extension<Caller>, body: Bytes) -> Answer {
    let request: json::DeleteRangeRequest = parse(&body)?;
    Ok(Json(json::delete_range_response(face.delete_range_as(role, &request.into()).await?)))
}

async fn txn(State(face): State<Face>, Extension(Caller(role)): Extension<Caller>, body: Bytes) -> Answer {
    let request: json::TxnRequest = parse(&body)?;
    Ok(Json(json::txn_response(face.txn_as(role, &request.into()).await?)))
}

async fn authenticate(State(face): State<Face>, body: Bytes) -> Answer {
    let json::AuthenticateRequest { name, password } = parse(&body)?;
    let response = face.authenticate_as(&pb::AuthenticateRequest { name, password }).map_err(Status::from)?;
    Ok(Json(json!({ "header": json::header(response.header), "token": response.token })))
}

async fn health(State(face): State<Face>) -> Response {
    match face.store.status().failure {
        None => Json(json!({ "health": "true" })).into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "health": "false" }))).into_response(),
    }
}

async fn version() -> Json<Value> {
    Json(json!({ "etcdserver": ETCD_VERSION, "etcdcluster": ETCD_CLUSTER_VERSION }))
}

async fn metrics(State(face): State<Face>) -> Response {
    let status = face.store.status();
    let mut registry = Registry::with_prefix("roadstead_store");
    let mut gauge = |name, help, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("revision", "The newest durable revision", u64::try_from(status.revision).unwrap_or(0));
    gauge("compacted_revision", "The oldest revision that can be read", u64::try_from(status.compacted).unwrap_or(0));
    gauge("data_bytes", "Keys and values in memory, history included", status.bytes);
    gauge("leases", "Leases granted and not ended", status.leases as u64);
    gauge("watchers", "Watchers", status.watchers as u64);
    gauge("read_only", "1 since the log failed", u64::from(status.failure.is_some()));
    let text = lifecycle::metrics::render(&registry);
    ([(CONTENT_TYPE, lifecycle::metrics::CONTENT_TYPE)], text).into_response()
}

async fn not_found() -> Failure {
    Failure(Status::not_found("Not Found"))
}

type Answer = Result<Json<Value>, Failure>;

/// A status as the gateway answers it.
struct Failure(Status);

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.0.code();
        // grpc-gateway's table.
        let status = match code {
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = self.0.message();
        (status, Json(json!({ "error": message, "message": message, "code": code as i32 }))).into_response()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure(Status::invalid_argument(error.to_string())))
}
