//! Roadstead's own route document: one JSON value under `/roadstead/routes/<id>` says all of a route, so that a change of
//! rule, servers and weights is one write. Version 0: may change without a migration before the first release.

use crate::balance::BalanceSpec;
use crate::route::SendProxy;
use crate::tcp::TcpSpec;
use crate::tls::ServerTls;
use serde::{Deserialize, Serialize};

/// Where route documents live in the store; the route's id follows.
pub const ROUTES_PREFIX: &str = "/roadstead/routes/";

/// Servers one route may have.
pub const SERVERS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDocument {
    /// The format's version: 0.
    pub v: u32,
    /// A route expression, e.g. ``Host(`s3pics.localhost`)``; a TCP route has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Higher goes first; without one, the edge's documented order decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    pub servers: Vec<RouteServer>,
    /// Whether the client's Host header reaches the server (on for S3: signatures cover it).
    #[serde(default)]
    pub pass_host_header: bool,
    /// vulcand's failover predicate; empty means vulcand's default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failover_predicate: String,
    /// The app this route serves, for people and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// What is done to requests on their way, as `core/middleware` reads it. A document with one that cannot be read is not
    /// served unprotected: its last good value serves on, or it refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<serde_json::Value>,
    /// Which server takes a request.
    #[serde(default, skip_serializing_if = "BalanceSpec::is_default")]
    pub balance: BalanceSpec,
    /// How servers are spoken to whose URLs are `https://`.
    #[serde(default, skip_serializing_if = "ServerTls::is_default")]
    pub server_tls: ServerTls,
    /// It takes TCP connections, not requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpSpec>,
    /// Servers are told of each client by a PROXY header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<SendProxy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteServer {
    /// The task's id, or any name unique in the route.
    pub id: String,
    /// `http://host:port`, or `https://host:port` over TLS; of a TCP route also `tcp://host:port`.
    pub url: String,
    /// Relative share of requests; 1 by default, 0 takes none.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}
