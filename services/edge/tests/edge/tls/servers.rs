//! Servers over TLS.

use super::Authority;
use super::client::parts;
use crate::harness::{DEADLINE, Edge, Server, eventually, read_head_of};
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// For a handshake, if nobody says otherwise.
const DEFAULT: Duration = Duration::from_secs(5);

/// A server that speaks TLS under a certificate for these names; its handler gets the connections.
async fn server<F: Future<Output = ()> + Send + 'static>(
    authority: &Authority,
    names: &[&str],
    handle: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + Sync + Clone + 'static,
) -> Server {
    let (chain, key) = parts(&authority.issue(names));
    let builder = ServerConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::raw(move |number, stream| {
        let (acceptor, handle) = (acceptor.clone(), handle.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                handle(number, stream).await;
            }
        }
    })
    .await
}

/// Answers every request with the connection's number.
async fn numbered(number: usize, mut stream: TlsStream<TcpStream>) {
    loop {
        let head = read_head_of(&mut stream).await;
        if head.is_empty() {
            return;
        }
        let body = format!("{number}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn route(edge: &Edge, server: &Server, tls: Value) {
    let url = format!("https://localhost:{}", server.address.port());
    let document = json!({ "v": 0, "rule": "Host(`a`)", "servers": [{ "id": "1", "url": url }], "server_tls": tls });
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document.to_string()))]).await;
    edge.applied(revision).await;
}

#[tokio::test]
async fn a_server_is_believed_whose_certificate_names_it_and_whom_the_routes_authorities_vouch_for() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = server(&authority, &["localhost"], numbered).await;
    route(&edge, &server, json!({ "authorities": authority.pem() })).await;
    for _ in 0..20 {
        let response = edge.get("a", "/").await;
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"0"[..]), "connections are kept");
    }
    route(&edge, &server, json!({})).await;
    let response = edge.get("a", "/").await;
    assert_eq!(response.status().as_u16(), 502, "the machine does not trust it");
    assert!(String::from_utf8_lossy(response.body()).contains("TLS"));
    route(&edge, &server, json!({ "insecure_skip_verify": true })).await;
    assert_eq!(edge.get("a", "/").await.status().as_u16(), 200);
    route(&edge, &server, json!({ "authorities": authority.pem(), "server_name": "other.test" })).await;
    assert_eq!(edge.get("a", "/").await.status().as_u16(), 502, "its certificate names another");
    let failed = edge.metric("edge_tls_handshakes_total{side=\"server\",result=\"failed\"}").await;
    assert!(failed >= 2.0, "{failed}");

    let settings = json!({ "authorities": "nonsense" });
    let url = format!("https://localhost:{}", server.address.port());
    let document =
        json!({ "v": 0, "rule": "Host(`a`)", "servers": [{ "id": "1", "url": url }], "server_tls": settings });
    edge.store.change(&[("/roadstead/routes/a", Some(&document.to_string()))]).await;
    eventually("it is named", || async {
        let status = edge.status().await;
        status["problems"].to_string().contains("server_tls").then_some(())
    })
    .await;
}

#[tokio::test]
async fn vulcands_backends_speak_tls_as_their_settings_say() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = server(&authority, &["other.test"], numbered).await;
    let url = json!({ "URL": format!("https://{}", server.address) }).to_string();
    let backend = |tls: Value| json!({ "Type": "http", "Settings": { "TLS": tls } }).to_string();
    let frontend = json!({ "Type": "http", "BackendId": "b", "Route": "Host(`a`)" }).to_string();
    edge.store
        .change(&[
            ("/vulcand/backends/b/backend", Some(&backend(json!({ "InsecureSkipVerify": true })))),
            ("/vulcand/backends/b/servers/s", Some(&url)),
            ("/vulcand/frontends/f/frontend", Some(&frontend)),
        ])
        .await;
    eventually("it serves", || async { (edge.get("a", "/").await.status() == 200).then_some(()) }).await;
    edge.store.change(&[("/vulcand/backends/b/backend", Some(&backend(json!({}))))]).await;
    eventually("it is not believed", || async { (edge.get("a", "/").await.status() == 502).then_some(()) }).await;
}

#[tokio::test]
async fn a_server_that_dawdles_has_as_long_for_the_handshake_as_its_backend_says() {
    let edge = Edge::start().await;
    let silent =
        Server::raw(|_, mut stream| async move { while stream.read(&mut [0; 512]).await.is_ok_and(|n| n > 0) {} })
            .await;
    let url = json!({ "URL": format!("https://{}", silent.address) }).to_string();
    let backend = json!({ "Type": "http", "Settings": { "Timeouts": { "TLSHandshake": "100ms" } } }).to_string();
    let frontend = json!({ "Type": "http", "BackendId": "b", "Route": "Host(`a`)" }).to_string();
    edge.store
        .change(&[
            ("/vulcand/backends/b/backend", Some(&backend)),
            ("/vulcand/backends/b/servers/s", Some(&url)),
            ("/vulcand/frontends/f/frontend", Some(&frontend)),
        ])
        .await;
    let begun = eventually("it is asked", || async {
        let begun = Instant::now();
        (edge.get("a", "/").await.status() == 502).then_some(begun)
    })
    .await;
    assert!(begun.elapsed() < DEFAULT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_goes_to_another_server_when_one_cannot_be_spoken_to() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let good = server(&authority, &["localhost"], numbered).await;
    // It closes in the middle of the handshake.
    let bad = Server::raw(|_, mut stream| async move {
        let _hello = stream.read(&mut [0; 64]).await;
    })
    .await;
    let url = |server: &Server| format!("https://localhost:{}", server.address.port());
    let document = json!({
        "v": 0, "rule": "Host(`a`)",
        "servers": [{ "id": "1", "url": url(&bad) }, { "id": "2", "url": url(&good) }],
        "server_tls": { "authorities": authority.pem() },
    });
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document.to_string()))]).await;
    edge.applied(revision).await;
    for _ in 0..6 {
        let response = edge.call(http::Method::POST, "a", "/", "body").await;
        assert_eq!(response.status().as_u16(), 200, "no byte of it had been sent");
    }
}

#[tokio::test]
async fn a_response_without_length_is_whole_only_when_its_end_is_announced() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let connections = Arc::new(AtomicUsize::new(0));
    let announces = connections.clone();
    let server = server(&authority, &["localhost"], move |_, mut stream| {
        let announces = announces.clone();
        async move {
            let _head = read_head_of(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
            stream.flush().await.unwrap();
            if announces.fetch_add(1, SeqCst) == 0 {
                stream.shutdown().await.unwrap();
            }
        }
    })
    .await;
    route(&edge, &server, json!({ "authorities": authority.pem() })).await;
    assert_eq!(&edge.get("a", "/").await.body()[..], b"all of it");
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_err() || !text.ends_with("0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn large_bodies_pass_to_a_server_over_tls_and_back() {
    const BYTES: usize = 8 << 20;
    let (edge, authority) = (Edge::start().await, Authority::new());
    let server = server(&authority, &["localhost"], |_, mut stream| async move {
        let _head = read_head_of(&mut stream).await;
        let mut body = vec![0; BYTES];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        stream.flush().await.unwrap();
        let _end = stream.read(&mut [0]).await;
    })
    .await;
    route(&edge, &server, json!({ "authorities": authority.pem() })).await;
    let body: Vec<u8> = (0..BYTES).map(|place| (place % 249) as u8).collect();
    let request = http::Request::put(format!("http://{}/", edge.address)).header("host", "a");
    let response = edge.client.fetch(request.body(web::full_body(body.clone())).unwrap()).await.unwrap();
    assert!(response.status() == 200 && response.body()[..] == body);
}
