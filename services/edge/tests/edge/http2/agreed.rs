//! Servers over TLS that may speak either HTTP (`h2://`): what the handshake agrees on is spoken.

use super::servers::echo;
use super::{ask, connect, request};
use crate::harness::{DEADLINE, Edge, eventually, json_of, read_head, read_head_of};
use crate::tls::{Authority, parts};
use bytes::Bytes;
use futures::future::join_all;
use h2::client::SendRequest;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Protocols = &'static [&'static [u8]];
const BOTH: Protocols = &[b"h2", b"http/1.1"];
const HTTP1: Protocols = &[b"http/1.1"];

/// A server under a certificate for `localhost` that agrees to some protocols.
pub struct Speaker {
    pub url: String,
    agrees: watch::Sender<Protocols>,
    http2: Arc<AtomicUsize>,
    http1: Arc<AtomicUsize>,
}

impl Speaker {
    /// `serve` gets the connections, and whether HTTP/2 was agreed on.
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        authority: &Authority,
        protocols: Protocols,
        serve: impl Fn(bool, TlsStream<TcpStream>) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        let (chain, key) = parts(&authority.issue(&["localhost"]));
        let builder = ServerConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("h2://localhost:{}", listener.local_addr().unwrap().port());
        let (agrees, agreed) = watch::channel(protocols);
        let (http2, http1) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let speaker = Self { url, agrees, http2: http2.clone(), http1: http1.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut agreed, serve) = (agreed.clone(), serve.clone());
                let mut config = config.clone();
                config.alpn_protocols = agreed.borrow_and_update().iter().map(|name| name.to_vec()).collect();
                let acceptor = TlsAcceptor::from(Arc::new(config));
                let (http2, http1) = (http2.clone(), http1.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    if is_http2 { &http2 } else { &http1 }.fetch_add(1, SeqCst);
                    tokio::select! {
                        () = serve(is_http2, stream) => {}
                        _ = agreed.changed() => {}
                    }
                });
            }
        });
        speaker
    }

    async fn echoing(authority: &Authority, protocols: Protocols) -> Self {
        Self::start(authority, protocols, |is_http2, stream| async move {
            if is_http2 { speak_http2(stream).await } else { speak_http1(stream).await }
        })
        .await
    }

    /// Connections of HTTP/2 and of HTTP/1.1 that there were.
    pub fn heard(&self) -> (usize, usize) {
        (self.http2.load(SeqCst), self.http1.load(SeqCst))
    }

    /// As one that is started anew: connections that there are end.
    fn agree_to(&self, protocols: Protocols) {
        self.agrees.send_replace(protocols);
    }
}

async fn speak_http2(stream: TlsStream<TcpStream>) {
    let Ok(mut link) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = link.accept().await {
        tokio::spawn(echo(request, respond));
    }
}

/// Answers with the request's head; a tunnel says what it hears.
async fn speak_http1(mut stream: TlsStream<TcpStream>) {
    loop {
        let head = read_head_of(&mut stream).await;
        if head.is_empty() {
            return;
        }
        if head.to_lowercase().contains("upgrade: websocket") {
            let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
            stream.write_all(switched).await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(&heard).await.unwrap();
            stream.flush().await.unwrap();
            return;
        }
        let body = json!({ "head": head }).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn route(edge: &Edge, host: &str, server: &Speaker, more: Value) {
    let mut document =
        json!({ "v": 0, "rule": format!("Host(`{host}`)"), "servers": [{ "id": "s", "url": server.url }] });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let key = format!("/roadstead/routes/{host}");
    let revision = edge.store.change(&[(&key, Some(&document.to_string()))]).await;
    edge.applied(revision).await;
}

fn trusting(authority: &Authority) -> Value {
    json!({ "server_tls": { "authorities": authority.pem() } })
}

/// Many requests at once: how many of them each HTTP carried.
async fn ask_many(sender: &SendRequest<Bytes>, count: usize) -> (usize, usize) {
    let answers = join_all((0..count).map(|_| ask(sender, request("GET", "http://a/p?q")))).await;
    let (mut http2, mut http1) = (0, 0);
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        match json_of(&answer)["uri"].as_str() {
            Some(uri) => {
                assert!(uri.starts_with("https://localhost:") && uri.ends_with("/p?q"), "{uri}");
                http2 += 1;
            }
            None => http1 += 1,
        }
    }
    (http2, http1)
}

#[tokio::test]
async fn over_tls_requests_share_a_connection_if_the_server_agrees_to_http2() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = Speaker::echoing(&authority, BOTH).await;
    route(&edge, "a", &server, trusting(&authority)).await;
    let (sender, _connection) = connect(edge.address).await;
    assert_eq!(ask_many(&sender, 50).await, (50, 0));
    assert_eq!(ask_many(&sender, 50).await, (50, 0));
    assert_eq!(server.heard(), (1, 0));
    // And from a client of HTTP/1.
    let answer = edge.call(http::Method::POST, "a", "/", "hello").await;
    assert_eq!((answer.status().as_u16(), json_of(&answer)["body"].as_str()), (200, Some("hello")));
}

#[tokio::test]
async fn a_server_over_tls_that_speaks_http1_only_loses_no_request_and_keeps_its_connections() {
    for protocols in [HTTP1, &[]] {
        let (edge, authority) = (Edge::start().await, Authority::new());
        let server = Speaker::echoing(&authority, protocols).await;
        route(&edge, "a", &server, trusting(&authority)).await;
        let (sender, _connection) = connect(edge.address).await;
        assert_eq!(ask_many(&sender, 50).await, (0, 50), "the first ones, at once");
        let (_, connections) = server.heard();
        assert!(connections <= 50, "{connections}");
        for _ in 0..20 {
            assert_eq!(ask_many(&sender, 1).await, (0, 1));
        }
        assert_eq!(server.heard(), (0, connections));
    }
}

#[tokio::test]
async fn a_server_over_tls_that_changes_its_mind_is_followed() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = Speaker::echoing(&authority, HTTP1).await;
    route(&edge, "a", &server, trusting(&authority)).await;
    let (sender, _connection) = connect(edge.address).await;
    for _ in 0..3 {
        assert_eq!(ask_many(&sender, 10).await, (0, 10));
        server.agree_to(BOTH);
        assert_eq!(ask_many(&sender, 10).await, (10, 0));
        server.agree_to(HTTP1);
    }
}

#[tokio::test]
async fn what_switches_protocols_goes_by_http1_to_a_server_that_speaks_both() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = Speaker::echoing(&authority, BOTH).await;
    route(&edge, "a", &server, trusting(&authority)).await;
    let (sender, _connection) = connect(edge.address).await;
    assert_eq!(ask_many(&sender, 1).await, (1, 0));
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let asked = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(asked.as_bytes()).await.unwrap();
    let head = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    timeout(DEADLINE, client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!((&heard, server.heard()), (b"ping", (1, 1)));
    assert_eq!(ask_many(&sender, 1).await, (1, 0));
}

/// A connection whose server was believed unseen is not for a route that looks.
#[tokio::test]
async fn a_shared_connection_is_for_routes_that_ask_for_the_same_of_its_server() {
    let (edge, authority, stranger) = (Edge::start().await, Authority::new(), Authority::new());
    let server = Speaker::echoing(&authority, BOTH).await;
    route(&edge, "a", &server, json!({ "server_tls": { "insecure_skip_verify": true } })).await;
    route(&edge, "b", &server, trusting(&stranger)).await;
    let (sender, _connection) = connect(edge.address).await;
    assert_eq!(ask_many(&sender, 5).await, (5, 0));
    let refused = join_all((0..5).map(|_| ask(&sender, request("GET", "http://b/")))).await;
    for answer in refused {
        let answer = answer.unwrap();
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(answer.status() == 502 && text.contains("speak TLS with the server"), "{text}");
    }
    assert_eq!(ask_many(&sender, 5).await, (5, 0));
    assert_eq!(server.heard().0, 1);
}

#[tokio::test]
async fn a_server_over_tls_is_checked_in_the_language_it_agrees_to() {
    for protocols in [BOTH, HTTP1] {
        let (edge, authority) = (Edge::start().await, Authority::new());
        let server = Speaker::echoing(&authority, protocols).await;
        let health = json!({ "path": "/healthy", "interval_ms": 200, "timeout_ms": 150 });
        let tls = json!({ "authorities": authority.pem() });
        route(&edge, "a", &server, json!({ "balance": { "health": health }, "server_tls": tls })).await;
        let in_order = |(http2, http1): (usize, usize)| if protocols == BOTH { (http2, http1) } else { (http1, http2) };
        eventually("it was asked more than once", || async { (in_order(server.heard()).0 > 2).then_some(()) }).await;
        assert_eq!((in_order(server.heard()).1, edge.metric("edge_server_up").await), (0, 1.0));
    }
}
