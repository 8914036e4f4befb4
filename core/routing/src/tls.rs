//! How TLS is spoken, with clients and with servers: plain settings, which the edge makes configurations of.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// With clients, at a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTls {
    /// None: 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// None: 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// By their IANA names, the best first; empty: all that are known. Those of TLS 1.3 are always offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// The order above counts, not the client's.
    pub prefers_own_order: bool,
    pub tickets_disabled: bool,
    /// Sessions of TLS 1.2 that are remembered for clients without tickets; none: the edge's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_cache: Option<u32>,
    pub client_certificates: ClientCertificates,
    /// Who vouches for clients, in PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_authorities: String,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    #[default]
    No,
    /// Who shows none is served too.
    IfGiven,
    Required,
}

/// With the servers of a route whose URLs are `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// Whoever answers is believed: for tests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Who vouches for servers, in PEM; empty: whom the machine trusts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authorities: String,
    /// Whom their certificates name; empty: the host of their URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
}

impl ServerTls {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
