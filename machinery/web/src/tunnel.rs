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
use crate::tls::{self, HandshakeError, Handshakes, PeerCertificate, ServerTls, speaking};
use lifecycle::{ErrorChain, Stop};
use rustls::ClientConfig;
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
    #[error("the peer's certificate was revoked: the stream ends")]
    Revoked,
    #[error("the stream broke")]
    Broken { source: io::Error },
}

/// The machine's end at the target: accepts mutual TLS, asks `allow` about the certificate shown (none shown is refused),
/// and connects each stream to `target`. A stream is cut when its certificate is revoked.
pub async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    allow: impl Fn(&PeerCertificate) -> bool + Send + Sync + 'static,
    target: SocketAddr,
    stop: Stop,
) {
    let handshakes = Handshakes::among(STREAMS_MAX, tls.config.clone());
    let (allow, target) = (Arc::new(allow), target.to_string());
    let accept = move |stream: TcpStream| {
        let (handshake, tls, allow, target) = (handshakes.begin(), tls.clone(), allow.clone(), target.clone());
        async move {
            let shaken = handshake.accept(stream).await;
            let outside = shaken.map_err(|source| TunnelError::Handshake { source })?;
            let shown = PeerCertificate::of(&outside).filter(|certificate| allow(certificate));
            let Some(certificate) = shown else { return Err(TunnelError::Refused) };
            let mut inside = connect(&target).await?;
            let carried = tls.while_good(Some(&certificate), carry(&mut inside, outside)).await;
            carried.unwrap_or_else(|| {
                reset(&inside);
                Err(TunnelError::Revoked)
            })
        }
    };
    run(listener, accept, stop).await;
}

/// The client's end: what connects to `listener` (on loopback) reaches the target of the tunnel that is served at `server`
/// (`host:port`). The server must show what `tls` expects.
pub async fn dial(listener: TcpListener, tls: Arc<ClientConfig>, server: String, stop: Stop) {
    let tls = speaking(&tls, &[]);
    let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host).to_owned();
    let accept = move |mut inside: TcpStream| {
        let (tls, server, host) = (tls.clone(), server.clone(), host.clone());
        async move {
            let secured = async {
                let stream = connect(&server).await?;
                tls::connect(tls, &host, stream).await.map_err(|source| TunnelError::Handshake { source })
            };
            match secured.await {
                Ok(outside) => carry(&mut inside, outside).await,
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
    let accept = |mut inside: TcpStream| {
        let target = target.clone();
        async move {
            match connect(&target).await {
                Ok(outside) => carry(&mut inside, outside).await,
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
async fn carry(inside: &mut TcpStream, mut outside: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), TunnelError> {
    let copied = tokio::io::copy_bidirectional_with_sizes(inside, &mut outside, COPY_BYTES, COPY_BYTES).await;
    if copied.is_err() {
        reset(inside);
    }
    copied.map(|_| ()).map_err(|source| TunnelError::Broken { source })
}

/// Makes the socket's close a reset. A socket that refuses is already closed.
fn reset(stream: &TcpStream) {
    let _closed = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
