//! Where clients are listened for, and how they are spoken to.

use super::{HTTP, ObjectError, TlsSettings, is_default, read};
use routing::{Expression, ListenerTls};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

const HTTPS: &str = "https";

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
