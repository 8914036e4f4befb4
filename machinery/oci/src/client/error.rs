use crate::store::ImageStoreError;
use crate::{Digest, ImageConfigError, ManifestError, Platform};
use http::StatusCode;
use serde::Deserialize;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("image {reference} names no registry")]
    NoRegistry { reference: String },
    #[error("call the registry")]
    Call { source: web::ClientError },
    #[error("build a request to {url}")]
    Request { url: String, source: http::Error },
    /// The registry's own words.
    #[error("{method} {url}: the registry answered {status} {code} {message}")]
    Refused { method: &'static str, url: String, status: StatusCode, code: String, message: String },
    #[error("{url}: the registry gave no usable Location ({location:?})")]
    Location { url: String, location: String },
    #[error("{url}: the answer ended early or stalled")]
    Body { url: String, source: lifecycle::BoxError },
    #[error("{url} holds {found}, not {expected}")]
    Digest { url: String, expected: Digest, found: Digest },
    #[error("{url} holds more than {bytes_max} bytes")]
    TooLarge { url: String, bytes_max: u64 },
    #[error("{url} is not JSON of the expected form")]
    Json { url: String, source: serde_json::Error },
    #[error("read the manifest of {reference}")]
    Manifest { reference: String, source: ManifestError },
    #[error("read the configuration of {reference}")]
    Config { reference: String, source: ImageConfigError },
    #[error("image {reference} has no variant for {host}")]
    NoPlatform { reference: String, host: Platform },
    #[error("image {reference} is an index of indexes")]
    NestedIndex { reference: String },
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("keep the image")]
    Store { source: ImageStoreError },
    #[error("{url} goes on for more than {pages_max} pages")]
    Pages { url: String, pages_max: usize },
}

impl ClientError {
    /// Whether the registry said that what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Body { .. } => true,
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }

    /// From a registry's answer, whose body may be the specification's error JSON.
    pub(super) fn refused(method: &'static str, url: &str, status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            errors: Vec<One>,
        }
        #[derive(Deserialize, Default)]
        struct One {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let first = serde_json::from_slice::<Body>(body).ok().and_then(|body| body.errors.into_iter().next());
        let One { code, message } = first.unwrap_or_default();
        Self::Refused { method, url: url.to_owned(), status, code, message }
    }
}
