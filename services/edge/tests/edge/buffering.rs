//! Bodies that are taken whole before a server is asked, so that they can be sent again.

use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, exchange, read_head};
use crate::memory_store::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn route(edge: &Edge, servers: &[&Server], more: Value) {
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", servers, more)))]).await;
    edge.applied(revision).await;
}

/// Dies in the middle of a request's body: after `bytes` of it.
async fn dying(bytes: usize) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::raw(move |_, mut stream| {
        let count = count.clone();
        async move {
            read_head(&mut stream).await;
            stream.read_exact(&mut vec![0; bytes]).await.unwrap();
            count.fetch_add(1, SeqCst);
        }
    })
    .await;
    (server, asked)
}

fn request(method: &str, bytes: usize, is_chunked: bool) -> String {
    let body = "x".repeat(bytes);
    let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    if !is_chunked {
        return format!("{head}Content-Length: {bytes}\r\n\r\n{body}");
    }
    let half = bytes / 2;
    let (one, two) = body.split_at(half);
    format!("{head}Transfer-Encoding: chunked\r\n\r\n{half:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", bytes - half)
}

#[tokio::test]
async fn a_server_that_dies_while_a_kept_body_is_sent_costs_nothing() {
    for (bytes, memory_bytes) in [(10, 1 << 20), (300_000, 1 << 20), (3_000_000, 4096)] {
        for is_chunked in [false, true] {
            let edge = Edge::start().await;
            let ((dying, died), other) = (dying(bytes / 2).await, Server::named("other").await);
            let asked = json!({
                "failover_predicate": "IsNetworkError() && Attempts() < 3",
                "balance": { "buffer": { "memory_bytes": memory_bytes } },
            });
            route(&edge, &[&dying, &other], asked).await;
            for _ in 0..2 {
                let answer = exchange(edge.address, &request("POST", bytes, is_chunked)).await;
                assert!(answer.starts_with("HTTP/1.1 200 OK"), "{bytes} {is_chunked}: {answer}");
                assert!(answer.contains(&format!("\"body_bytes\":{bytes}")), "{answer}");
                let framing = if is_chunked { "[\"transfer-encoding\",\"chunked\"]" } else { "[\"content-length\"," };
                assert!(answer.contains(framing), "{answer}");
            }
            // Once, or again when its pause was over by then.
            let died = died.load(SeqCst);
            assert!((1..=2).contains(&died), "it was asked {died} times");
            assert_eq!(edge.metric("edge_route_retries_total{route=\"a\"}").await, died as f64);
            eventually("nothing is kept any more", || async {
                let kept =
                    (edge.metric("edge_buffered_memory_bytes").await, edge.metric("edge_buffered_disk_bytes").await);
                (kept == (0.0, 0.0)).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_predicate_that_names_a_method_wants_its_bodies_kept() {
    let edge = Edge::start().await;
    let ((dying, died), other) = (dying(5).await, Server::named("other").await);
    let predicate = "IsNetworkError() && RequestMethod() == \"POST\"";
    route(&edge, &[&dying, &other], json!({ "failover_predicate": predicate })).await;
    for _ in 0..2 {
        let answer = exchange(edge.address, &request("POST", 10, false)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    assert!((1..=2).contains(&died.load(SeqCst)), "it was asked, again if its pause was over by then");
}

#[tokio::test]
async fn who_expects_100_continue_is_told_by_the_edge_that_keeps_its_body() {
    let edge = Edge::start().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let server = Server::raw(move |_, mut stream| {
        count.fetch_add(1, SeqCst);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    route(&edge, &[&server], json!({ "balance": { "buffer": {} } })).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 100 "));
    assert_eq!(connections.load(SeqCst), 0, "no server is held by a client that is slow");
    client.write_all(b"body").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"), "one 100 is enough");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_body_is_kept_frees_everything() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    route(&edge, &[&server], json!({ "balance": { "buffer": { "memory_bytes": 1000 } } })).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
    client.write_all(&[0; 50_000]).await.unwrap();
    eventually("it is on disk", || async { (edge.metric("edge_buffered_disk_bytes").await > 0.0).then_some(()) }).await;
    drop(client);
    eventually("it is gone", || async {
        let kept = (edge.metric("edge_buffered_memory_bytes").await, edge.metric("edge_buffered_disk_bytes").await);
        (kept == (0.0, 0.0)).then_some(())
    })
    .await;
    edge.until_metric("edge_requests_total{route=\"a\",code=\"499\"}", 1.0).await;
}

#[tokio::test]
async fn a_body_that_cannot_be_kept_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("edge");
    let edge = Edge::keeping(&data, &Arc::new(MemoryStore::default())).await;
    let server = Server::named("one").await;
    route(&edge, &[&server], json!({ "balance": { "buffer": { "memory_bytes": 1000 } } })).await;
    // The edge makes its directory again when it keeps its table.
    eventually("there is no directory", || async {
        std::fs::remove_dir_all(&data).and_then(|()| std::fs::write(&data, "a file")).ok()
    })
    .await;
    let answer = exchange(edge.address, &request("PUT", 100_000, false)).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("cannot be kept"), "{answer}");
    let huge = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000\r\nConnection: close\r\n\r\n";
    let answer = exchange(edge.address, huge).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    edge.until_metric("edge_buffered_bodies_refused_total", 2.0).await;
    let answer = exchange(edge.address, &request("PUT", 900, false)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "what fits into memory is: {answer}");
}

#[tokio::test]
async fn vulcands_limits_bound_bodies_that_are_kept() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    let frontend = json!({
        "Type": "http", "BackendId": "b", "Route": "Host(`a`)",
        "Settings": { "Limits": { "MaxMemBodyBytes": 100, "MaxBodyBytes": 1000 } },
    });
    let revision = edge
        .store
        .change(&[
            ("/vulcand/backends/b/backend", Some(r#"{"Type":"http"}"#)),
            ("/vulcand/backends/b/servers/s", Some(&json!({ "URL": server.url() }).to_string())),
            ("/vulcand/frontends/f/frontend", Some(&frontend.to_string())),
        ])
        .await;
    edge.applied(revision).await;
    eventually("the frontend serves", || async {
        exchange(edge.address, &request("PUT", 1000, true)).await.starts_with("HTTP/1.1 200 OK").then_some(())
    })
    .await;
    for is_chunked in [false, true] {
        let answer = exchange(edge.address, &request("PUT", 1001, is_chunked)).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

/// A drip would hold the room for ever: each byte came in time for the next one.
#[tokio::test]
async fn a_body_that_drips_is_answered_408_and_frees_its_room() {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { head: Duration::from_secs(2), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await;
    let server = Server::named("one").await;
    route(&edge, &[&server], json!({ "balance": { "buffer": { "memory_bytes": 1000 } } })).await;
    let (mut reader, mut writer) = TcpStream::connect(edge.address).await.unwrap().into_split();
    writer.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
    let dripping = tokio::spawn(async move {
        // Half a second each: never too long for a byte, never enough for the window.
        while writer.write_all(&[0; 1500]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, reader.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(read.is_ok() && answer.starts_with("HTTP/1.1 408 "), "{answer}");
    dripping.abort();
    edge.until_metric("edge_buffered_disk_bytes", 0.0).await;

    // As slow, but enough of it.
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 320000\r\n\r\n").await.unwrap();
    for _ in 0..8 {
        client.write_all(&[0; 40_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
}

/// One client takes its share, and others are served on.
#[tokio::test]
async fn a_client_that_keeps_many_bodies_coming_locks_nobody_out() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    route(&edge, &[&server], json!({ "balance": { "buffer": { "memory_bytes": 1000 } } })).await;
    let begin = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut client = socket.connect(edge.address).await.unwrap();
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n").await.unwrap();
        client.write_all(&[0; 5000]).await.unwrap();
        client
    };
    // A quarter of 1024 files.
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(begin([127, 0, 0, 1]).await);
    }
    eventually("they are on disk", || async {
        (edge.metric("edge_buffered_disk_bytes").await == 256.0 * 4000.0).then_some(())
    })
    .await;
    let mut refused = begin([127, 0, 0, 1]).await;
    assert!(read_head(&mut refused).await.starts_with("HTTP/1.1 503 "));
    let mut other = begin([127, 0, 0, 2]).await;
    other.write_all(&[0; 5000]).await.unwrap();
    assert!(read_head(&mut other).await.starts_with("HTTP/1.1 200 OK"));
}

/// A disk that fails while the body is sent to a server: the file is cut behind the edge's back.
#[tokio::test]
async fn a_body_that_cannot_be_read_again_is_told_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let edge = Edge::keeping(directory.path(), &Arc::new(MemoryStore::default())).await;
    let path = directory.path().to_owned();
    let cut = Arc::new(AtomicUsize::new(0));
    let count = cut.clone();
    // It takes the head, and the beginning of the body once the rest of it is gone.
    let server = Server::raw(move |_, mut stream| {
        let (path, count) = (path.clone(), count.clone());
        async move {
            read_head(&mut stream).await;
            for file in std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| Some(file.ok()?.path())) {
                let name = std::fs::read_link(&file).unwrap_or_default();
                if name.starts_with(&path) && name.to_string_lossy().ends_with("(deleted)") {
                    std::fs::OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
                    count.fetch_add(1, SeqCst);
                }
            }
            let _broken = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
    route(&edge, &[&server], json!({ "balance": { "buffer": { "memory_bytes": 1000 } } })).await;
    let answer = exchange(edge.address, &request("PUT", 30_000_000, false)).await;
    assert_eq!(cut.load(SeqCst), 1);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("cannot be kept"), "{answer}");
    assert_eq!(edge.metric("edge_buffered_bodies_lost_total").await, 1.0);
}
