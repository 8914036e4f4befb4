//! What the shell does beside the request; nobody waits for it, and its failure is logged.

use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Effect {
    /// A circuit breaker tripped or recovered, and somebody wants to know.
    Webhook(Arc<Webhook>),
    /// One request's trace, to be sent as a datagram.
    Trace { to: Arc<Syslog>, message: String },
}

/// A request to make, without a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub method: String,
    /// `http://…` or `https://…`.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub transport: SyslogTransport,
    /// RFC 5424 section 6.2.1: facility * 8 + severity.
    pub priority: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTransport {
    /// `host:port`
    Udp(String),
    /// A datagram socket in the file system.
    Unix(String),
    /// This machine's own (`/dev/log`).
    Local,
}
