//! Answers: JSON, and failures in Marathon's words.

use crate::desk::{Answer, LogRefusal, Refusal};
use crate::proxy::NOT_LEADING;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use marathon::Rejection;
use model::{AppId, DeploymentId, IdError, Timestamp};
use serde_json::{Value, json};

const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("marathon-deployment-id");

pub fn json_with(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response()
}

pub fn json_ok(value: &Value) -> Response {
    json_with(StatusCode::OK, value)
}

pub fn text(value: String) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8")], value).into_response()
}

/// `{"version", "deploymentId"}`, with the id as a header too.
pub fn deployment_result(answer: &Answer) -> Response {
    let body = marathon::deployment_result(answer.version, answer.deployment.as_ref());
    with_deployment(json_ok(&body), answer)
}

/// Adds the header that names the deployment.
pub fn with_deployment(mut response: Response, answer: &Answer) -> Response {
    if let Some(id) = &answer.deployment
        && let Ok(value) = HeaderValue::try_from(id.as_str())
    {
        response.headers_mut().insert(DEPLOYMENT_ID, value);
    }
    response
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: Value,
    /// The methods there are, when the one asked for is not; when to come again.
    headers: Vec<(HeaderName, String)>,
}

impl Failure {
    pub fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with_body(status, json!({ "message": message.into() }))
    }

    pub fn with_body(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::message(StatusCode::NOT_FOUND, message)
    }

    pub fn unrouted(path: &str) -> Self {
        Self::not_found(format!("URI not found: {path}"))
    }

    pub fn method(allowed: &[&str]) -> Self {
        let failure = Self::message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        Self { headers: vec![(ALLOW, allowed.join(", "))], ..failure }
    }

    pub fn no_app(id: &str) -> Self {
        Self::not_found(format!("App '{id}' does not exist"))
    }

    pub fn no_version(id: &AppId, version: Timestamp) -> Self {
        Self::not_found(format!("App '{id}' does not exist in version {version}"))
    }

    pub fn no_task(id: &str) -> Self {
        Self::not_found(format!("Task '{id}' does not exist"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = json_with(self.status, &self.body);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let status = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
        Self::with_body(status, rejection.body())
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Self {
        Rejection::invalid("/id", error.to_string()).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoApp(_) | Refusal::NoTask(_) | Refusal::NoDeployment(_) | Refusal::NoNode(_) => {
                Self::not_found(refusal.to_string())
            }
            Refusal::Exists(_) => Self::message(StatusCode::CONFLICT, refusal.to_string()),
            Refusal::Locked(deployments) => locked(&deployments),
            Refusal::Invalid(message) => Self::message(StatusCode::UNPROCESSABLE_ENTITY, message),
            Refusal::Store(_) | Refusal::Unanswered => {
                let message = lifecycle::ErrorChain(&refusal).to_string();
                Self::message(StatusCode::SERVICE_UNAVAILABLE, message)
            }
            // Another leads soon; nothing was done, so a controller that passed this on may ask that one.
            Refusal::Stopping => Self {
                headers: vec![(RETRY_AFTER, "1".to_owned()), (NOT_LEADING, "1".to_owned())],
                ..Self::message(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
            },
        }
    }
}

impl From<LogRefusal> for Failure {
    fn from(refusal: LogRefusal) -> Self {
        let status = match refusal {
            LogRefusal::NoTask(_) | LogRefusal::Agent(_) => StatusCode::NOT_FOUND,
            LogRefusal::Away(_) | LogRefusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::message(status, refusal.to_string())
    }
}

/// Marathon's text, placeholder included: clients match on it.
fn locked(deployments: &[DeploymentId]) -> Failure {
    let message = "App is locked by one or more deployments. Override with the option '?force=true'. \
                   View details at '/v2/deployments/<DEPLOYMENT_ID>'.";
    let deployments: Vec<Value> = deployments.iter().map(|id| json!({ "id": id.as_str() })).collect();
    Failure::with_body(StatusCode::CONFLICT, json!({ "message": message, "deployments": deployments }))
}
