//! PROXY headers: whom a proxy before the edge speaks for.

use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, free_address, received};
use crate::memory_store::MemoryStore;
use http::Response;
use proxyprotocol::{Accepted, Ends, Extension, Origin, Parsed, parse, write_v1, write_v2};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn named() -> Origin {
    Origin::Tcp(Ends { source: "203.0.113.7:4711".parse().unwrap(), destination: "192.0.2.1:80".parse().unwrap() })
}

fn headers() -> [Vec<u8>; 2] {
    let [mut line, mut binary] = [Vec::new(), Vec::new()];
    write_v1(&named(), &mut line);
    write_v2(&named(), &[Extension::Authority("a".into())], true, &mut binary);
    [line, binary]
}

/// Sends in pieces of this size; what came until the end, which must come.
async fn exchange(address: SocketAddr, bytes: &[u8], size: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in bytes.chunks(size) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the edge closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The `X-Forwarded-For` that the server was sent.
fn forwarded_for(answer: &str) -> Vec<String> {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body = body[body.find('{').unwrap_or(0)..body.rfind('}').map_or(0, |end| end + 1)].to_owned();
    received(&Response::new(body.into()), "x-forwarded-for")
}

async fn edge(proxies: &str) -> (Edge, Server) {
    edge_with(proxies, edge::ClientTimes::default()).await
}

async fn edge_with(proxies: &str, client_times: edge::ClientTimes) -> (Edge, Server) {
    let store = Arc::new(MemoryStore::default());
    let proxies = vec![routing::Network::parse(proxies).unwrap()];
    let edge = Edge::of(edge::Config { proxies, client_times, ..config(store.clone()) }, store).await;
    let server = Server::named("one").await;
    let rule = "Host(`a`) && ClientIP(`203.0.113.0/24`)";
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document(rule, &[&server], json!({}))))]).await;
    edge.applied(revision).await;
    (edge, server)
}

#[tokio::test]
async fn whom_a_proxy_names_is_the_client_in_everything() {
    let (edge, _server) = edge("127.0.0.0/8").await;
    for header in headers() {
        for size in [1, 7, usize::MAX] {
            let answer = exchange(edge.address, &[&header[..], REQUEST.as_bytes()].concat(), size).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_eq!(forwarded_for(&answer), ["203.0.113.7"], "{answer}");
        }
    }
    // It speaks for itself: then it is the client, whom the route does not take.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let answer = exchange(edge.address, &[header, REQUEST.as_bytes()].concat(), usize::MAX).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let is_ready = || async { (edge.ready().await.0 == 200).then_some(()) };
    eventually("the edge asks itself as a proxy does", is_ready).await;
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_refused_and_so_is_who_is_no_proxy_and_names_somebody() {
    // Half a header is waited for.
    let hurried = edge::ClientTimes { head: Duration::from_millis(500), ..edge::ClientTimes::default() };
    let (trusting, _server) = edge_with("127.0.0.0/8", hurried).await;
    for bytes in [REQUEST, "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 "] {
        assert_eq!(exchange(trusting.address, bytes.as_bytes(), usize::MAX).await, "", "{bytes}");
    }
    let (other, _server) = edge("10.0.0.0/8").await;
    for header in headers() {
        let answer = exchange(other.address, &[&header[..], REQUEST.as_bytes()].concat(), usize::MAX).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn vulcands_listener_awaits_the_header_it_asks_for() {
    let (edge, _server) = edge("127.0.0.0/8").await;
    let free = free_address();
    let listener = json!({ "Protocol": "http", "Address": { "Network": "tcp", "Address": free.to_string() },
        "ProxyProtocol": "PROXY_V1" });
    edge.store.change(&[("/vulcand/listeners/l1", Some(&listener.to_string()))]).await;
    let [line, binary] = headers();
    eventually("the listener is open", || async { TcpStream::connect(free).await.ok() }).await;
    let answer = exchange(free, &[&line[..], REQUEST.as_bytes()].concat(), usize::MAX).await;
    assert_eq!(forwarded_for(&answer), ["203.0.113.7"], "{answer}");
    assert_eq!(exchange(free, &[&binary[..], REQUEST.as_bytes()].concat(), usize::MAX).await, "");
    // What is asked for later holds for connections from then on.
    let listener = listener.to_string().replace("PROXY_V1", "PROXY_V2");
    edge.store.change(&[("/vulcand/listeners/l1", Some(&listener))]).await;
    eventually("the listener awaits the other header", || async {
        let mut stream = TcpStream::connect(free).await.ok()?;
        stream.write_all(&[&binary[..], REQUEST.as_bytes()].concat()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

/// Which client each request was from, by what the server was told, and over how many connections.
#[tokio::test]
async fn a_server_is_told_of_each_client_of_requests() {
    for version in ["v1", "v2"] {
        let edge = Edge::start().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Server::raw({
            let connections = connections.clone();
            move |_, mut stream| {
                connections.fetch_add(1, SeqCst);
                async move {
                    let mut bytes = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut bytes).await {
                        if let Ok(Parsed::Complete(header, used)) = parse(&bytes, Accepted::Either)
                            && bytes.ends_with(b"\r\n\r\n")
                        {
                            assert!(bytes[used..].starts_with(b"GET / HTTP/1.1\r\n"));
                            let source = header.tcp().unwrap().source.to_string();
                            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{source}", source.len());
                            let _closed = stream.write_all(answer.as_bytes()).await;
                            bytes.clear();
                        }
                    }
                }
            }
        })
        .await;
        let route = document("Host(`a`)", &[&server], json!({ "send_proxy": version }));
        let revision = edge.store.change(&[("/roadstead/routes/a", Some(&route))]).await;
        edge.applied(revision).await;
        for round in 1..4 {
            let mut client = TcpStream::connect(edge.address).await.unwrap();
            let source = client.local_addr().unwrap();
            client.write_all(REQUEST.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tokio::time::timeout(DEADLINE, client.read_to_string(&mut answer)).await.expect("an end").unwrap();
            assert!(answer.ends_with(&format!("\r\n\r\n{source}")), "{answer}");
            assert_eq!(connections.load(SeqCst), round, "no connection is another client's");
        }
    }
}
