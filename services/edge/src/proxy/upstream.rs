//! Connections to servers: dialled, kept, and asked.
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
use super::body::RequestBody;
use crate::limits::{
    HEAD_BYTES_MAX, HEADERS_MAX, IDLE_CONNECTION_MAX, IDLE_CONNECTION_MAX_FOR_BODY, IDLE_CONNECTIONS_MAX,
    KEEP_ALIVE_INTERVAL, REUSE_READY_MAX, UNACKED_MAX, UNACKED_MAX_FOR_BODY,
};
use crate::servers::{Server, lock};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A connection to a server that carries one request at a time.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    patience: Patience,
    /// It carried a request before, so the server may be closing it just now.
    pub reused: bool,
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub(crate) struct Idle {
    sender: SendRequest<RequestBody>,
    patience: Patience,
    since: Instant,
}

/// How long a connection waits for bytes to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For requests that fit into any window: `UNACKED_MAX`.
    Short,
    /// For large bodies and tunnels: `UNACKED_MAX_FOR_BODY`.
    Long,
}

/// What a request asks of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub reuse: Reuse,
    pub patience: Patience,
    pub dial_timeout: Duration,
}

/// Which kept connections a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It can be sent again if the connection turns out to be dead.
    Any,
    /// It cannot: only one that was in use a moment ago.
    Recent,
    /// A kept one has just failed.
    None,
}

/// A request that was not answered; given back when no byte of it was sent.
pub(crate) struct Unanswered {
    pub failure: Failure,
    pub request: Option<Request<RequestBody>>,
}

impl Connection {
    /// A kept connection, the last used first, or a new one.
    pub async fn get(server: &Server, wanted: Wanted) -> Result<Self, Failure> {
        let Wanted { reuse, patience, dial_timeout } = wanted;
        let idle_max = match reuse {
            Reuse::Any => IDLE_CONNECTION_MAX,
            Reuse::Recent => IDLE_CONNECTION_MAX_FOR_BODY,
            Reuse::None => Duration::ZERO,
        };
        let now = Instant::now();
        {
            let mut idle = lock(&server.idle);
            if reuse == Reuse::None {
                // What was kept before the server closed one is most likely as dead.
                idle.clear();
            }
            while let Some(position) = idle.iter().rposition(|kept| kept.patience == patience) {
                let Idle { sender, since, .. } = idle.remove(position);
                if sender.is_ready() && now.duration_since(since) < idle_max {
                    return Ok(Self { sender, patience, reused: true });
                }
            }
        }
        Self::dial(server, patience, dial_timeout).await
    }

    async fn dial(server: &Server, patience: Patience, dial_timeout: Duration) -> Result<Self, Failure> {
        let connect = TcpStream::connect((server.url.host(), server.url.port()));
        let stream = match tokio::time::timeout(dial_timeout, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::Dial(error)),
            Err(_) => return Err(Failure::DialTimeout),
        };
        // A socket that refuses is already closing, which the exchange will show.
        let _closing = prepare(&stream, patience);
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(Failure::Closed)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a server");
            }
        });
        Ok(Self { sender, patience, reused: false })
    }

    /// Sends a request and waits for the head of the response. The time counts from the last byte of the request.
    pub async fn ask(
        &mut self,
        request: Request<RequestBody>,
        head_timeout: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        let progress = request.body().progress.clone();
        let answer = self.sender.try_send_request(request);
        tokio::pin!(answer);
        let answer = loop {
            let deadline = progress.last_moved() + head_timeout;
            tokio::select! {
                answer = &mut answer => break answer,
                () = tokio::time::sleep_until(deadline) => {}
            }
            if progress.last_moved() + head_timeout <= tokio::time::Instant::now() {
                let failure = if progress.has_ended() { Failure::HeadTimeout } else { Failure::ClientStalled };
                return Err(Unanswered { failure, request: None });
            }
        };
        answer.map_err(|mut error| {
            let request = error.take_message();
            let failure = progress.fault().unwrap_or_else(|| Failure::of_connection(error.into_error()));
            Unanswered { failure, request }
        })
    }

    /// Keeps the connection for the next request, once its response has ended.
    pub fn release(mut self, server: &Arc<Server>) {
        if self.sender.is_closed() {
            return;
        }
        if self.sender.is_ready() {
            return keep(server, self);
        }
        // The connection's own task has yet to see the end.
        let server = server.clone();
        tokio::spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(REUSE_READY_MAX, self.sender.ready()).await {
                keep(&server, self);
            }
        });
    }
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

fn keep(server: &Server, connection: Connection) {
    if !server.is_listed() {
        return;
    }
    let now = Instant::now();
    let mut idle = lock(&server.idle);
    idle.retain(|kept| !kept.sender.is_closed() && now.duration_since(kept.since) < IDLE_CONNECTION_MAX);
    if idle.len() < IDLE_CONNECTIONS_MAX {
        let Connection { sender, patience, .. } = connection;
        idle.push(Idle { sender, patience, since: now });
    }
}
