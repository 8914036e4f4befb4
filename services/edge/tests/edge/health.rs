//! Servers that are asked how they are.

use crate::harness::{DEADLINE, Edge, Server, document, eventually, json_of, name};
use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use proxyprotocol::{Accepted, Origin, Parsed, parse};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

async fn route(edge: &Edge, servers: &[&Server], health: Value) {
    let document = document("Host(`a`)", servers, json!({ "balance": { "health": health } }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

/// Serves whatever it says of its health; counts how often it was asked.
async fn server(name: &'static str, is_well: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> Server {
    let (is_well, asked) = (is_well.clone(), asked.clone());
    Server::routing(Router::new().fallback(move |request: Request| {
        let is_check = request.uri().path() == "/health";
        asked.fetch_add(usize::from(is_check), SeqCst);
        let status = if is_check && !is_well.load(SeqCst) { StatusCode::IM_A_TEAPOT } else { StatusCode::OK };
        async move { (status, axum::Json(json!({ "name": name }))) }
    }))
    .await
}

async fn twenty_are_answered_by(edge: &Edge, expected: &str) -> Option<()> {
    for _ in 0..20 {
        if name(&edge.get("a", "/").await) != expected {
            return None;
        }
    }
    Some(())
}

fn often() -> Value {
    json!({ "path": "/health", "interval_ms": 100, "timeout_ms": 20_000, "rise": 1, "fall": 1 })
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over_and_comes_back() {
    let (is_well, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let (edge, ill, well) = (Edge::start().await, server("ill", &is_well, &asked).await, Server::named("well").await);
    route(&edge, &[&ill, &well], often()).await;
    eventually("both are checked", || async {
        let up = edge.metric(&format!("edge_server_up{{server=\"{}\"}}", ill.url())).await;
        (up == 1.0 && asked.load(SeqCst) > 0).then_some(())
    })
    .await;
    eventually("it is asked", || async { (name(&edge.get("a", "/").await) == "ill").then_some(()) }).await;
    is_well.store(false, SeqCst);
    eventually("it is passed over", || twenty_are_answered_by(&edge, "well")).await;
    edge.until_metric(&format!("edge_server_up{{server=\"{}\"}}", ill.url()), 0.0).await;
    let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.unwrap();
    let state = routes["routes"][0]["servers"][0]["state"].as_str().unwrap();
    assert!(state.starts_with("down for ") && state.ends_with("it answered 418"), "{state}");
    let explain = format!("http://{}/explain?url=http://a/", edge.api);
    let explained = json_of(&edge.client.get(&explain).await.unwrap());
    assert_eq!(explained["states"][0]["url"], ill.url());
    assert!(explained["states"][0]["state"].as_str().unwrap().starts_with("down for "), "{explained}");
    is_well.store(true, SeqCst);
    eventually("it is asked again", || async { (name(&edge.get("a", "/").await) == "ill").then_some(()) }).await;
    assert!(edge.metric("edge_health_transitions_total").await >= 4.0);
}

#[tokio::test]
async fn when_all_are_down_all_are_asked() {
    let (is_well, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let (edge, one, two) =
        (Edge::start().await, server("one", &is_well, &asked).await, server("two", &is_well, &asked).await);
    route(&edge, &[&one, &two], often()).await;
    eventually("both are down", || async { (edge.metric("edge_health_transitions_total").await == 2.0).then_some(()) })
        .await;
    for expected in ["one", "two"] {
        eventually(expected, || async { (name(&edge.get("a", "/").await) == expected).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_server_of_many_routes_is_asked_once_for_all() {
    const ROUTES: usize = 30;
    let (is_well, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let (edge, one) = (Edge::start().await, server("one", &is_well, &asked).await);
    let documents: Vec<(String, String)> = (0..ROUTES)
        .map(|number| {
            let document = document(&format!("Host(`{number}`)"), &[&one], json!({ "balance": { "health": often() } }));
            (format!("/roadstead/routes/{number}"), document)
        })
        .collect();
    let changes: Vec<_> = documents.iter().map(|(key, document)| (key.as_str(), Some(document.as_str()))).collect();
    let (begun, revision) = (Instant::now(), edge.store.change(&changes).await);
    edge.applied(revision).await;
    eventually("it is asked", || async { (asked.load(SeqCst) >= 5).then_some(()) }).await;
    let asked_by_then = asked.load(SeqCst);
    let rounds = begun.elapsed().as_millis() as usize / 90 + 2;
    assert!(asked_by_then <= rounds, "{asked_by_then} in {rounds} rounds");
    // Nobody wants to know any more.
    let gone: Vec<_> = documents.iter().map(|(key, _)| (key.as_str(), None)).collect();
    edge.applied(edge.store.change(&gone).await).await;
    eventually("it is asked no more", || async {
        let before = asked.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(400)).await;
        (asked.load(SeqCst) == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_port_that_accepts_nobody_is_down() {
    let (edge, absent, alive) = (Edge::start().await, Server::absent().await, Server::named("alive").await);
    route(&edge, &[&absent, &alive], json!({ "kind": "tcp", "interval_ms": 100, "timeout_ms": 20_000 })).await;
    eventually("it is down", || async {
        let up = async |server: &Server| edge.metric(&format!("edge_server_up{{server=\"{}\"}}", server.url())).await;
        (edge.metric("edge_health_transitions_total").await == 2.0 && up(&absent).await == 0.0).then_some(())
    })
    .await;
    for _ in 0..4 {
        assert_eq!(name(&edge.get("a", "/").await), "alive");
    }
    assert_eq!(edge.metric("edge_route_retries_total{route=\"a\"}").await, 0.0, "it is not tried");
}

/// A server that demands the header, by which it can tell checks from clients.
#[tokio::test]
async fn a_check_of_a_server_that_awaits_a_proxy_header_begins_with_one_for_nobody() {
    for (version, own) in [("v1", Origin::Unknown), ("v2", Origin::Local)] {
        for kind in ["http", "tcp"] {
            let edge = Edge::start().await;
            let (said, mut says) = mpsc::unbounded_channel();
            let server = Server::raw(move |_, mut stream| {
                let said = said.clone();
                async move {
                    let mut bytes = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut bytes).await {
                        match parse(&bytes, Accepted::Either) {
                            Ok(Parsed::Partial) => continue,
                            Ok(Parsed::Complete(header, _)) => said.send(header.origin).unwrap(),
                            Err(_) => return,
                        }
                        while !bytes.ends_with(b"\r\n\r\n")
                            && stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0)
                        {}
                        let _closed = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                        return;
                    }
                }
            })
            .await;
            let health = json!({ "kind": kind, "path": "/health", "interval_ms": 100, "timeout_ms": 20_000 });
            let extra = json!({ "send_proxy": version, "balance": { "health": health } });
            let document = document("Host(`a`)", &[&server], extra);
            let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
            edge.applied(revision).await;
            let heard = timeout(DEADLINE, says.recv()).await.expect("it is checked").unwrap();
            assert_eq!(heard, own, "{version} {kind}");
            edge.until_metric("edge_health_transitions_total", 1.0).await;
            assert_eq!(edge.metric(&format!("edge_server_up{{server=\"{}\"}}", server.url())).await, 1.0);
            assert_eq!(edge.get("a", "/").await.status(), 200);
            let is_client = async { while !matches!(says.recv().await.unwrap(), Origin::Tcp(_)) {} };
            timeout(DEADLINE, is_client).await.expect("a client is named");
        }
    }
}
