//! vulcand's JSON values, with Go's leniency in reading and Go's names in writing.
//!
//! Reading checks whatever a value alone can get wrong, so that what is kept can be served.

mod error;
mod host;
mod listener;
mod tls;

pub use error::ObjectError;
pub use host::{Host, HostOcsp, HostSettings};
pub use listener::{Listener, ListenerAddress, ListenerSettings, ProxyHeader};
pub use tls::{SessionCache, SessionCacheSettings, TlsSettings};

use crate::json;
use middleware::duration;
use routing::{Expression, Predicate, ServerTls, ServerUrl};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes one value may have (etcd's own request limit is 1.5 MiB).
const VALUE_BYTES_MAX: usize = 1 << 20;

/// `/vulcand/backends/<id>/servers/<sid>`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    #[serde(rename(serialize = "Id", deserialize = "id"))]
    pub id: String,
    #[serde(rename(serialize = "URL", deserialize = "url"))]
    pub url: String,
}

/// `/vulcand/backends/<id>/backend`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Backend {
    #[serde(rename(serialize = "Id", deserialize = "id"))]
    pub id: String,
    #[serde(rename(serialize = "Type", deserialize = "type"))]
    pub kind: String,
    #[serde(rename(serialize = "Settings", deserialize = "settings"), skip_serializing_if = "is_default")]
    pub settings: BackendSettings,
}

/// Of vulcand's settings those that change what is served. `KeepAlive` is the edge's own business.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendSettings {
    #[serde(rename(serialize = "Timeouts", deserialize = "timeouts"), skip_serializing_if = "is_default")]
    pub timeouts: BackendTimeouts,
    #[serde(rename(serialize = "TLS", deserialize = "tls"), skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendTimeouts {
    /// Until the head of the response.
    #[serde(rename(serialize = "Read", deserialize = "read"), skip_serializing_if = "String::is_empty")]
    pub read: String,
    #[serde(rename(serialize = "Dial", deserialize = "dial"), skip_serializing_if = "String::is_empty")]
    pub dial: String,
    #[serde(
        rename(serialize = "TLSHandshake", deserialize = "tlshandshake"),
        skip_serializing_if = "String::is_empty"
    )]
    pub tls_handshake: String,
}

/// `/vulcand/frontends/<id>/frontend`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontend {
    #[serde(rename(serialize = "Id", deserialize = "id"))]
    pub id: String,
    #[serde(rename(serialize = "Type", deserialize = "type"))]
    pub kind: String,
    #[serde(rename(serialize = "BackendId", deserialize = "backendid"))]
    pub backend_id: String,
    #[serde(rename(serialize = "Route", deserialize = "route"))]
    pub route: String,
    #[serde(rename(serialize = "Settings", deserialize = "settings"), skip_serializing_if = "is_default")]
    pub settings: FrontendSettings,
}

/// `StreamFlushIntervalNanoSecs` is accepted and changes nothing. Bodies stream unless `MaxMemBodyBytes` asks for more and
/// `Stream` does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontendSettings {
    #[serde(rename(serialize = "Limits", deserialize = "limits"), skip_serializing_if = "is_default")]
    pub limits: FrontendLimits,
    #[serde(
        rename(serialize = "FailoverPredicate", deserialize = "failoverpredicate"),
        skip_serializing_if = "String::is_empty"
    )]
    pub failover_predicate: String,
    #[serde(rename(serialize = "Hostname", deserialize = "hostname"), skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(rename(serialize = "TrustForwardHeader", deserialize = "trustforwardheader"))]
    pub trust_forward_header: bool,
    #[serde(rename(serialize = "PassHostHeader", deserialize = "passhostheader"))]
    pub pass_host_header: bool,
    #[serde(rename(serialize = "Stream", deserialize = "stream"), skip_serializing_if = "is_default")]
    pub stream: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontendLimits {
    /// Of a body that is kept whole; 0: bodies stream (vulcand keeps 1 MiB then).
    #[serde(
        rename(serialize = "MaxMemBodyBytes", deserialize = "maxmembodybytes"),
        skip_serializing_if = "is_default"
    )]
    pub max_mem_body_bytes: i64,
    /// 0: no limit.
    #[serde(rename(serialize = "MaxBodyBytes", deserialize = "maxbodybytes"))]
    pub max_body_bytes: i64,
}

/// `/vulcand/frontends/<id>/middlewares/<mid>`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Middleware {
    #[serde(rename(serialize = "Id", deserialize = "id"))]
    pub id: String,
    #[serde(rename(serialize = "Priority", deserialize = "priority"))]
    pub priority: i64,
    #[serde(rename(serialize = "Type", deserialize = "type"))]
    pub kind: String,
    #[serde(rename(serialize = "Middleware", deserialize = "middleware"))]
    pub middleware: Value,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Server {
    pub fn new(id: impl Into<String>, url: impl Into<String>) -> Self {
        Self { id: id.into(), url: url.into() }
    }

    pub fn parse(id: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let server = Self { id: id.to_owned(), ..read(bytes)? };
        ServerUrl::parse(&server.url).map_err(ObjectError::Server)?;
        Ok(server)
    }
}

impl Backend {
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), kind: HTTP.to_owned(), settings: BackendSettings::default() }
    }

    pub fn parse(id: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let backend = Self { id: id.to_owned(), ..read(bytes)? };
        check_type(&backend.kind)?;
        backend.dial_timeout()?;
        backend.handshake_timeout()?;
        backend.read_timeout()?;
        backend.tls()?;
        Ok(backend)
    }

    /// How its servers are spoken to over TLS, and what of that is not done.
    pub fn tls(&self) -> Result<(ServerTls, Vec<String>), ObjectError> {
        self.settings.tls.as_ref().map_or_else(|| Ok(Default::default()), TlsSettings::servers)
    }

    pub fn dial_timeout(&self) -> Result<Option<Duration>, ObjectError> {
        timeout("Timeouts.Dial", &self.settings.timeouts.dial)
    }

    pub fn handshake_timeout(&self) -> Result<Option<Duration>, ObjectError> {
        timeout("Timeouts.TLSHandshake", &self.settings.timeouts.tls_handshake)
    }

    pub fn read_timeout(&self) -> Result<Option<Duration>, ObjectError> {
        timeout("Timeouts.Read", &self.settings.timeouts.read)
    }
}

impl Frontend {
    pub fn new(id: impl Into<String>, backend_id: impl Into<String>, route: impl Into<String>) -> Self {
        let settings = FrontendSettings::default();
        Self { id: id.into(), kind: HTTP.to_owned(), backend_id: backend_id.into(), route: route.into(), settings }
    }

    pub fn parse(id: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let frontend = Self { id: id.to_owned(), ..read(bytes)? };
        check_type(&frontend.kind)?;
        if frontend.backend_id.is_empty() {
            return Err(ObjectError::Missing { field: "BackendId" });
        }
        let route = || frontend.route.clone();
        Expression::parse(&frontend.route).map_err(|source| ObjectError::Route { route: route(), source })?;
        let predicate = &frontend.settings.failover_predicate;
        let failover = |source| ObjectError::Failover { predicate: predicate.clone(), source };
        Predicate::parse(predicate).map_err(failover)?;
        Ok(frontend)
    }
}

impl Middleware {
    pub fn parse(id: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let object = Self { id: id.to_owned(), ..read(bytes)? };
        let Self { id, priority, kind, middleware } = object.clone();
        middleware::Middleware::new(id, priority, kind, middleware).map_err(ObjectError::Middleware)?;
        Ok(object)
    }

    /// As a route has it.
    pub fn value(&self) -> Value {
        json!({ "Id": self.id, "Priority": self.priority, "Type": self.kind, "Middleware": self.middleware })
    }
}

const HTTP: &str = "http";

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ObjectError> {
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(ObjectError::TooLarge { bytes: bytes.len() });
    }
    json::read(bytes).map_err(ObjectError::Json)
}

fn check_type(kind: &str) -> Result<(), ObjectError> {
    match kind {
        HTTP => Ok(()),
        "" => Err(ObjectError::Missing { field: "Type" }),
        other => Err(ObjectError::Type { found: other.to_owned() }),
    }
}

fn timeout(field: &'static str, text: &str) -> Result<Option<Duration>, ObjectError> {
    duration::parse(text).map_err(|message| ObjectError::Duration { field, message })
}

#[cfg(test)]
mod tests;
