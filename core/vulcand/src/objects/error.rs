//! What a value can get wrong.

use super::VALUE_BYTES_MAX;
use middleware::SpecError;
use routing::{ParseError, UrlError};

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("invalid JSON")]
    Json(#[source] serde_json::Error),
    #[error("the value has {bytes} bytes, more than {VALUE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("type {found:?}: only \"http\" is known")]
    Type { found: String },
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("route {route:?}")]
    Route { route: String, source: ParseError },
    #[error("failover predicate {predicate:?}")]
    Failover { predicate: String, source: ParseError },
    #[error("server")]
    Server(#[source] UrlError),
    #[error("{field}: {message}")]
    Duration { field: &'static str, message: String },
    #[error("{field} {found:?} is not supported")]
    Unsupported { field: &'static str, found: String },
    #[error("address {address:?} is not IP:PORT")]
    Address { address: String },
    #[error("middleware")]
    Middleware(#[source] SpecError),
    #[error("a host is JSON, and its KeyPair the text of a sealed one")]
    Host,
}

impl ObjectError {
    /// What is wrong, where it is one field.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Json(_) | Self::TooLarge { .. } | Self::Host => None,
            Self::Type { .. } => Some("Type"),
            Self::Missing { field } | Self::Duration { field, .. } | Self::Unsupported { field, .. } => Some(field),
            Self::Route { .. } => Some("Route"),
            Self::Failover { .. } => Some("Settings.FailoverPredicate"),
            Self::Server(_) => Some("URL"),
            Self::Address { .. } => Some("Address.Address"),
            Self::Middleware(_) => Some("Middleware"),
        }
    }
}
