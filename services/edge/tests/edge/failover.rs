//! Servers that die, refuse, break off, and what a client sees of it.

use crate::harness::{DEADLINE, Edge, Server, call, document, exchange, name, read_head};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_refused_connection_is_retried_for_any_method() {
    let edge = Edge::start().await;
    let (dead, alive) = (Server::absent().await, Server::named("alive").await);
    edge.route("a", "a", &[&dead, &alive]).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        for _ in 0..4 {
            let response = edge.call(method.clone(), "a", "/", "body").await;
            assert_eq!(response.status(), StatusCode::OK, "{method}");
            assert_eq!(name(&response), "alive");
        }
    }
    let retries = edge.metric("edge_route_retries_total{route=\"a\"}").await;
    assert!((1.0..=8.0).contains(&retries), "the refusing server is passed over for a while: {retries}");
}

/// A machine that vanished answers nothing at all: any request is soon at another server, and most are not sent there.
#[tokio::test]
async fn a_server_that_answers_nothing_is_left_within_a_moment_for_any_method() {
    let edge = Edge::start().await;
    let (hole, alive) = (Server::black_hole().await, Server::named("alive").await);
    edge.route("a", "a", &[&hole, &alive]).await;
    let all_begun = Instant::now();
    for method in [Method::GET, Method::POST, Method::GET, Method::PUT, Method::GET, Method::DELETE] {
        let begun = Instant::now();
        let response = edge.call(method.clone(), "a", "/", "body").await;
        assert_eq!((response.status(), name(&response).as_str()), (StatusCode::OK, "alive"), "{method}");
        // It is left after 300 ms; a busy machine takes its time for the rest. Without another server it would have 5 s.
        assert!(begun.elapsed() < Duration::from_secs(4), "{method}: {:?}", begun.elapsed());
    }
    // Who met silence finds out for others, for a second.
    let silent = edge.metric("edge_route_retries_total{route=\"a\"}").await;
    let silent_max = 2.0 + all_begun.elapsed().as_secs_f64().floor();
    assert!((1.0..=silent_max).contains(&silent), "{silent} of 6 were sent there, {silent_max} may be");
}

/// Busy servers leave their windows closed for a while: a large body waits.
#[tokio::test]
async fn a_server_that_takes_a_large_body_slowly_is_not_taken_for_dead() {
    const BODY_BYTES: usize = 32 << 20;
    let edge = Edge::start().await;
    let slow = Server::raw(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains(&BODY_BYTES.to_string()), "{head}");
        // Longer than small requests may stay unacknowledged, which a closed window looks like.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let read = tokio::io::copy(&mut (&mut stream).take(BODY_BYTES as u64), &mut tokio::io::sink()).await;
        assert_eq!(read.unwrap(), BODY_BYTES as u64);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&slow]).await;
    let request = http::Request::post(format!("http://{}/", edge.address)).header("host", "a");
    let response = edge.client.fetch(request.body(web::full_body(vec![0; BODY_BYTES])).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_get_is_retried_when_the_server_closes_before_or_within_its_answer() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "nonsense\r\n\r\n",
    ] {
        for with_reset in [false, true] {
            let edge = Edge::start().await;
            let broken = Server::raw(move |_, mut stream| async move {
                if with_reset {
                    // The request is left unread, so that closing resets the connection.
                    stream.readable().await.unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return;
                }
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let alive = Server::named("alive").await;
            edge.route("a", "a", &[&broken, &alive]).await;
            for _ in 0..4 {
                let response = edge.get("a", "/").await;
                assert_eq!(name(&response), "alive", "{answer:?}: {response:?}");
            }
        }
    }
}

/// The server that closes after the head of a large response cannot be replaced: the client sees the break.
#[tokio::test]
async fn a_large_response_that_breaks_off_is_seen_by_the_client() {
    let edge = Edge::start().await;
    let broken = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf").await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&broken]).await;
    let client = web::Client::default();
    assert!(call(&client, edge.address, Method::GET, "a", "/", "").await.is_err());
}

#[tokio::test]
async fn a_body_is_never_replayed() {
    let edge = Edge::start().await;
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let broken = Server::raw(move |_, mut stream| {
        let count = count.clone();
        async move {
            read_head(&mut stream).await;
            count.fetch_add(1, SeqCst);
        }
    })
    .await;
    let other = Server::named("other").await;
    let both = document("Host(`a`)", &[&broken, &other], json!({ "failover_predicate": "IsNetworkError()" }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&both))]).await;
    edge.applied(revision).await;
    let mut broken_answers = 0;
    for _ in 0..2 {
        let response = edge.call(Method::POST, "a", "/", "body").await;
        broken_answers += usize::from(response.status() == StatusCode::BAD_GATEWAY);
    }
    assert_eq!((broken_answers, received.load(SeqCst)), (1, 1), "sent once, to one server");
}

#[tokio::test]
async fn the_predicate_decides_about_response_codes() {
    let edge = Edge::start().await;
    let busy = Server::routing(axum::Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE })).await;
    let free = Server::named("free").await;
    let predicate = json!({ "failover_predicate": "ResponseCode() == 503 && Attempts() <= 2" });
    let revision =
        edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", &[&busy, &free], predicate)))]).await;
    edge.applied(revision).await;
    for _ in 0..4 {
        assert_eq!(name(&edge.get("a", "/").await), "free");
    }
    // With nobody else to ask, the answer stands.
    let alone = document("Host(`a`)", &[&busy], json!({ "failover_predicate": "ResponseCode() == 503" }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&alone))]).await;
    edge.applied(revision).await;
    assert_eq!(edge.get("a", "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_nothing() {
    let edge = Edge::start().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    // Each connection answers once as if it would stay, then closes when the next request comes.
    let server = Server::raw(move |_, mut stream| {
        count.fetch_add(1, SeqCst);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    for _ in 0..20 {
        assert_eq!(edge.get("a", "/").await.status(), StatusCode::OK);
    }
    assert!(connections.load(SeqCst) >= 20);
}

#[tokio::test]
async fn errors_have_vulcands_statuses() {
    let edge = Edge::start().await;
    let absent = Server::absent().await;
    edge.route("refused", "refused", &[&absent]).await;
    assert_eq!(edge.get("refused", "/").await.status(), StatusCode::BAD_GATEWAY);
    let silent = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let backend = r#"{"Type":"http","Settings":{"Timeouts":{"Read":"50ms"}}}"#;
    edge.store
        .change(&[
            ("/vulcand/backends/b1/backend", Some(backend)),
            ("/vulcand/backends/b1/servers/s1", Some(&json!({ "URL": silent.url() }).to_string())),
            ("/vulcand/frontends/f1/frontend", Some(r#"{"Type":"http","BackendId":"b1","Route":"Host(`v`)"}"#)),
        ])
        .await;
    crate::harness::eventually("a silent server is a timeout", || async {
        (edge.get("v", "/").await.status() == StatusCode::GATEWAY_TIMEOUT).then_some(())
    })
    .await;
    let answer = exchange(edge.address, "GET /x HTTP/1.1\r\nHost: nowhere\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"));
}

/// Servers are killed one after the other, under load on kept and on new connections, and replaced in the table only
/// afterwards: no GET is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_server_loses_no_get_under_load() {
    let edge = Edge::start().await;
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Server::named("s").await);
    }
    let listed: Vec<&Server> = servers.iter().collect();
    edge.route("a", "a", &listed).await;

    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..16 {
        let (over, answered, address) = (over.clone(), answered.clone(), edge.address);
        clients.push(tokio::spawn(async move {
            let kept = web::Client::default();
            let mut lost = Vec::new();
            while !over.load(SeqCst) {
                let fresh;
                let client = if number % 2 == 0 {
                    &kept
                } else {
                    fresh = web::Client::default();
                    &fresh
                };
                match call(client, address, Method::GET, "a", "/", "").await {
                    Ok(response) if response.status() == StatusCode::OK => answered.fetch_add(1, SeqCst),
                    Ok(response) => {
                        lost.push(format!("{response:?}"));
                        0
                    }
                    Err(error) => {
                        lost.push(lifecycle::ErrorChain(&error).to_string());
                        0
                    }
                };
            }
            lost
        }));
    }
    for round in 0..12 {
        let target = answered.load(SeqCst) + 200;
        crate::harness::eventually("load goes on", || async { (answered.load(SeqCst) > target).then_some(()) }).await;
        let replacement = Server::named("s").await;
        let victim = std::mem::replace(&mut servers[round % 4], replacement);
        victim.kill().await;
        let target = answered.load(SeqCst) + 200;
        crate::harness::eventually("load goes on", || async { (answered.load(SeqCst) > target).then_some(()) }).await;
        let listed: Vec<&Server> = servers.iter().collect();
        edge.route("a", "a", &listed).await;
    }
    over.store(true, SeqCst);
    for client in clients {
        let lost = tokio::time::timeout(DEADLINE, client).await.unwrap().unwrap();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
