//! Connections to servers.
//!
//! # A machine that vanished
//! Nothing comes back from it, not even a refusal, so time must tell:
//!
//! | a request | finds out after | by |
//! |---|---|---|
//! | that needs a new connection | `DIAL_TIMEOUT` | no SYN-ACK |
//! | sent on a kept connection | `UNACKED_MAX` | TCP_USER_TIMEOUT: its bytes are not acknowledged |
//! | that was acknowledged and waits for its answer | 2 × `KEEP_ALIVE_INTERVAL` | TCP keep-alive |
//! | with a large body, or a tunnel | `UNACKED_MAX_FOR_BODY` | TCP_USER_TIMEOUT |
//!
//! Then the failover's rules decide (see [`super`]), kept connections to the server are dropped, and its whole machine is
//! passed over. TCP_USER_TIMEOUT also kills a connection whose receiver keeps its window closed, so connections are of two
//! kinds ([`Patience`]), and a request takes only one of its own.

use super::answer::Failure;
use super::line::Line;
use super::thread::Worker;
use super::tls::Tls;
use crate::limits::{KEEP_ALIVE_INTERVAL, UNACKED_MAX, UNACKED_MAX_FOR_BODY};
use crate::secure::ALPN_HTTP2;
use crate::secure::servers::Upstream;
use lifecycle::BoxError;
use routing::{Scheme, ServerUrl};
use socket2::{SockRef, TcpKeepalive};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection to a server that carries one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    pub line: Line,
    pub patience: Patience,
    /// It carried a request before, so the server may be closing it just now.
    pub is_reused: bool,
    /// Its last response had no body. Servers that send one nevertheless (to HEAD, say) may do so just now.
    pub is_doubted: bool,
    /// Its last response had a body that was worth to go through the kernel alone.
    pub brings_much: bool,
}

/// How long a connection waits for bytes to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// For requests that fit into any window: `UNACKED_MAX`.
    Short,
    /// For large bodies and tunnels: `UNACKED_MAX_FOR_BODY`.
    Long,
}

/// What a request asks of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    /// How its server is spoken to over TLS, if it is.
    pub upstream: Option<&'a Arc<Upstream>>,
    pub patience: Patience,
    /// It would switch protocols, which every server that does so knows of HTTP/1.1.
    pub switches: bool,
}

/// How long it may take to make one.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialTimes {
    pub dial: Duration,
    /// For TLS, behind that.
    pub handshake: Duration,
}

impl Want<'_> {
    /// Whether it may be a stream among others of a connection to this server.
    pub fn takes_http2(self, url: &ServerUrl) -> bool {
        match url.scheme() {
            Scheme::Http | Scheme::Https => false,
            Scheme::H2 => !self.switches,
            Scheme::H2c => true,
        }
    }

    /// Whether it may take a connection of this kind.
    pub fn is_met_by(self, upstream: Option<&Arc<Upstream>>, patience: Patience) -> bool {
        self.patience == patience && self.upstream.map(Arc::as_ptr) == upstream.map(Arc::as_ptr)
    }
}

impl Connection {
    pub async fn dial(worker: &Worker, url: &ServerUrl, want: Want<'_>, times: DialTimes) -> Result<Self, Failure> {
        Self::dial_plain(url, want.patience, times.dial).await?.introduced(worker, url, want, times, &[]).await
    }

    pub async fn dial_plain(url: &ServerUrl, patience: Patience, time: Duration) -> Result<Self, Failure> {
        let line = Line::Plain(connect(url, patience, time).await?);
        Ok(Self { line, patience, is_reused: false, is_doubted: false, brings_much: false })
    }

    /// Ready for requests: `header` says whom it is for, and the rest goes over TLS where that is asked for.
    pub async fn introduced(
        mut self,
        worker: &Worker,
        url: &ServerUrl,
        want: Want<'_>,
        times: DialTimes,
        header: &[u8],
    ) -> Result<Self, Failure> {
        // A new connection takes it at once, or is closed already.
        if !header.is_empty() && self.line.try_write(header, &[]).map_err(Failure::Dial)? < header.len() {
            return Err(Failure::Dial(io::ErrorKind::WriteZero.into()));
        }
        let Some(upstream) = want.upstream else { return Ok(self) };
        let counts = &worker.house.metrics.busy().server_handshakes;
        // Boxed, since most connections do not need it.
        let secured = Box::pin(self.secured(url, upstream, want.takes_http2(url), times.handshake)).await;
        match &secured {
            Ok(connection) => counts.succeeded(&connection.line),
            Err(_) => counts.failed.add(1),
        }
        secured
    }

    /// Over TLS from here on. The server's machine is there, so that this has its own time.
    async fn secured(
        self,
        url: &ServerUrl,
        upstream: &Arc<Upstream>,
        offers_http2: bool,
        time: Duration,
    ) -> Result<Self, Failure> {
        let refused = |error: BoxError| Failure::Handshake(io::Error::other(error));
        let Line::Plain(stream) = self.line else { return Ok(self) };
        let name = upstream.name_of(url).map_err(|error| refused(error.into()))?;
        let tls = Tls::connect(stream, upstream.clone(), name, offers_http2).map_err(|error| refused(error.into()))?;
        let mut line = Line::Tls(Box::new(tls));
        match timeout(time, poll_fn(|context| line.poll_handshake(context))).await {
            Ok(Ok(())) => Ok(Self { line, ..self }),
            Ok(Err(error)) => Err(Failure::Handshake(error)),
            Err(_) => Err(Failure::Handshake(io::ErrorKind::TimedOut.into())),
        }
    }

    /// A new one to a server that [takes](Want::takes_http2) HTTP/2: whether that is what it is for. In the clear nobody is
    /// asked.
    pub fn is_http2(&self) -> bool {
        self.line.tls().is_none_or(|tls| tls.agreed().alpn_protocol() == Some(ALPN_HTTP2))
    }

    /// Whether a request may take it that asks for this.
    pub fn is_for(&self, want: Want<'_>) -> bool {
        want.is_met_by(self.line.upstream(), self.patience)
    }
}

pub(super) async fn connect(url: &ServerUrl, patience: Patience, time: Duration) -> Result<TcpStream, Failure> {
    let stream = match timeout(time, TcpStream::connect((url.host(), url.port()))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Failure::Dial(error)),
        Err(_) => return Err(Failure::DialTimeout),
    };
    // A socket that refuses is already closing, which the exchange will show.
    let _closing = prepare(&stream, patience);
    Ok(stream)
}

fn prepare(stream: &TcpStream, patience: Patience) -> io::Result<()> {
    let unacked_max = match patience {
        Patience::Short => UNACKED_MAX,
        Patience::Long => UNACKED_MAX_FOR_BODY,
    };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(unacked_max))?;
    // With a user timeout it, not a number of probes, decides when to give up (tcp(7)).
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE_INTERVAL).with_interval(KEEP_ALIVE_INTERVAL))
}
