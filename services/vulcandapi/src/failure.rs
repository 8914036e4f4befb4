//! What is answered when something cannot be done.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use lifecycle::ErrorChain;
use serde_json::json;
use store::{Compare, RefusalCode, StoreError};
use vulcand::ObjectError;
use vulcand::shape::ShapeError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// With vulcand's words where it has some.
    #[error("{0}")]
    Invalid(String),
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
    #[error("{what} '{id}' is not found")]
    NotFound { what: &'static str, id: String },
    #[error("can not delete backend '{backend}', it is in use by [{}]", users.join(" "))]
    InUse { backend: String, users: Vec<String> },
    #[error("others change it all the time; try again")]
    Contended,
    #[error("this controller does not lead (any more)")]
    Superseded(Compare),
    #[error("the body must be JSON (Content-Type: application/json, or none)")]
    MediaType,
    #[error("the body is broken off or longer than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("statistics are an edge's: ask the API of one")]
    NoStatistics,
    #[error("what is stored under {key} is no JSON object")]
    Stored { key: String },
    #[error("the store")]
    Store(#[from] StoreError),
}

impl Failure {
    pub fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { field: field.into(), reason: reason.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Field { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } | Self::NoStatistics => StatusCode::NOT_FOUND,
            Self::InUse { .. } => StatusCode::CONFLICT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stored { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(StoreError::Refused { code, .. }) => match code {
                RefusalCode::PermissionDenied | RefusalCode::Unauthenticated => StatusCode::FORBIDDEN,
                RefusalCode::InvalidArgument => StatusCode::BAD_REQUEST,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Contended | Self::Superseded(_) | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// vulcand's form of an answer in words.
pub(crate) fn message(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = message(self.status(), &ErrorChain(&self).to_string());
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::Superseded(fence) = self {
            response.extensions_mut().insert(fence);
        }
        response
    }
}

impl From<ShapeError> for Failure {
    fn from(error: ShapeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        let reason = ErrorChain(&error).to_string();
        match error.field() {
            // It is named already.
            Some(field) if !reason.starts_with(field) => Self::field(field, reason),
            _ => Self::Invalid(reason),
        }
    }
}
