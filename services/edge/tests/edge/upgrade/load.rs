//! Clients of every kind that ask without a pause: over HTTP/1 and HTTP/2, in the clear and over TLS, on one connection for
//! as long as they may, or on a new one for each request. None tries a request twice that the edge may have taken.

use crate::harness::{DEADLINE, eventually};
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::Request;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Answers of each kind between two steps of a test.
const ANSWERS: usize = 40;

/// A client's way to the edge.
#[derive(Clone)]
pub struct Way {
    pub address: SocketAddr,
    pub tls: Option<ClientConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kept,
    New,
    Http2,
}

/// What one kind of clients has seen.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Seen>>,
    clients: JoinSet<()>,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    pub fn clear(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Over TLS, to the host `a`.
    pub fn tls(address: SocketAddr, roots: RootCertStore) -> Self {
        let builder = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
        Self { address, tls: Some(builder.unwrap().with_root_certificates(roots).with_no_client_auth()) }
    }

    async fn connect(&self, protocol: &[u8]) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect("a".try_into().unwrap(), stream).await?))
    }
}

impl Load {
    /// Two clients of each kind, each way.
    pub fn on(ways: &[Way]) -> Self {
        let mut load = Self { stop: Arc::default(), seen: Vec::new(), clients: JoinSet::new() };
        for way in ways {
            for kind in [Kind::Kept, Kind::New, Kind::Http2] {
                let seen = Arc::<Seen>::default();
                for _ in 0..2 {
                    load.clients.spawn(client(way.clone(), kind, load.stop.clone(), seen.clone()));
                }
                load.seen.push(seen);
            }
        }
        load
    }

    /// Waits for so many more answers of each kind.
    pub async fn goes_on(&self) {
        for seen in &self.seen {
            let goal = seen.answered.load(SeqCst) + ANSWERS;
            eventually("requests are answered", || async { (seen.answered.load(SeqCst) >= goal).then_some(()) }).await;
        }
    }

    /// Why requests failed.
    pub async fn end(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        self.clients.join_all().await;
        self.seen.iter().flat_map(|seen| std::mem::take(&mut *seen.failures.lock().unwrap())).collect()
    }
}

async fn client(way: Way, kind: Kind, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let (mut kept, mut sender) = (None, None);
    while !stop.load(SeqCst) {
        let asking = async {
            match kind {
                Kind::Http2 => ask_http2(&way, &mut sender).await,
                Kind::Kept | Kind::New => ask(&way, &mut kept, kind == Kind::Kept).await,
            }
        };
        let failure = match timeout(DEADLINE, asking).await {
            Ok(Ok(())) => {
                seen.answered.fetch_add(1, SeqCst);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let tls = way.tls.is_some();
        seen.failures.lock().unwrap().push(format!("{kind:?}, TLS {tls}: {failure}"));
        (kept, sender) = (None, None);
    }
}

/// One request of HTTP/1.
pub async fn ask(way: &Way, kept: &mut Option<Box<dyn Stream>>, keeps: bool) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => way.connect(b"http/1.1").await?,
    };
    let connection = if keeps { "keep-alive" } else { "close" };
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"pong") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(answer.into_owned()));
    }
    if keeps && !answer.to_ascii_lowercase().contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(())
}

/// One request of HTTP/2, on a new connection where the server has said that it leaves the one before.
async fn ask_http2(way: &Way, kept: &mut Option<SendRequest<Bytes>>) -> io::Result<()> {
    if let Some(sender) = kept.take()
        && let Ok(sender) = sender.ready().await
    {
        match answered(way, sender).await {
            Err(error) if is_left(&error) => {}
            result => {
                *kept = Some(result?);
                return Ok(());
            }
        }
    }
    let (sender, connection) = h2::client::handshake(way.connect(b"h2").await?).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    *kept = Some(answered(way, sender).await?);
    Ok(())
}

/// The server leaves, and the request was either not sent or begun after the last one that it answers: it asks for it again
/// elsewhere (RFC 9113 §8.7). A request that the server had taken ends with the connection's own error instead.
fn is_left(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR))
}

async fn answered(way: &Way, sender: SendRequest<Bytes>) -> io::Result<SendRequest<Bytes>> {
    let scheme = if way.tls.is_some() { "https" } else { "http" };
    let request = Request::get(format!("{scheme}://a/")).body(()).unwrap();
    let mut sender = sender.ready().await.map_err(io::Error::other)?;
    let (response, _) = sender.send_request(request, true).map_err(io::Error::other)?;
    let mut response = response.await.map_err(io::Error::other)?;
    let mut body = Vec::new();
    while let Some(data) = response.body_mut().data().await {
        let data = data.map_err(io::Error::other)?;
        body.extend_from_slice(&data);
        response.body_mut().flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
    }
    if response.status() != 200 || body != b"pong" {
        return Err(io::Error::other(format!("{} {}", response.status(), String::from_utf8_lossy(&body))));
    }
    Ok(sender)
}
