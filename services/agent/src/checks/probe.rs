//! Makes one check.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use protocol::Check;
use runtime::{Executed, Runtime};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Probes in flight on this node; further ones wait their turn, outside of their own timeout.
const PROBES_MAX: usize = 64;
/// A forwarder accepts before it knows whether the task does: a connection must last this long to count. A refusal comes
/// back over loopback within a fraction of it.
const TCP_SETTLE: Duration = Duration::from_millis(50);
/// Most of a response head; no body is read.
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone)]
pub(crate) struct Prober {
    runtime: Arc<dyn Runtime>,
    /// Where the host ports of this node's tasks are.
    address: Arc<str>,
    slots: Arc<Semaphore>,
}

impl Prober {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, address: &str) -> Self {
        Self { runtime, address: address.into(), slots: Arc::new(Semaphore::new(PROBES_MAX)) }
    }

    /// `Err` is the cause, for people.
    pub(crate) async fn probe(&self, task_id: &str, check: &Check, timeout: Duration) -> Result<(), String> {
        let Ok(_slot) = self.slots.acquire().await else { return Err("the node is stopping".to_owned()) };
        let made = async {
            match check.protocol.as_str() {
                "HTTP" => self.http(check).await,
                "TCP" => self.tcp(check).await,
                "COMMAND" => self.command(task_id, check, timeout).await,
                other => Err(format!("checks by {other} are not supported")),
            }
        };
        tokio::time::timeout(timeout, made).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
    }

    async fn connect(&self, check: &Check) -> Result<TcpStream, String> {
        let port = u16::try_from(check.host_port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("the check names no host port ({})", check.host_port))?;
        let stream = TcpStream::connect((&*self.address, port)).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
        Ok(stream)
    }

    async fn http(&self, check: &Check) -> Result<(), String> {
        let path = if check.path.is_empty() { "/" } else { &check.path };
        let uri: Uri = path.parse().map_err(|error| format!("path {path:?}: {error}"))?;
        let request = Request::get(uri)
            .header(header::HOST, format!("{}:{}", self.address, check.host_port))
            .header(header::USER_AGENT, "roadstead-health-check")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("path {path:?}: {error}"))?;
        let stream = self.connect(check).await?;
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| format!("speak HTTP: {error}"))?;
        let answer = async { sender.send_request(request).await };
        tokio::pin!(connection, answer);
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // The connection may end in the very step that brings the answer; its own error is the answer's, too.
            _ended = &mut connection => answer.await,
        };
        let status = answer.map_err(|error| format!("read the answer: {error}"))?.status();
        if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("answered {status}")) }
    }

    async fn tcp(&self, check: &Check) -> Result<(), String> {
        let mut stream = self.connect(check).await?;
        match tokio::time::timeout(TCP_SETTLE, stream.read(&mut [0; 1])).await {
            Err(_) | Ok(Ok(1..)) => Ok(()),
            Ok(Ok(_)) => Err(format!("connect: {}", io::ErrorKind::ConnectionAborted)),
            Ok(Err(error)) => Err(format!("connect: {error}")),
        }
    }

    async fn command(&self, task_id: &str, check: &Check, timeout: Duration) -> Result<(), String> {
        match self.runtime.exec(task_id, &check.command, timeout).await {
            Ok(Executed::Status(0)) => Ok(()),
            Ok(Executed::Status(status)) => Err(format!("command ended with status {status}")),
            Ok(Executed::TimedOut) => Err(format!("command did not end within {timeout:?}")),
            Err(error) => Err(lifecycle::ErrorChain(&error).to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
