//! vulcand's JSON values, with Go's leniency in reading and Go's names in writing.
//!
//! Reading checks whatever a value alone can get wrong, so that what is kept can be served.

mod host;
mod tls;

pub use host::{Host, HostOcsp, HostSettings};
pub use tls::{SessionCache, SessionCacheSettings, TlsSettings};

use crate::json;
use middleware::{SpecError, duration};
use routing::{Expression, ListenerTls, ParseError, Predicate, ServerTls, ServerUrl, UrlError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes one value may have (etcd's own request limit is 1.5 MiB).
const VALUE_BYTES_MAX: usize = 1 << 20;

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

/// `/vulcand/listeners/<id>`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    #[serde(rename(serialize = "Id", deserialize = "id"))]
    pub id: String,
    #[serde(rename(serialize = "Protocol", deserialize = "protocol"))]
    pub protocol: String,
    #[serde(rename(serialize = "Address", deserialize = "address"))]
    pub address: ListenerAddress,
    #[serde(rename(serialize = "Scope", deserialize = "scope"))]
    pub scope: String,
    #[serde(rename(serialize = "ProxyProtocol", deserialize = "proxyprotocol"))]
    pub proxy_protocol: String,
    #[serde(rename(serialize = "Settings", deserialize = "settings"), skip_serializing_if = "is_default")]
    pub settings: ListenerSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerSettings {
    #[serde(rename(serialize = "TLS", deserialize = "tls"), skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

/// Which PROXY header a listener awaits in front of each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProxyHeader {
    #[default]
    None,
    V1,
    V2,
    Either,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerAddress {
    #[serde(rename(serialize = "Network", deserialize = "network"))]
    pub network: String,
    #[serde(rename(serialize = "Address", deserialize = "address"))]
    pub address: String,
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

impl Listener {
    pub fn parse(id: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let listener = Self { id: id.to_owned(), ..read(bytes)? };
        let unsupported = |field, found: &str| Err(ObjectError::Unsupported { field, found: found.to_owned() });
        match listener.protocol.to_ascii_lowercase().as_str() {
            "" | HTTP | HTTPS => {}
            _ => return unsupported("protocol", &listener.protocol),
        }
        match listener.address.network.to_ascii_lowercase().as_str() {
            "" | "tcp" | "tcp4" | "tcp6" => {}
            _ => return unsupported("network", &listener.address.network),
        }
        listener.proxy_header()?;
        listener.socket_address()?;
        listener.tls()?;
        if !listener.scope.is_empty() {
            let route = || listener.scope.clone();
            Expression::parse(&listener.scope).map_err(|source| ObjectError::Route { route: route(), source })?;
        }
        Ok(listener)
    }

    /// How its clients are spoken to over TLS, and what of that is not done; `None`: they are not.
    pub fn tls(&self) -> Result<Option<(ListenerTls, Vec<String>)>, ObjectError> {
        if !self.protocol.eq_ignore_ascii_case(HTTPS) {
            return Ok(None);
        }
        self.settings.tls.clone().unwrap_or_default().listener().map(Some)
    }

    /// vulcand knows `PROXY_V1`.
    pub fn proxy_header(&self) -> Result<ProxyHeader, ObjectError> {
        match self.proxy_protocol.as_str() {
            "" | "NONE" => Ok(ProxyHeader::None),
            "PROXY_V1" => Ok(ProxyHeader::V1),
            "PROXY_V2" => Ok(ProxyHeader::V2),
            "PROXY" => Ok(ProxyHeader::Either),
            other => Err(ObjectError::Unsupported { field: "ProxyProtocol", found: other.to_owned() }),
        }
    }

    /// An empty host is every address, `localhost` is 127.0.0.1; no other name is looked up.
    pub fn socket_address(&self) -> Result<SocketAddr, ObjectError> {
        let text = &self.address.address;
        let text = match text.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => text.replacen("localhost:", "127.0.0.1:", 1),
        };
        text.parse().map_err(|_| ObjectError::Address { address: self.address.address.clone() })
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
const HTTPS: &str = "https";

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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn field_names_match_whatever_their_case_and_the_keys_id_wins() {
        let server = Server::parse("s1", br#"{"ID":"other","Url":"http://localhost:5000","Unknown":[1]}"#).unwrap();
        assert_eq!(server, Server::new("s1", "http://localhost:5000"));
        let frontend = br#"{"type":"http","BACKENDID":"b1","route":"Host(`a`)","Settings":{"passhostheader":true,
            "Limits":{"MaxBodyBytes":7},"FailoverPredicate":null,"Hostname":"edge"}}"#;
        let frontend = Frontend::parse("f1", frontend).unwrap();
        assert!(frontend.settings.pass_host_header);
        assert_eq!(frontend.settings.limits.max_body_bytes, 7);
        assert_eq!((frontend.id.as_str(), frontend.settings.hostname.as_str()), ("f1", "edge"));
    }

    #[test]
    fn values_are_written_as_vulcand_writes_them() {
        let text = |value: Value| value.to_string();
        let server = serde_json::to_string(&Server::new("h-1", "http://h:1")).unwrap();
        assert_eq!(server, r#"{"Id":"h-1","URL":"http://h:1"}"#);
        assert_eq!(text(serde_json::to_value(Backend::new("b")).unwrap()), r#"{"Id":"b","Type":"http"}"#);
        let frontend = Frontend::new("f", "b", "Host(`a`)");
        let written = serde_json::to_vec(&frontend).unwrap();
        assert_eq!(Frontend::parse("f", &written).unwrap(), frontend);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        assert!(matches!(Backend::parse("b", b"{}"), Err(ObjectError::Missing { field: "Type" })));
        assert!(matches!(Backend::parse("b", b"[]"), Err(ObjectError::Json(_))));
        assert!(matches!(Backend::parse("b", br#"{"Type":"tcp"}"#), Err(ObjectError::Type { .. })));
        let timeouts = br#"{"Type":"http","Settings":{"Timeouts":{"Dial":"x"}}}"#;
        assert!(matches!(Backend::parse("b", timeouts), Err(ObjectError::Duration { .. })));
        let timeouts = br#"{"Type":"http","Settings":{"Timeouts":{"TLSHandshake":"x"}}}"#;
        assert!(matches!(Backend::parse("b", timeouts), Err(ObjectError::Duration { .. })));
        let route = br#"{"Type":"http","BackendId":"b","Route":"nonsense"}"#;
        assert!(matches!(Frontend::parse("f", route), Err(ObjectError::Route { .. })));
        assert!(matches!(Server::parse("s", br#"{"URL":"tcp://a"}"#), Err(ObjectError::Server(_))));
        for listener in [
            r#"{"Protocol":"ftp","Address":{"Network":"tcp","Address":"127.0.0.1:1"}}"#,
            r#"{"Protocol":"https","Address":{"Address":"127.0.0.1:1"},"Settings":{"TLS":{"MaxVersion":"x"}}}"#,
            r#"{"Protocol":"http","Address":{"Network":"unix","Address":"/tmp/x"}}"#,
            r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"example.com:1"}}"#,
            r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"127.0.0.1:1"},"ProxyProtocol":"PROXY_V3"}"#,
            r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"127.0.0.1:1"},"Scope":"x"}"#,
        ] {
            assert!(Listener::parse("l", listener.as_bytes()).is_err(), "{listener}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), json in ".{0,64}") {
            for bytes in [bytes.as_slice(), json.as_bytes()] {
                let _results = (
                    Server::parse("x", bytes).is_ok(),
                    Backend::parse("x", bytes).is_ok(),
                    Frontend::parse("x", bytes).is_ok(),
                    Listener::parse("x", bytes).is_ok(),
                    Middleware::parse("x", bytes).is_ok(),
                );
            }
        }
    }
}
