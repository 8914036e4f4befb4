//! One route: which requests it takes and where they go.

use crate::balance::{Balance, BalanceError, BalanceSpec, BufferSpec, MirrorTo};
use crate::document::{RouteDocument, RouteServer, SERVERS_MAX};
use crate::expression::Expression;
use crate::lexer::ParseError;
use crate::predicate::Predicate;
use crate::tcp::{TcpError, TcpRule, TcpSpec, check_balance};
use crate::tls::ServerTls;
use crate::url::{ServerUrl, UrlError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What a provider asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Unique in a table.
    pub id: String,
    pub rule: String,
    pub priority: Option<i64>,
    /// Id, URL, weight.
    pub servers: Vec<(String, String, u32)>,
    pub pass_host_header: bool,
    /// What clients say of themselves in `X-Forwarded-*` is kept.
    pub trust_forward_header: bool,
    /// The value of `X-Forwarded-Server`; empty: the edge's own.
    pub forwarded_server: String,
    pub failover_predicate: String,
    pub app: Option<String>,
    /// 0: no limit.
    pub body_bytes_max: u64,
    pub dial_timeout: Option<Duration>,
    /// For TLS with a server, once it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_timeout: Option<Duration>,
    /// Until the head of the response.
    pub head_timeout: Option<Duration>,
    /// Why requests must be refused instead of served, e.g. a protection was asked for that the edge does not have.
    pub refuse: Option<String>,
    /// Which server takes a request; names the canary's servers, too.
    #[serde(default, skip_serializing_if = "BalanceSpec::is_default")]
    pub balance: BalanceSpec,
    /// How servers are spoken to whose URLs are `https://`.
    #[serde(default, skip_serializing_if = "ServerTls::is_default")]
    pub server_tls: ServerTls,
    /// What is done to requests on their way, as `core/middleware` reads it; not looked at here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<Value>,
    /// It takes TCP connections, not requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<SendProxy>,
}

/// A checked route, quick to match.
#[derive(Clone, Debug)]
pub struct Route {
    pub id: String,
    pub expression: Arc<Expression>,
    pub priority: Option<i64>,
    /// The same list for all routes of one backend.
    pub servers: Arc<[Server]>,
    pub pass_host_header: bool,
    pub trust_forward_header: bool,
    pub forwarded_server: String,
    pub failover: Arc<Predicate>,
    pub app: Option<String>,
    pub body_bytes_max: u64,
    pub dial_timeout: Option<Duration>,
    pub handshake_timeout: Option<Duration>,
    pub head_timeout: Option<Duration>,
    pub service: Service,
    pub balance: Balance,
    pub server_tls: ServerTls,
    /// As they were asked for.
    pub middlewares: Vec<Value>,
    /// It takes TCP connections, not requests.
    pub tcp: Option<TcpRule>,
    pub send_proxy: Option<SendProxy>,
}

/// The PROXY header in front of each connection to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendProxy {
    V1,
    V2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    Serve,
    /// Every request is refused, for this reason.
    Refuse(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub id: String,
    pub url: ServerUrl,
    pub weight: u32,
    /// One of the canary's.
    pub is_canary: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("document version {v}: this edge knows version 0")]
    Version { v: u32 },
    #[error("rule {rule:?}")]
    Rule { rule: String, source: ParseError },
    #[error("failover predicate {predicate:?}")]
    Failover { predicate: String, source: ParseError },
    #[error("server {id:?}")]
    Server { id: String, source: UrlError },
    #[error("balance")]
    Balance(#[source] BalanceError),
    #[error("tcp")]
    Tcp(#[source] TcpError),
    #[error("{count} servers: a route may have {SERVERS_MAX}")]
    TooManyServers { count: usize },
}

impl RouteSpec {
    /// A route of Roadstead's own.
    pub fn of_document(id: &str, document: RouteDocument) -> Result<Self, RouteError> {
        if document.v != 0 {
            return Err(RouteError::Version { v: document.v });
        }
        Ok(Self {
            id: id.to_owned(),
            rule: document.rule,
            priority: document.priority,
            servers: document.servers.into_iter().map(|server| (server.id, server.url, server.weight)).collect(),
            pass_host_header: document.pass_host_header,
            failover_predicate: document.failover_predicate,
            app: document.app,
            balance: document.balance,
            server_tls: document.server_tls,
            middlewares: document.middlewares,
            tcp: document.tcp,
            send_proxy: document.send_proxy,
            ..Self::default()
        })
    }
}

impl Route {
    pub fn compile(mut spec: RouteSpec) -> Result<Self, RouteError> {
        let tcp = spec.tcp.as_ref().map(|tcp| tcp_rule(tcp, &spec)).transpose().map_err(RouteError::Tcp)?;
        if tcp.is_some() {
            tcp_servers(&mut spec.servers)?;
        }
        let expression = if tcp.is_some() { Ok(Expression::nothing()) } else { Expression::parse(&spec.rule) };
        let expression = expression.map_err(|source| RouteError::Rule { rule: spec.rule, source })?;
        let failover = Predicate::parse(&spec.failover_predicate);
        let failover =
            failover.map_err(|source| RouteError::Failover { predicate: spec.failover_predicate, source })?;
        let balance = Balance::compile(spec.balance).map_err(RouteError::Balance)?;
        let canary = balance.spec().canary.as_ref().map_or(&[][..], |canary| &canary.servers);
        let servers = Server::list(spec.servers, canary)?;
        if let Some(MirrorTo::Servers(mirrors)) = balance.mirror().map(|mirror| &mirror.to) {
            for server in mirrors {
                ServerUrl::parse(&server.url).map_err(|source| RouteError::Server { id: server.id.clone(), source })?;
            }
        }
        Ok(Self {
            id: spec.id,
            expression: Arc::new(expression),
            priority: spec.priority,
            servers,
            pass_host_header: spec.pass_host_header,
            trust_forward_header: spec.trust_forward_header,
            forwarded_server: spec.forwarded_server,
            failover: Arc::new(failover),
            app: spec.app,
            body_bytes_max: spec.body_bytes_max,
            dial_timeout: spec.dial_timeout,
            handshake_timeout: spec.handshake_timeout,
            head_timeout: spec.head_timeout,
            service: spec.refuse.map_or(Service::Serve, Service::Refuse),
            balance,
            server_tls: spec.server_tls,
            middlewares: spec.middlewares,
            tcp,
            send_proxy: spec.send_proxy,
        })
    }
}

fn tcp_rule(tcp: &TcpSpec, spec: &RouteSpec) -> Result<TcpRule, TcpError> {
    let needs = |field| Err(TcpError::NeedsRequests { field });
    match () {
        () if !spec.rule.is_empty() => needs("rule"),
        () if !spec.middlewares.is_empty() => needs("middlewares"),
        () if !spec.failover_predicate.is_empty() => needs("failover_predicate"),
        () => check_balance(&spec.balance),
    }?;
    TcpRule::compile(tcp.clone())
}

/// A server is known by one URL, whatever is spoken with it.
fn tcp_servers(servers: &mut [(String, String, u32)]) -> Result<(), RouteError> {
    for (id, url, _) in servers {
        if let Some(authority) = url.strip_prefix("tcp://") {
            *url = format!("http://{authority}");
        } else if !url.starts_with("http://") {
            return Err(RouteError::Server { id: id.clone(), source: UrlError::Form { url: url.clone() } });
        }
    }
    Ok(())
}

impl Server {
    /// A route's own servers, by id, URL and weight, and its canary's.
    pub fn list(own: Vec<(String, String, u32)>, canary: &[RouteServer]) -> Result<Arc<[Self]>, RouteError> {
        if own.len() > SERVERS_MAX {
            return Err(RouteError::TooManyServers { count: own.len() });
        }
        let own = own.into_iter().map(|(id, url, weight)| (id, url, weight, false));
        let asked_for =
            own.chain(canary.iter().map(|server| (server.id.clone(), server.url.clone(), server.weight, true)));
        let mut servers = Vec::with_capacity(asked_for.size_hint().0);
        let mut seen = HashSet::new();
        for (id, url, weight, is_canary) in asked_for {
            let url = match ServerUrl::parse(&url) {
                Ok(url) => url,
                Err(source) => return Err(RouteError::Server { id, source }),
            };
            // Two names of one address are one server, as in vulcand: the first counts.
            if seen.insert(url.clone()) {
                servers.push(Self { id, url, weight, is_canary });
            }
        }
        Ok(servers.into())
    }
}

impl Route {
    /// The same route with other servers: nothing is parsed again.
    pub fn with_servers(&self, servers: Arc<[Server]>) -> Self {
        Self { servers, ..self.clone() }
    }

    /// Of a request's body that is taken whole, so that it can be sent again: the bytes that stay in memory. `None`: bodies
    /// of this method stream. It is asked for by `buffer`, or by a failover predicate that names the method.
    pub fn buffered_bytes(&self, method: &str) -> Option<u32> {
        if let Some(BufferSpec { memory_bytes }) = self.balance.spec().buffer {
            return Some(memory_bytes);
        }
        // The default names GET, whose bodies mean nothing.
        let is_named = !matches!(method, "GET" | "HEAD") && self.failover.names_method(method);
        is_named.then_some(BufferSpec::MEMORY_BYTES)
    }

    /// What compiles to this route.
    pub fn spec(&self) -> RouteSpec {
        let server = |server: &Server| (server.id.clone(), server.url.as_str().to_owned(), server.weight);
        RouteSpec {
            id: self.id.clone(),
            rule: self.expression.as_str().to_owned(),
            priority: self.priority,
            servers: self.servers.iter().filter(|server| !server.is_canary).map(server).collect(),
            pass_host_header: self.pass_host_header,
            trust_forward_header: self.trust_forward_header,
            forwarded_server: self.forwarded_server.clone(),
            failover_predicate: self.failover.as_str().to_owned(),
            app: self.app.clone(),
            body_bytes_max: self.body_bytes_max,
            dial_timeout: self.dial_timeout,
            handshake_timeout: self.handshake_timeout,
            head_timeout: self.head_timeout,
            refuse: match &self.service {
                Service::Serve => None,
                Service::Refuse(reason) => Some(reason.clone()),
            },
            balance: self.balance.spec().clone(),
            server_tls: self.server_tls.clone(),
            middlewares: self.middlewares.clone(),
            tcp: self.tcp.as_ref().map(|tcp| tcp.spec().clone()),
            send_proxy: self.send_proxy,
        }
    }
}

#[cfg(test)]
mod tests;
