//! The HTTP face: the page, its two assets, and `POST /sign`.

use crate::operation::{Operation, Refusal};
use crate::picture::PictureKey;
use crate::{Config, Signer, page};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use lifecycle::ErrorChain;
use s3sign::SignError;
use serde::Serialize;
use std::sync::Arc;

/// Bytes of a `/sign` body: the longest holds a key and an upload id.
const SIGN_BODY_BYTES_MAX: usize = 4096;

const SCRIPT: &str = include_str!("../assets/pics.js");
const STYLE: &str = include_str!("../assets/pics.css");

struct Face {
    /// Everything of the page is known at the start, so `/`, the health check, is one copy of a string.
    page: String,
    page_headers: HeaderMap,
    signer: Signer,
}

pub fn router(config: &Config, hostname: String) -> Router {
    let policy = page::content_security_policy(config);
    let policy = HeaderValue::try_from(policy).expect("made of origins, which are visible ASCII");
    let mut page_headers = HeaderMap::new();
    page_headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    page_headers.insert(CONTENT_SECURITY_POLICY, policy);
    page_headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page_headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    page_headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let page = page::render(config, &hostname).into_string();
    let face = Face { page, page_headers, signer: Signer::new(config) };
    Router::new()
        .route("/", get(show))
        .route("/assets/pics.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/pics.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/sign", post(sign).layer(DefaultBodyLimit::max(SIGN_BODY_BYTES_MAX)))
        .with_state(Arc::new(face))
}

async fn show(State(face): State<Arc<Face>>) -> Response {
    (face.page_headers.clone(), face.page.clone()).into_response()
}

/// Assets are asked for again with each page, so that a page and its script are never of two versions for long.
fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

async fn sign(
    State(face): State<Arc<Face>>,
    operation: Result<Json<Operation>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(operation) = operation?;
    let request = operation.request(face.signer.buckets(), PictureKey::generate)?;
    let signed = face.signer.sign(&request, Timestamp::now())?;
    // A signature is good for whoever holds it: no cache may keep it.
    Ok(([(CACHE_CONTROL, "no-store")], Json(signed)).into_response())
}

/// A refused or unreadable `/sign` body, answered as JSON.
#[derive(Debug, Serialize)]
struct Failure {
    #[serde(skip)]
    status: StatusCode,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status(), message: ErrorChain(&refusal).to_string(), field: refusal.field() }
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: ErrorChain(&error).to_string(), field: None }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text(), field: None }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests;
