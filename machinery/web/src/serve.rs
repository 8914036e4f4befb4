//! Serves an axum router on a listener until a stop is requested, then lets requests in flight end.

mod connections;

use crate::keepalive::watch_over;
use crate::tls::{Handshakes, PeerCertificate, Places, ServerTls};
use axum::Router;
use connections::{Connections, Origin};
use lifecycle::{ErrorChain, Stop};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixSocket};

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
                watch_over(&stream);
                let origin = Origin { address: Some(peer), certificate: None };
                tokio::spawn(connections.seat().serve(stream, router.clone(), origin, permit));
            }
            Some(Err(error)) => rest_after(&error).await,
        }
    }
    drop(listener);
    connections.drain().await;
}

/// Serves `router` over TLS. A request of a peer that showed a certificate the configuration verified carries it as
/// [`PeerCertificate`] in its extensions. Handshakes are bounded in time and number, connections without a certificate in
/// number: peers that dawdle over theirs, and strangers, hold up nobody. A connection ends when its certificate is revoked.
pub async fn serve_tls(listener: TcpListener, router: Router, bounds: Bounds, tls: ServerTls, stop: Stop) {
    let connections = Connections::new(bounds);
    let handshakes = Handshakes::among(bounds.connections_max, tls.config.clone());
    let strangers = Places::of_strangers(bounds.connections_max);
    loop {
        let Some(permit) = stop.or(connections.permit()).await else { break };
        match stop.or(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                watch_over(&stream);
                let (handshake, seat) = (handshakes.begin(), connections.seat());
                let (router, strangers, tls, stop) = (router.clone(), strangers.clone(), tls.clone(), stop.clone());
                tokio::spawn(async move {
                    let Some(shaken) = stop.or(handshake.accept(stream)).await else { return };
                    let stream = match shaken {
                        Ok(stream) => stream,
                        Err(error) => return tracing::debug!(%peer, error = %ErrorChain(&error), "refused"),
                    };
                    let origin = Origin { address: Some(peer), certificate: PeerCertificate::of(&stream) };
                    let place = origin.certificate.is_none().then(|| Places::take(&strangers));
                    let shown = origin.certificate.clone();
                    let served = tls.while_good(shown.as_ref(), seat.serve(stream, router, origin, permit));
                    let ended = match &place {
                        None => served.await,
                        Some(place) => place.give_way.or(served).await.flatten(),
                    };
                    if shown.is_some() && ended.is_none() {
                        tracing::info!(%peer, "the peer's certificate was revoked: its connection ends");
                    }
                });
            }
            Some(Err(error)) => rest_after(&error).await,
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
            Some(Ok((stream, _))) => {
                tokio::spawn(connections.seat().serve(stream, router.clone(), Origin::default(), permit));
            }
            Some(Err(error)) => rest_after(&error).await,
        }
    }
    connections.drain().await;
}

pub(crate) async fn rest_after(error: &io::Error) {
    tracing::warn!(%error, "accept");
    tokio::time::sleep(ACCEPT_PAUSE).await;
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
