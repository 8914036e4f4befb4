//! Peers that are slow, split what they send, leave in the middle, or speak an older HTTP: what becomes of each.

use crate::harness::{DEADLINE, Edge, Server, config, document, exchange, read_head};
use crate::memory_store::MemoryStore;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Reads a request: its head and, of 5 bytes or in chunks, its body.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = read_head(stream).await;
    let end = match request.as_str() {
        "" => return None,
        chunked if chunked.contains("chunked") => "0\r\n\r\n",
        fixed if fixed.contains("Content-Length: 5") => "hello",
        _ => "",
    };
    while !request.ends_with(end) {
        request.push(char::from(stream.read_u8().await.ok()?));
    }
    Some(request)
}

/// A server that says what it received and answers every request the same.
async fn answering(answer: &'static [u8]) -> (Server, mpsc::UnboundedReceiver<String>) {
    let (sender, received) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                let _gone = sender.send(request);
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (server, received)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_answered_408_and_an_idle_client_is_closed() {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { head: Duration::from_secs(1), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await;
    let slow = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    let (slow, idle) = tokio::join!(slow, exchange(edge.address, ""));
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    assert_eq!(idle, "");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { stall: Duration::from_millis(100), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await;
    let endless = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _left = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
    })
    .await;
    edge.route("a", "a", &[&endless]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    edge.until_metric("edge_requests_total{route=\"a\",code=\"499\"}", 1.0).await;
    edge.until_metric("edge_requests_in_flight ", 0.0).await;
}

#[tokio::test]
async fn a_request_may_come_in_two_parts_split_anywhere() {
    let edge = Edge::start().await;
    let (server, mut received) = answering(OK).await;
    edge.route("a", "a", &[&server]).await;
    let request = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for split in 1..request.len() {
        client.write_all(&request.as_bytes()[..split]).await.unwrap();
        // A round trip to the edge, so that the parts are not one segment.
        edge.metric("edge_connections ").await;
        client.write_all(&request.as_bytes()[split..]).await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"), "split at {split}");
        let mut body = [0; 2];
        client.read_exact(&mut body).await.unwrap();
        assert!(received.recv().await.unwrap().ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "split at {split}");
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let edge = Edge::start().await;
    let (server, mut received) = answering(OK).await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in b"PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
    assert!(received.recv().await.unwrap().ends_with("\r\n\r\nhello"));
}

#[tokio::test]
async fn a_response_may_come_byte_by_byte() {
    let edge = Edge::start().await;
    let answers: [&[u8]; 2] =
        [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"];
    for answer in answers {
        let server = Server::raw(move |_, mut stream| async move {
            stream.set_nodelay(true).unwrap();
            while read_request(&mut stream).await.is_some() {
                for byte in answer {
                    stream.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        edge.route("a", "a", &[&server]).await;
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut seen = vec![0; answer.len()];
            tokio::time::timeout(DEADLINE, client.read_exact(&mut seen)).await.unwrap().unwrap();
            assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(answer));
        }
    }
}

#[tokio::test]
async fn many_pipelined_requests_with_bodies_are_answered_in_order() {
    const REQUESTS: usize = 200;
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let one = |number| format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let mut requests: String = (0..REQUESTS).map(one).collect();
    requests.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answers = exchange(edge.address, &requests).await;
    let targets: Vec<&str> =
        answers.split("\"target\":\"/").skip(1).map(|text| text.split('"').next().unwrap()).collect();
    let expected: Vec<String> = (0..REQUESTS).map(|number| number.to_string()).chain(["last".into()]).collect();
    assert_eq!(targets, expected);
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_may_stay() {
    let edge = Edge::start().await;
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (server, _received) = answering(chunked).await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "okay!", "{answer}");
    assert!(!head.contains("chunked") && head.contains("Connection: close"), "{head}");

    let (server, _received) = answering(OK).await;
    edge.route("b", "b", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.0\r\nHost: b\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert!(read_head(&mut client).await.contains("Connection: keep-alive\r\n"));
        client.read_exact(&mut [0; 2]).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_servers_connection_comes_in_chunks() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end").await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_head(&mut client).await.contains("Transfer-Encoding: chunked\r\n"));
        let mut body = vec![0; "a\r\nto the end\r\n0\r\n\r\n".len()];
        client.read_exact(&mut body).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body), "a\r\nto the end\r\n0\r\n\r\n");
    }
    let old = exchange(edge.address, "GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(old.ends_with("\r\n\r\nto the end"), "{old}");
}

/// Neither a client of HTTP/1.1, by the missing last chunk, nor an old one, by the reset, takes a part for the whole.
#[tokio::test]
async fn a_chunked_response_that_breaks_off_is_seen_by_the_client() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    for version in ["1.1", "1.0"] {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(DEADLINE, client.read_to_end(&mut answer)).await.unwrap();
        let whole = read.is_ok() && (version == "1.0" || answer.ends_with(b"0\r\n\r\n"));
        assert!(!whole, "{}", String::from_utf8_lossy(&answer));
    }
}

/// To go away while waiting is to leave, even if only to send no more: the server is told, and nobody else is asked.
#[tokio::test]
async fn a_client_that_closes_its_side_while_it_waits_has_left() {
    let edge = Edge::start().await;
    let (sender, mut events) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            sender.send("asked").unwrap();
            let _end = stream.read_u8().await;
            sender.send("told").unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(events.recv().await, Some("asked"));
    client.shutdown().await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, events.recv()).await.unwrap(), Some("told"));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    assert!(events.try_recv().is_err(), "asked again");
}

/// A server that closes its idle connections loses no POST, which could not be sent again.
#[tokio::test]
async fn a_post_takes_no_connection_that_the_server_has_closed() {
    let edge = Edge::start().await;
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            drop(stream);
            sender.send(()).unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for _ in 0..50 {
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
        client.read_exact(&mut [0; 2]).await.unwrap();
        closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn interim_responses_pass_but_not_to_http_1_0() {
    let edge = Edge::start().await;
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (server, _received) = answering(hints).await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    let answer = exchange(edge.address, "GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// A server that says nothing about `Expect` gets the body after a moment.
#[tokio::test]
async fn a_silent_server_does_not_hold_a_client_that_expects_100_continue() {
    let edge = Edge::start().await;
    let (server, mut received) = answering(OK).await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
    assert!(received.recv().await.unwrap().ends_with("hello"));
}

/// What a client sends behind its request to switch protocols is the tunnel's.
#[tokio::test]
async fn a_tunnel_loses_no_early_byte_and_ends_side_by_side() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nfirst";
        stream.write_all(answer).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly";
    client.write_all(request).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    client.write_all(b" late").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "firstearly late");
}

#[tokio::test]
async fn a_second_edge_on_the_same_address_fails_by_name() {
    let edge = Edge::start().await;
    let config = edge::Config { listen: vec![edge.address], ..config(Arc::new(MemoryStore::default())) };
    let Err(error) = edge::start(config, lifecycle::Stop::new()).await else { panic!("two edges on one address") };
    let chain = lifecycle::ErrorChain(&error).to_string();
    assert!(chain.contains(&format!("listen on {}", edge.address)), "{chain}");
}

/// More connections at once than any thread has servers' connections for, each of a few requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_are_served() {
    let edge = Edge::start().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let server = Server::raw(move |_, mut stream| {
        let count = count.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                count.fetch_add(1, SeqCst);
                if stream.write_all(OK).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let client = |address| async move {
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..5 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
            client.read_exact(&mut [0; 2]).await.unwrap();
        }
    };
    let clients: Vec<_> = (0..300).map(|_| tokio::spawn(client(edge.address))).collect();
    for client in clients {
        tokio::time::timeout(DEADLINE, client).await.unwrap().unwrap();
    }
    assert_eq!(requests.load(SeqCst), 1500);
    edge.until_metric("edge_requests_total{route=\"a\",code=\"200\"}", 1500.0).await;
    edge.until_metric("edge_route_request_duration_seconds_count{route=\"a\"}", 1500.0).await;
    let url = server.url();
    edge.until_metric(&format!("edge_server_requests_total{{server=\"{url}\",code=\"200\"}}"), 1500.0).await;
}

/// A route whose servers all refuse answers and keeps the client's connection when the request has come whole.
#[tokio::test]
async fn a_failed_request_does_not_cost_its_connection() {
    let edge = Edge::start().await;
    let absent = Server::absent().await;
    let revision =
        edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", &[&absent], json!({}))))]).await;
    edge.applied(revision).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        let length = head.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        client.read_exact(&mut vec![0; length]).await.unwrap();
    }
}
