//! Serves an axum router on a listener until a stop is requested, then lets requests in flight end.

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use lifecycle::Stop;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixSocket};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections served at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// A request head must arrive within this time.
    pub head_timeout: Duration,
    /// Header bytes accepted in one request head (HTTP/1).
    pub head_bytes_max: usize,
    /// How long requests in flight may take to end after a stop.
    pub drain_grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head_timeout: Duration::from_secs(30),
            head_bytes_max: 64 * 1024,
            drain_grace: Duration::from_secs(10),
        }
    }
}

/// After `accept` fails (usually: too many open files) the listener rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections to a Unix socket that wait to be accepted.
const UNIX_BACKLOG: u32 = 1024;

/// An HTTP/2 peer is asked for a sign of life this often (a peer of HTTP/1 has [`Bounds::head_timeout`])…
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// …and has this long to answer: one that lost its power must not keep its place among the connections for ever.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Binds a TCP listener with the address in the error.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let context = |error: io::Error| io::Error::new(error.kind(), format!("listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(context)
}

/// Binds a Unix socket only its owner may use; a socket left by a dead process is replaced.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let context = |error: io::Error| io::Error::new(error.kind(), format!("listen on {}: {error}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(context(error)),
        _ => {}
    }
    let socket = UnixSocket::new_stream().map_err(context)?;
    socket.bind(path).map_err(context)?;
    // Until it listens nobody can connect, so that its mode is right before anybody may try.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(context)?;
    socket.listen(UNIX_BACKLOG).map_err(context)
}

/// Serves `router`; handlers may extract `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: Stop) {
    let connections = Connections::new(bounds);
    loop {
        let Some(permit) = stop.or(connections.permit()).await else { break };
        match stop.or(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                // Small writes must not wait for Nagle's timer; a socket that refuses is already closing.
                let _closing = stream.set_nodelay(true);
                connections.spawn(stream, router.clone(), Some(peer), permit);
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.drain().await;
}

/// Serves `router` on a Unix socket.
pub async fn serve_unix(listener: UnixListener, router: Router, bounds: Bounds, stop: Stop) {
    let connections = Connections::new(bounds);
    loop {
        let Some(permit) = stop.or(connections.permit()).await else { break };
        match stop.or(listener.accept()).await {
            None => break,
            Some(Ok((stream, _))) => connections.spawn(stream, router.clone(), None, permit),
            Some(Err(error)) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.drain().await;
}

struct Connections {
    bounds: Bounds,
    builder: Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    slots: Arc<Semaphore>,
}

impl Connections {
    fn new(bounds: Bounds) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head_timeout)
            .max_buf_size(bounds.head_bytes_max.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(u32::try_from(bounds.head_bytes_max).unwrap_or(u32::MAX));
        let slots = Arc::new(Semaphore::new(bounds.connections_max));
        Self { bounds, builder, graceful: GracefulShutdown::new(), slots }
    }

    async fn permit(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    fn spawn<S>(&self, stream: S, router: Router, peer: Option<SocketAddr>, permit: tokio::sync::OwnedSemaphorePermit)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = router.map_request(move |mut request: http::Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            request.map(axum::body::Body::new)
        });
        let connection =
            self.builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = self.graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "connection");
            }
            drop(permit);
        });
    }

    async fn drain(self) {
        if tokio::time::timeout(self.bounds.drain_grace, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(grace = ?self.bounds.drain_grace, "requests in flight outlived the grace");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_unix_socket_is_its_owners_and_replaces_a_dead_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("face.sock");
        drop(bind_unix(&path).unwrap());
        let _listener = bind_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }
}
