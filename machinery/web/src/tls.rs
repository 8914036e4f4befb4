//! TLS under our faces and clients: handshakes with bounds, and whose certificate was shown.
//!
//! What is trusted and what is shown is the configuration's affair; it is handed in by whoever owns the keys.

use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The ALPN names of HTTP/2 and HTTP/1.1 (RFC 7301, section 6), of the first that is preferred.
pub const ALPN_HTTP2: &[u8] = b"h2";
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// A handshake is two round trips and a signature on either side; what takes longer is dawdling.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once on one listener; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 1024;
/// What a refused peer may still send, and for how long, before its connection is closed.
const LINGER_BYTES_MAX: u64 = 64 * 1024;
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The certificate a peer showed in its handshake, verified by the listener's configuration: its chain, its dates, and
/// that the peer has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub CertificateDer<'static>);

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("{name} is no name a certificate can bear")]
    Name { name: String, source: InvalidDnsNameError },
    #[error("TLS handshake")]
    Handshake { source: io::Error },
    #[error("TLS handshake: not done within {limit:?}")]
    Timeout { limit: Duration },
}

/// The handshakes of one listener.
#[derive(Clone)]
pub(crate) struct Handshakes {
    acceptor: TlsAcceptor,
    slots: Arc<Semaphore>,
}

/// One place among them.
pub(crate) struct Handshake {
    acceptor: TlsAcceptor,
    _slot: OwnedSemaphorePermit,
}

impl PeerCertificate {
    pub(crate) fn of(stream: &server::TlsStream<TcpStream>) -> Option<Self> {
        let (_, session) = stream.get_ref();
        session.peer_certificates()?.first().map(|certificate| Self(certificate.clone().into_owned()))
    }
}

impl Handshakes {
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { acceptor: TlsAcceptor::from(config), slots: Arc::new(Semaphore::new(HANDSHAKES_MAX)) }
    }

    /// Waits for a place.
    pub async fn begin(&self) -> Handshake {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        Handshake { acceptor: self.acceptor.clone(), _slot: slot }
    }
}

impl Handshake {
    pub async fn accept(self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>, HandshakeError> {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((source, stream))) => {
                close_gently(stream).await;
                Err(HandshakeError::Handshake { source })
            }
            Err(_) => Err(HandshakeError::Timeout { limit: HANDSHAKE_TIMEOUT }),
        }
    }
}

/// A client of TLS 1.3 speaks before it knows that it is refused. A socket closed over unread bytes is reset, and the alert
/// that tells why would be lost with it: so what was sent is read first.
async fn close_gently(mut stream: TcpStream) {
    let closing = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // However it ends, the socket is closed.
    let _ended = tokio::time::timeout(LINGER_TIMEOUT, closing).await;
}

/// The client's side of a handshake with `host`, a DNS name or an IP address (in brackets or without).
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<client::TlsStream<TcpStream>, HandshakeError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|source| HandshakeError::Name { name: host.to_owned(), source })?;
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await {
        Ok(done) => done.map_err(|source| HandshakeError::Handshake { source }),
        Err(_) => Err(HandshakeError::Timeout { limit: HANDSHAKE_TIMEOUT }),
    }
}

/// The same configuration with the protocols the caller will speak; servers like etcd's insist on their name.
pub(crate) fn speaking(config: &ClientConfig, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
