//! Limits of rates, of requests at once, of bodies and of time.

use super::{behind, field, get, one, serve, status, text};
use crate::harness::{DEADLINE, Edge, Server, call, eventually, exchange, name, read_head};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// So many requests, and no more for as long as a test runs.
fn only(requests: u32) -> serde_json::Value {
    one("ratelimit", json!({ "PeriodSeconds": 3600, "Requests": requests, "Variable": "client.ip" }))
}

#[tokio::test]
async fn beyond_its_rate_a_client_is_told_when_to_come_again() {
    let (edge, _server) = behind(only(2)).await;
    assert_eq!((status(&edge, &[]).await, status(&edge, &[]).await), (200, 200));
    let refused = get(&edge, "/", &[]).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(field(&refused, "x-retry-in").ends_with('s'), "{refused:?}");
    assert_eq!(text(&refused), format!("max rate reached: retry-in {}", field(&refused, "x-retry-in")));
    edge.until_metric("edge_requests_total{route=\"a\",code=\"429\"}", 1.0).await;
}

#[tokio::test]
async fn a_retry_is_charged_once() {
    let edge = Edge::start().await;
    let (dead, alive) = (Server::absent().await, Server::named("alive").await);
    serve(&edge, &[&dead, &alive], &only(3)).await;
    for _ in 0..3 {
        assert_eq!(name(&get(&edge, "/", &[]).await), "alive");
    }
    assert!(edge.metric("edge_route_retries_total{route=\"a\"}").await >= 1.0, "a request was sent again");
    assert_eq!(status(&edge, &[]).await, 429);
}

#[tokio::test]
async fn a_bucket_outlives_every_change_but_one_of_its_own() {
    let edge = Edge::start().await;
    let (first, second) = (Server::named("first").await, Server::named("second").await);
    serve(&edge, &[&first], &only(1)).await;
    assert_eq!((status(&edge, &[]).await, status(&edge, &[]).await), (200, 429));
    serve(&edge, &[&first, &second], &only(1)).await;
    assert_eq!(status(&edge, &[]).await, 429, "servers came");
    let mut with_another = only(1);
    with_another.as_array_mut().unwrap().push(json!({ "Id": "c", "Type": "compress" }));
    serve(&edge, &[&second], &with_another).await;
    assert_eq!(status(&edge, &[]).await, 429, "another middleware came");
    serve(&edge, &[&second], &only(2)).await;
    assert_eq!(status(&edge, &[]).await, 200, "it is another limit");
}

/// A server that answers when it is told to, or switches protocols when it is asked to; how many wait for their answer.
async fn waiting() -> (Server, watch::Sender<bool>, Arc<AtomicUsize>) {
    let (go, wait) = watch::channel(false);
    let waiting = Arc::<AtomicUsize>::default();
    let count = waiting.clone();
    let server = Server::raw(move |_, mut stream| {
        let (mut wait, count) = (wait.clone(), count.clone());
        async move {
            if read_head(&mut stream).await.contains("upgrade") {
                let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                stream.write_all(switched).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ended = tokio::io::copy(&mut read, &mut write).await;
            } else {
                count.fetch_add(1, SeqCst);
                wait.wait_for(|go| *go).await.unwrap();
                count.fetch_sub(1, SeqCst);
                let _left = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (server, go, waiting)
}

#[tokio::test]
async fn requests_at_once_are_counted_until_they_end_however_they_do() {
    let (edge, (server, go, waiting)) = (Edge::start().await, waiting().await);
    serve(&edge, &[&server], &one("connlimit", json!({ "Connections": 1, "Variable": "client.ip" }))).await;
    let begin = |request: &'static str| async move {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    };
    go.send(true).unwrap();
    let refused = || async {
        let response = call(&edge.client, edge.address, Method::GET, "a", "/", "").await.unwrap();
        (response.status() == 429).then(|| text(&response).to_owned())
    };

    let mut tunnel = begin("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert!(read_head(&mut tunnel).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(eventually("the tunnel counts", refused).await, "max connections reached: 1");
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x');
    drop(tunnel);
    let is_free = || async { (status(&edge, &[]).await == 200).then_some(()) };
    eventually("a tunnel that closed is free", is_free).await;

    go.send(false).unwrap();
    let abandoned = begin("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it waits", || async { (waiting.load(SeqCst) == 1).then_some(()) }).await;
    assert_eq!(status(&edge, &[]).await, 429);
    drop(abandoned);
    go.send(true).unwrap();
    eventually("a client that left is free", is_free).await;
}

#[tokio::test]
async fn a_body_is_bounded_whether_it_says_its_length_or_not() {
    let (edge, _server) = behind(one("bodylimit", json!({ "MaxRequestBytes": 5 }))).await;
    let post = |body| call(&edge.client, edge.address, Method::POST, "a", "/", body);
    assert_eq!(post("12345").await.unwrap().status(), 200);
    let refused = post("123456").await.unwrap();
    assert_eq!((refused.status().as_u16(), text(&refused).contains("longer than 5 bytes")), (413, true));
    let chunked = |chunks: &str| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let request = format!("{head}{chunks}0\r\n\r\n");
        let address = edge.address;
        async move { exchange(address, &request).await }
    };
    assert!(chunked("5\r\n12345\r\n").await.starts_with("HTTP/1.1 200 "));
    assert!(chunked("5\r\n12345\r\n1\r\n6\r\n").await.starts_with("HTTP/1.1 413 "));

    // What comes later is counted, too.
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n").await.unwrap();
    eventually("the first chunk is on its way", || async {
        (edge.metric("edge_requests_in_flight").await >= 1.0).then_some(())
    })
    .await;
    client.write_all(b"2\r\n56\r\n").await.unwrap();
    let head = tokio::time::timeout(DEADLINE, read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
}

#[tokio::test]
async fn an_exchange_has_as_much_time_as_its_route_allows() {
    let (edge, (server, go, _)) = (Edge::start().await, waiting().await);
    for (settings, expected) in [
        (json!({ "Request": "100ms" }), "longer than its route allows"),
        (json!({ "ResponseHead": "100ms" }), "did not answer in time"),
    ] {
        serve(&edge, &[&server], &one("timeouts", settings)).await;
        let begun = Instant::now();
        let late = get(&edge, "/", &[]).await;
        assert_eq!(late.status(), 504);
        assert!(text(&late).contains(expected), "{late:?}");
        assert!((Duration::from_millis(100)..DEADLINE / 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
    go.send(true).unwrap();
    eventually("it answers in time", || async { (status(&edge, &[]).await == 200).then_some(()) }).await;

    // A tunnel is exempt, once it is one.
    serve(&edge, &[&server], &one("timeouts", json!({ "Request": "100ms" }))).await;
    let mut tunnel = eventually("a tunnel", || async {
        let mut tunnel = TcpStream::connect(edge.address).await.unwrap();
        let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        tunnel.write_all(upgrade).await.unwrap();
        read_head(&mut tunnel).await.starts_with("HTTP/1.1 101 ").then_some(tunnel)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x');
}

/// The head is on its way to the client by then, so nothing can be said any more.
#[tokio::test]
async fn a_response_that_lasts_too_long_breaks_off() {
    let edge = Edge::start().await;
    let endless = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome").await.unwrap();
        let _ended = stream.read_u8().await;
    })
    .await;
    for settings in [json!({ "Request": "150ms" }), json!({ "Idle": "150ms" })] {
        serve(&edge, &[&endless], &one("timeouts", settings)).await;
        eventually("it breaks off behind its head", || async {
            let answer = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            // Where the head was too late already, it is said.
            (!answer.starts_with("HTTP/1.1 504 ")).then(|| {
                assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("some"), "{answer}");
            })
        })
        .await;
    }
}
