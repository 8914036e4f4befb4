//! Whether requests should come here: what the holder of the address asks, many times a second.
//!
//! The answer is found where a request would be: the edge connects to its own first listener and sends itself a request
//! that takes the same way as any other (accept, a place among the connections, the head, the table) up to the choice of a
//! server. It carries a secret of this process, so that nobody else's answer counts and nobody else can send one. An edge
//! whose store is away is ready: every edge would be away at once.
//!
//! One look is at most [`READY_CACHE`] old, however many ask.

use crate::current::Current;
use crate::limits::{PROBE_TIMEOUT, READY_CACHE, STALE_AFTER};
use crate::session::Standing;
use crate::sources::Contact;
use http1::{Answer, Connection, Framing};
use proxyprotocol::{Origin, write_v2};
use routing::Network;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

const PROBE_HEADER: &str = "x-roadstead-probe";
/// Of the secret.
const PROBE_RANDOM_BYTES: usize = 16;
/// Of the answer: a head without a body.
const ANSWER_BYTES_MAX: usize = 1024;

/// Knows the edge's own requests to itself.
pub(crate) struct Probe {
    secret: String,
}

impl Probe {
    /// With the secret of the process before this one: as long as both accept either may answer.
    pub fn inherited(secret: String) -> Self {
        Self { secret }
    }

    pub fn secret(&self) -> &str {
        &self.secret
    }

    pub fn new() -> io::Result<Self> {
        let mut random = [0; PROBE_RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Self { secret: random.iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    pub fn is_ours(&self, request: &http1::Request<'_>) -> bool {
        request.header(PROBE_HEADER) == Some(self.secret.as_bytes())
    }

    /// The answer to one of our own.
    pub fn answer(&self) -> Vec<u8> {
        let headers = [(PROBE_HEADER, self.secret.as_bytes())];
        let answer = Answer { status: 204, headers: &headers, connection: Connection::Close };
        let mut bytes = Vec::new();
        answer.write_head(&mut bytes, Framing::None);
        bytes
    }

    /// Sends one request to the listener; whether it was answered by this process.
    async fn ask(&self, listener: Listener) -> io::Result<bool> {
        let secret = &self.secret;
        let mut stream = TcpStream::connect(listener.address).await?;
        if listener.awaits_header {
            let mut header = Vec::new();
            write_v2(&Origin::Local, &[], false, &mut header);
            stream.write_all(&header).await?;
        }
        let request =
            format!("GET / HTTP/1.1\r\nhost: probe.invalid\r\nconnection: close\r\n{PROBE_HEADER}: {secret}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.starts_with("HTTP/1.1 204 ") && answer.contains(secret.as_str()))
    }
}

/// The listener that is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    /// It takes this machine for a proxy, which says whom it speaks for.
    awaits_header: bool,
}

impl Listener {
    pub fn new(address: SocketAddr, proxies: &[Network]) -> Self {
        let address = reachable(address);
        Self { address, awaits_header: proxies.iter().any(|network| network.contains(address.ip())) }
    }
}

/// Why no request should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    #[error("draining")]
    Draining,
    #[error("no table")]
    NoTable,
    #[error("listener does not answer")]
    Listener,
}

pub(crate) struct Readiness {
    current: Arc<Current>,
    standing: Arc<Standing>,
    contact: Arc<Contact>,
    probe: Arc<Probe>,
    listener: Listener,
    /// When the listener was asked last, and whether it answered.
    asked: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    pub fn new(
        current: Arc<Current>,
        standing: Arc<Standing>,
        contact: Arc<Contact>,
        probe: Arc<Probe>,
        listener: Listener,
    ) -> Self {
        Self { current, standing, contact, probe, listener, asked: Mutex::new(None) }
    }

    pub async fn check(&self) -> Result<(), Unready> {
        if self.standing.is_draining() {
            return Err(Unready::Draining);
        }
        if !self.current.load().loaded {
            return Err(Unready::NoTable);
        }
        if self.listener_answers().await { Ok(()) } else { Err(Unready::Listener) }
    }

    /// The table that serves may be behind: it is from disk, or the store was not heard for a while.
    pub fn is_stale(&self) -> bool {
        self.current.load().stale || self.contact.away_for().is_some_and(|away| away > STALE_AFTER)
    }

    pub fn is_draining(&self) -> bool {
        self.standing.is_draining()
    }

    /// Those who ask at once wait for one look.
    async fn listener_answers(&self) -> bool {
        let mut asked = self.asked.lock().await;
        if let Some((at, answered)) = *asked
            && at.elapsed() < READY_CACHE
        {
            return answered;
        }
        let answered = matches!(tokio::time::timeout(PROBE_TIMEOUT, self.probe.ask(self.listener)).await, Ok(Ok(true)));
        *asked = Some((Instant::now(), answered));
        answered
    }
}

/// Where a listener on every address is reached from here.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current::Draft;
    use crate::metrics::Metrics;

    fn readiness(listener: SocketAddr) -> Readiness {
        let current = Arc::new(Current::new());
        let metrics = Metrics::new(Arc::default());
        current.publish(Draft { loaded: true, ..Draft::default() }, |route| metrics.of_route(route));
        let probe = Arc::new(Probe::new().unwrap());
        Readiness::new(current, Arc::default(), Arc::new(Contact::new()), probe, Listener::new(listener, &[]))
    }

    #[tokio::test]
    async fn a_listener_that_accepts_nobody_or_is_anothers_is_none() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(readiness(silent.local_addr().unwrap()).check().await, Err(Unready::Listener));

        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let others = axum::Router::new().fallback(|| async { http::StatusCode::NO_CONTENT });
        tokio::spawn(web::serve(listener, others, web::Bounds::default(), lifecycle::Stop::new()));
        assert_eq!(readiness(address).check().await, Err(Unready::Listener), "answered, but not by this edge");
    }

    #[tokio::test]
    async fn many_who_ask_cost_one_look() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let readiness = readiness(listener.local_addr().unwrap());
        let (first, second) = tokio::join!(readiness.listener_answers(), readiness.listener_answers());
        assert!(!first && !second);
        listener.accept().await.unwrap();
        let another = tokio::time::timeout(READY_CACHE, listener.accept()).await;
        assert!(another.is_err(), "the second asked anew");
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8181"), "127.0.0.1:8181");
        assert_eq!(reached("[::]:8181"), "[::1]:8181");
        assert_eq!(reached("10.0.0.1:8181"), "10.0.0.1:8181");
    }
}
