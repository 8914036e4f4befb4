//! Peers that do what no well-behaved one does: nobody but they themselves is the worse for it.

use crate::harness::{DEADLINE, Edge, Server, config, eventually, exchange, free_address, read_head};
use crate::memory_store::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

/// Serves `Host(v)` with vulcand's settings.
pub async fn vulcand(edge: &Edge, server: &Server, backend: Value, frontend: Value) {
    let backend = json!({ "Type": "http", "Settings": backend }).to_string();
    let server_json = json!({ "URL": server.url() }).to_string();
    let frontend = json!({ "Type": "http", "BackendId": "b1", "Route": "Host(`v`)", "Settings": frontend }).to_string();
    let keys = [
        ("/vulcand/backends/b1/backend", Some(backend.as_str())),
        ("/vulcand/backends/b1/servers/s1", Some(&server_json)),
        ("/vulcand/frontends/f1/frontend", Some(&frontend)),
    ];
    edge.store.change(&keys).await;
    eventually("the frontend serves", || async { (edge.status().await["routes"] == 1).then_some(()) }).await;
}

/// Its requests come in one stretch, and each is answered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_requests_without_end_leaves_others_their_turn() {
    let edge = Edge::start().await;
    let (mut answers, mut requests) = TcpStream::connect(edge.address).await.unwrap().into_split();
    let flood = tokio::spawn(async move {
        let many = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
        while requests.write_all(many.as_bytes()).await.is_ok() {}
    });
    let drain = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 20];
        while matches!(answers.read(&mut sink).await, Ok(1..)) {}
    });
    // Some of them are served by the thread that the flood comes to.
    for _ in 0..64 {
        let ask = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        // The flood has no end: without a turn there is no answer, ever.
        let answer = timeout(DEADLINE, ask).await.expect("a turn");
        assert!(answer.starts_with("HTTP/1.1 503 ") || answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    flood.abort();
    drain.abort();
}

#[tokio::test]
async fn interim_responses_without_end_are_a_failure_of_the_server() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await.is_ok() {}
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    // 502, or a reset where the client had not taken all of those before.
    assert!(answer.len() < 512 * 1024, "{}", answer.len());
    eventually("it is counted", || async {
        (edge.metric("edge_requests_total{route=\"a\",code=\"502\"}").await == 1.0).then_some(())
    })
    .await;
}

/// What follows a refused body may be its rest: nothing of it is taken for a request.
#[tokio::test]
async fn a_chunked_body_above_its_limit_costs_its_connection() {
    let edge = Edge::start().await;
    let (sender, mut asked) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                sender.send(()).unwrap();
            }
        }
    })
    .await;
    vulcand(&edge, &server, json!({}), json!({ "Limits": { "MaxBodyBytes": 4 } })).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    timeout(DEADLINE, asked.recv()).await.unwrap();
    client.write_all(b"5\r\nfives\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: v\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("Connection: close\r\n"), "{head}");
    timeout(DEADLINE, client.read_to_end(&mut Vec::new())).await.expect("the end").unwrap();
}

#[tokio::test]
async fn a_small_body_that_comes_slowly_has_the_time_of_a_body() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.unwrap();
        let mut ticks = interval(Duration::from_millis(300));
        for _ in 0..10 {
            ticks.tick().await;
            stream.write_all(b"x").await.unwrap();
        }
    })
    .await;
    vulcand(&edge, &server, json!({ "Timeouts": { "Read": "2s" } }), json!({})).await;
    let answer = exchange(edge.address, "GET / HTTP/1.1\r\nHost: v\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("xxxxxxxxxx"), "{answer}");
}

/// The rest of the request's body would go through the tunnel as if it belonged there.
#[tokio::test]
async fn a_server_that_switches_protocols_before_it_has_the_request_fails() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        let _end = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let head = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

/// Empty lines before a request mean nothing, so who sent nothing else idles.
#[tokio::test]
async fn a_client_that_sent_an_empty_line_idles() {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { head: Duration::from_millis(100), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await;
    assert_eq!(exchange(edge.address, "\r\n").await, "");
}

#[tokio::test]
async fn exchanges_that_break_off_are_counted() {
    let edge = Edge::start().await;
    let (sender, mut asked) = mpsc::unbounded_channel();
    let silent = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            sender.send(()).unwrap();
            let _end = stream.read_u8().await;
        }
    })
    .await;
    edge.route("a", "a", &[&silent]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(DEADLINE, asked.recv()).await.unwrap();
    drop(client);
    let counted = |line| async move { (line == 1.0).then_some(()) };
    eventually("the client that left is counted", || async {
        counted(edge.metric("edge_requests_total{route=\"a\",code=\"499\"}").await).await
    })
    .await;

    let breaking = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.unwrap();
    })
    .await;
    edge.route("b", "b", &[&breaking]).await;
    exchange(edge.address, "GET / HTTP/1.1\r\nHost: b\r\n\r\n").await;
    eventually("the broken response is counted", || async {
        counted(edge.metric("edge_requests_total{route=\"b\",code=\"502\"}").await).await
    })
    .await;
}

/// The new listener does not find the old one's sockets still there, and wait for its next attempt.
#[tokio::test]
async fn a_listener_takes_over_anothers_address_at_once() {
    let edge = Edge::start().await;
    let address = free_address();
    let listener = json!({ "Protocol": "http", "Address": { "Network": "tcp", "Address": address.to_string() } });
    let listener = listener.to_string();
    let begun = Instant::now();
    let mut before = None;
    for number in 0..20 {
        let key = format!("/vulcand/listeners/ls{number}");
        let mut keys = vec![(key.as_str(), Some(listener.as_str()))];
        keys.extend(before.as_deref().map(|before| (before, None)));
        let revision = edge.store.change(&keys).await;
        edge.applied(revision).await;
        eventually("it listens", || async {
            let problems = edge.status().await["problems"].to_string();
            assert!(!problems.contains("listen on"), "{problems}");
            TcpStream::connect(address).await.ok()
        })
        .await;
        before = Some(key);
    }
    assert!(begun.elapsed() < DEADLINE);
}
