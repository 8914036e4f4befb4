//! Connections to servers that carry request after request.

use crate::harness::{DEADLINE, Edge, Server, exchange, read_head};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;

/// Many at once are kept for the next that are as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_thread_keeps_as_many_connections_as_it_needs_at_once() {
    const CLIENTS: usize = 200;
    let edge = Edge::start().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, all_came) = (accepted.clone(), Arc::new(Barrier::new(CLIENTS)));
    let server = Server::raw(move |_, mut stream| {
        count.fetch_add(1, SeqCst);
        let all_came = all_came.clone();
        async move {
            while read_head(&mut stream).await.ends_with("\r\n\r\n") {
                all_came.wait().await;
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(TcpStream::connect(edge.address).await.unwrap());
    }
    for _ in 0..3 {
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        }
        for client in &mut clients {
            assert!(timeout(DEADLINE, read_head(client)).await.unwrap().starts_with("HTTP/1.1 200 OK"));
            client.read_exact(&mut [0; 2]).await.unwrap();
        }
    }
    assert_eq!(accepted.load(SeqCst), CLIENTS);
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position % 251) as u8).collect()
}

/// Those that go through the kernel alone, those that do not, and the ones after them.
#[tokio::test]
async fn bodies_of_all_sizes_come_whole_one_after_the_other() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let Some(length) = head.split(['/', ' ']).nth(2).and_then(|length| length.parse().ok()) else { return };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            if stream.write_all(&[answer, body(length)].concat()).await.is_err() {
                return;
            }
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let sizes = [2, 100_000, 100_000, 3, 65_536, 0, 40_000, 4_000, 33_000, 32_767, 5_000_000, 12_288, 2_049, 70_000, 1];
    for length in sizes {
        client.write_all(format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let head = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
        assert!(head.contains(&format!("Content-Length: {length}\r\n")), "{head}");
        let mut came = vec![0; length];
        timeout(DEADLINE, client.read_exact(&mut came)).await.unwrap().unwrap();
        assert!(came == body(length), "{length} bytes came otherwise");
        // And when the connection ends with it.
        let request = format!("GET /{length} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = exchange(edge.address, &request).await;
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Connection: close"), "{head}");
        assert!(answer.ends_with(&String::from_utf8_lossy(&body(length)).into_owned()), "{length} bytes");
    }
}
