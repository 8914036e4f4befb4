//! Connections to servers: dialled, kept, and asked.

use super::answer::Failure;
use super::body::RequestBody;
use crate::limits::{
    HEAD_BYTES_MAX, HEADERS_MAX, IDLE_CONNECTION_MAX, IDLE_CONNECTION_MAX_FOR_BODY, IDLE_CONNECTIONS_MAX,
    REUSE_READY_MAX,
};
use crate::servers::{Server, lock};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A connection to a server that carries one request at a time.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    /// It carried a request before, so the server may be closing it just now.
    pub reused: bool,
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub(crate) struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
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
    pub async fn get(server: &Server, reuse: Reuse, dial_timeout: Duration) -> Result<Self, Failure> {
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
            while let Some(Idle { sender, since }) = idle.pop() {
                if sender.is_ready() && now.duration_since(since) < idle_max {
                    return Ok(Self { sender, reused: true });
                }
            }
        }
        Self::dial(server, dial_timeout).await
    }

    async fn dial(server: &Server, dial_timeout: Duration) -> Result<Self, Failure> {
        let connect = TcpStream::connect((server.url.host(), server.url.port()));
        let stream = match tokio::time::timeout(dial_timeout, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::Dial(error)),
            Err(_) => return Err(Failure::DialTimeout),
        };
        // A socket that refuses is already closing, which the exchange will show.
        let _closing = stream.set_nodelay(true);
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(Failure::Closed)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a server");
            }
        });
        Ok(Self { sender, reused: false })
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
            let failure = progress.fault().unwrap_or_else(|| Failure::Closed(error.into_error()));
            Unanswered { failure, request }
        })
    }

    /// Keeps the connection for the next request, once its response has ended.
    pub fn release(mut self, server: &Arc<Server>) {
        if self.sender.is_closed() {
            return;
        }
        if self.sender.is_ready() {
            return keep(server, self.sender);
        }
        // The connection's own task has yet to see the end.
        let server = server.clone();
        tokio::spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(REUSE_READY_MAX, self.sender.ready()).await {
                keep(&server, self.sender);
            }
        });
    }
}

fn keep(server: &Server, sender: SendRequest<RequestBody>) {
    if !server.is_listed() {
        return;
    }
    let now = Instant::now();
    let mut idle = lock(&server.idle);
    idle.retain(|kept| !kept.sender.is_closed() && now.duration_since(kept.since) < IDLE_CONNECTION_MAX);
    if idle.len() < IDLE_CONNECTIONS_MAX {
        idle.push(Idle { sender, since: now });
    }
}
