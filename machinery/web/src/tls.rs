//! TLS under our faces and clients: handshakes with bounds, and whose certificate was shown.
//!
//! What is trusted and what is shown is the configuration's affair; it is handed in by whoever owns the keys.

use lifecycle::Stop;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ServerConfig};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The ALPN names of HTTP/2 and HTTP/1.1 (RFC 7301, section 6), of the first that is preferred.
pub const ALPN_HTTP2: &[u8] = b"h2";
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// A handshake is two round trips and a signature on either side; what takes longer is dawdling.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once on one listener, and at most half of its connections. One more, and the oldest gives way: an honest one
/// takes milliseconds, so whoever fills these places holds up nobody.
const HANDSHAKES_MAX: usize = 512;
/// Connections of peers without a certificate, who may be anybody, are at most this part of a listener's. Here, too, the oldest
/// gives way.
const STRANGERS_SHARE: usize = 8;
/// What a refused peer may still send, and for how long, before its connection is closed.
const LINGER_BYTES_MAX: u64 = 64 * 1024;
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection ends this long after its certificate was revoked, at the latest.
const REVOKED_INTERVAL: Duration = Duration::from_millis(500);
/// All connections of a process look in the same moments, so that many at rest wake it no more often than one.
static REVOKED_LOOKS: OnceLock<Instant> = OnceLock::new();

/// The certificate a peer showed in its handshake, verified by the listener's configuration: its chain, its dates, and
/// that the peer has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// What a listener shows and trusts.
#[derive(Clone)]
pub struct ServerTls {
    pub config: Arc<ServerConfig>,
    /// Whether a certificate that was let in would be refused by now.
    pub is_revoked: Arc<dyn Fn(&PeerCertificate) -> bool + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("{name} is no name a certificate can bear")]
    Name { name: String, source: InvalidDnsNameError },
    #[error("TLS handshake")]
    Handshake { source: io::Error },
    #[error("TLS handshake: not done within {limit:?}")]
    Timeout { limit: Duration },
    #[error("TLS handshake: it gave way to later ones")]
    GaveWay,
}

/// The handshakes of one listener.
#[derive(Clone)]
pub(crate) struct Handshakes {
    acceptor: TlsAcceptor,
    places: Arc<Places>,
}

/// One of them; its end frees its place.
pub(crate) struct Handshake {
    acceptor: TlsAcceptor,
    place: Place,
}

/// So many at once; one more, and the oldest gives way.
pub(crate) struct Places {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// By age; each with what makes it give way.
    places: BTreeMap<u64, Stop>,
}

pub(crate) struct Place {
    number: u64,
    pub give_way: Stop,
    places: Arc<Places>,
}

impl PeerCertificate {
    pub(crate) fn of(stream: &server::TlsStream<TcpStream>) -> Option<Self> {
        let (_, session) = stream.get_ref();
        session.peer_certificates()?.first().map(|certificate| Self(certificate.clone().into_owned()))
    }
}

impl ServerTls {
    /// Works for the bearer of a certificate until that is revoked; `None`: it was.
    pub(crate) async fn while_good<T>(
        &self,
        certificate: Option<&PeerCertificate>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(certificate) = certificate else { return Some(work.await) };
        let revoked = async {
            while !(self.is_revoked)(certificate) {
                next_revoked_look().await;
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = revoked => None,
        }
    }
}

async fn next_revoked_look() {
    let began = *REVOKED_LOOKS.get_or_init(Instant::now);
    let since = began.elapsed().as_millis() % REVOKED_INTERVAL.as_millis();
    tokio::time::sleep(REVOKED_INTERVAL - Duration::from_millis(since as u64)).await;
}

impl Handshakes {
    pub fn among(connections_max: usize, config: Arc<ServerConfig>) -> Self {
        Self::at_most(HANDSHAKES_MAX.min(connections_max / 2), config)
    }

    fn at_most(max: usize, config: Arc<ServerConfig>) -> Self {
        Self { acceptor: TlsAcceptor::from(config), places: Places::at_most(max) }
    }

    /// Takes a place, from the oldest if there is no other.
    pub fn begin(&self) -> Handshake {
        Handshake { acceptor: self.acceptor.clone(), place: Places::take(&self.places) }
    }
}

impl Handshake {
    pub async fn accept(self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>, HandshakeError> {
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream).into_fallible());
        match self.place.give_way.or(handshake).await {
            Some(Ok(Ok(stream))) => Ok(stream),
            Some(Ok(Err((source, stream)))) => {
                close_gently(stream).await;
                Err(HandshakeError::Handshake { source })
            }
            Some(Err(_)) => Err(HandshakeError::Timeout { limit: HANDSHAKE_TIMEOUT }),
            None => Err(HandshakeError::GaveWay),
        }
    }
}

impl Places {
    fn at_most(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// For peers that showed no certificate.
    pub fn of_strangers(connections_max: usize) -> Arc<Self> {
        Self::at_most(connections_max.div_ceil(STRANGERS_SHARE))
    }

    pub fn take(this: &Arc<Self>) -> Place {
        let mut taken = this.taken();
        if taken.places.len() >= this.max
            && let Some((_, oldest)) = taken.places.pop_first()
        {
            oldest.request();
        }
        let (number, give_way) = (taken.next, Stop::new());
        taken.next += 1;
        taken.places.insert(number, give_way.clone());
        Place { number, give_way, places: this.clone() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use tokio::net::TcpListener;

    #[derive(Debug)]
    struct NoCertificate;

    impl ResolvesServerCert for NoCertificate {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            None
        }
    }

    fn config() -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(NoCertificate)))
    }

    #[tokio::test]
    async fn where_all_places_are_taken_the_oldest_handshake_gives_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handshakes = Handshakes::at_most(2, config());
        let mut silent = Vec::new();
        let mut begun = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            begun.push(tokio::spawn(handshakes.begin().accept(stream)));
        }
        let oldest = begun.remove(0).await.unwrap();
        assert!(matches!(oldest, Err(HandshakeError::GaveWay)), "{oldest:?}");
        assert!(begun.iter().all(|handshake| !handshake.is_finished()));

        drop(silent);
        for handshake in begun {
            assert!(matches!(handshake.await.unwrap(), Err(HandshakeError::Handshake { .. })));
        }
        assert!(handshakes.places.taken().places.is_empty(), "an ended handshake frees its place");
    }
}
