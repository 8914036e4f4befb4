//! Tunnels: streams of bytes between machines over mutual TLS, for a protocol that has no TLS of its own.
//!
//! ```text
//! client ── TCP on loopback ── dial ══ mutual TLS ══ serve ── TCP on loopback ── target
//! ```
//!
//! A stream may be idle for ever; a machine that vanished is found by TCP's keepalive. The end of one direction is passed on
//! while the other goes on, and an end that was not clean is passed on as a reset: a cut transfer must not look complete.

use crate::keepalive::watch_over;
use crate::serve::rest_after;
use crate::tls::{self, HandshakeError, Handshakes, PeerCertificate, speaking};
use lifecycle::{ErrorChain, Stop};
use rustls::{ClientConfig, ServerConfig};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Streams of one tunnel at once; further connections wait in the kernel's queue.
const STREAMS_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes under way in one direction of one stream.
const COPY_BYTES: usize = 32 * 1024;
/// How long open streams may take to end after a stop.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("connect to {target}")]
    Connect { target: String, source: io::Error },
    #[error("connect to {target}: no answer within {limit:?}")]
    ConnectTimeout { target: String, limit: Duration },
    #[error("secure the stream")]
    Handshake { source: HandshakeError },
    #[error("the peer's certificate does not open this tunnel")]
    Refused,
    #[error("the stream broke")]
    Broken { source: io::Error },
}

/// The machine's end at the target: accepts mutual TLS, asks `allow` about the certificate shown (none shown is refused),
/// and connects each stream to `target`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    allow: impl Fn(&PeerCertificate) -> bool + Send + Sync + 'static,
    target: SocketAddr,
    stop: Stop,
) {
    let (handshakes, allow, target) = (Handshakes::among(STREAMS_MAX, tls), Arc::new(allow), target.to_string());
    let accept = move |stream: TcpStream| {
        let (handshake, allow, target) = (handshakes.begin(), allow.clone(), target.clone());
        async move {
            let shaken = handshake.accept(stream).await;
            let outside = shaken.map_err(|source| TunnelError::Handshake { source })?;
            if !PeerCertificate::of(&outside).is_some_and(|certificate| allow(&certificate)) {
                return Err(TunnelError::Refused);
            }
            let inside = connect(&target).await?;
            carry(inside, outside).await
        }
    };
    run(listener, accept, stop).await;
}

/// The client's end: what connects to `listener` (on loopback) reaches the target of the tunnel that is served at `server`
/// (`host:port`). The server must show what `tls` expects.
pub async fn dial(listener: TcpListener, tls: Arc<ClientConfig>, server: String, stop: Stop) {
    let tls = speaking(&tls, &[]);
    let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host).to_owned();
    let accept = move |inside: TcpStream| {
        let (tls, server, host) = (tls.clone(), server.clone(), host.clone());
        async move {
            let secured = async {
                let stream = connect(&server).await?;
                tls::connect(tls, &host, stream).await.map_err(|source| TunnelError::Handshake { source })
            };
            match secured.await {
                Ok(outside) => carry(inside, outside).await,
                Err(error) => {
                    reset(&inside);
                    Err(error)
                }
            }
        }
    };
    run(listener, accept, stop).await;
}

/// What connects to `listener` reaches `target` (`host:port`), in the clear: for a target whose own protocol protects itself.
pub async fn forward(listener: TcpListener, target: String, stop: Stop) {
    let accept = |inside: TcpStream| {
        let target = target.clone();
        async move {
            match connect(&target).await {
                Ok(outside) => carry(inside, outside).await,
                Err(error) => {
                    reset(&inside);
                    Err(error)
                }
            }
        }
    };
    run(listener, accept, stop).await;
}

/// Accepts streams until the stop, then waits for the open ones, but not for long.
async fn run<W>(listener: TcpListener, accept: impl Fn(TcpStream) -> W, stop: Stop)
where
    W: Future<Output = Result<(), TunnelError>> + Send + 'static,
{
    let (streams, slots, cut) = (TaskTracker::new(), Arc::new(Semaphore::new(STREAMS_MAX)), Stop::new());
    loop {
        let slot = async { slots.clone().acquire_owned().await.expect("the semaphore is never closed") };
        let Some(slot) = stop.or(slot).await else { break };
        match stop.or(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                watch_over(&stream);
                let (work, cut) = (accept(stream), cut.clone());
                streams.spawn(async move {
                    if let Some(Err(error)) = cut.or(work).await {
                        tracing::debug!(%peer, error = %ErrorChain(&error), "tunnel");
                    }
                    drop(slot);
                });
            }
            Some(Err(error)) => rest_after(&error).await,
        }
    }
    drop(listener);
    streams.close();
    if tokio::time::timeout(DRAIN_GRACE, streams.wait()).await.is_err() {
        tracing::warn!(grace = ?DRAIN_GRACE, streams = streams.len(), "streams outlived the grace and are cut");
        cut.request();
        streams.wait().await;
    }
}

async fn connect(target: &str) -> Result<TcpStream, TunnelError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
        Ok(Ok(stream)) => {
            watch_over(&stream);
            Ok(stream)
        }
        Ok(Err(source)) => Err(TunnelError::Connect { target: target.to_owned(), source }),
        Err(_) => Err(TunnelError::ConnectTimeout { target: target.to_owned(), limit: CONNECT_TIMEOUT }),
    }
}

/// Both directions until both have ended. A TLS stream that is dropped without its closing alert tells its peer of a break by
/// itself; the plain side needs a reset.
async fn carry(mut inside: TcpStream, mut outside: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), TunnelError> {
    let copied = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, COPY_BYTES, COPY_BYTES).await;
    if copied.is_err() {
        reset(&inside);
    }
    copied.map(|_| ()).map_err(|source| TunnelError::Broken { source })
}

/// Makes the socket's close a reset. A socket that refuses is already closed.
fn reset(stream: &TcpStream) {
    let _closed = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
