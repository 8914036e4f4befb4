//! What can go wrong, and how the distribution specification wants it said ("Error Codes").

use crate::records::RecordError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use lifecycle::ErrorChain;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("start the registry")]
    Listen { source: io::Error },
    #[error("reach the registry's S3")]
    S3 { source: s3client::S3Error },
}

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{message}")]
    Refused { code: Code, message: String },
    /// A range of a blob that it does not have.
    #[error("the blob has {bytes} bytes")]
    BlobRange { bytes: u64 },
    /// A chunk that does not begin where the upload stands.
    #[error("the upload stands at {offset} bytes")]
    ChunkOrder { location: String, offset: u64 },
    #[error("use the store")]
    Store { source: store::StoreError },
    #[error("use the object storage")]
    S3 { source: s3client::S3Error },
    #[error("read the registry's state")]
    Record { source: RecordError },
    #[error("draw random bits")]
    Random { source: getrandom::Error },
    /// Others change the same records all the time.
    #[error("the registry's state kept changing")]
    Contention,
}

/// The specification's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    NotFound,
}

impl Code {
    pub fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestTooLarge | Self::SizeInvalid => "SIZE_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::NotFound => "NOT_FOUND",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestBlobUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid => StatusCode::BAD_REQUEST,
            Self::ManifestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl RegistryError {
    pub fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}

impl From<store::StoreError> for RegistryError {
    fn from(source: store::StoreError) -> Self {
        Self::Store { source }
    }
}

impl From<s3client::S3Error> for RegistryError {
    fn from(source: s3client::S3Error) -> Self {
        Self::S3 { source }
    }
}

impl From<RecordError> for RegistryError {
    fn from(source: RecordError) -> Self {
        Self::Record { source }
    }
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        match self {
            Self::Refused { code, .. } => response(code.status(), code.text(), &message),
            Self::BlobRange { bytes } => {
                let answer = response(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", &message);
                with_header(answer, CONTENT_RANGE, &format!("bytes */{bytes}"))
            }
            Self::ChunkOrder { location, offset } => {
                let answer = response(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", &message);
                let answer = with_header(answer, LOCATION, &location);
                with_header(answer, RANGE, &received(offset))
            }
            Self::Store { .. } | Self::S3 { .. } | Self::Contention => {
                tracing::warn!(error = %ErrorChain(&self), "a request failed");
                response(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", &message)
            }
            Self::Record { .. } | Self::Random { .. } => {
                tracing::error!(error = %ErrorChain(&self), "a request failed");
                response(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &message)
            }
        }
    }
}

/// How far an upload is: `0-LAST`. With no byte there is no last one, and registries say `0-0`.
pub fn received(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

pub fn response(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message, "detail": null }] }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
