//! Copies of requests, for somebody who watches.

use crate::harness::{DEADLINE, Edge, Server, document, eventually, name, read_head};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

async fn route(edge: &Edge, server: &Server, balance: Value) {
    let document = document("Host(`a`)", &[server], json!({ "balance": balance }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

/// Tells what it received, with a body of four bytes where there is one.
async fn watching() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (received, all) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let received = received.clone();
        async move {
            loop {
                let mut request = read_head(&mut stream).await;
                if request.is_empty() {
                    return;
                }
                if request.to_ascii_lowercase().contains("content-length: 4") {
                    let mut body = [0; 4];
                    stream.read_exact(&mut body).await.unwrap();
                    request.push_str(std::str::from_utf8(&body).unwrap());
                }
                received.send(request).unwrap();
                stream.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nlost").await.unwrap();
            }
        }
    })
    .await;
    (server, all)
}

fn to(server: &Server) -> Value {
    json!([{ "id": "m", "url": server.url() }])
}

#[tokio::test]
async fn a_mirror_gets_its_share_and_nobody_gets_its_answers() {
    let (edge, main, (mirror, mut received)) = (Edge::start().await, Server::named("main").await, watching().await);
    route(&edge, &main, json!({ "mirror": { "to": to(&mirror), "percent": 25 } })).await;
    for _ in 0..40 {
        assert_eq!(name(&edge.get("a", "/path?x=1").await), "main");
    }
    for _ in 0..10 {
        let copy = timeout(DEADLINE, received.recv()).await.unwrap().unwrap();
        assert!(copy.starts_with("GET /path?x=1 HTTP/1.1\r\n") && copy.contains("X-Roadstead-Mirror: 1\r\n"), "{copy}");
    }
    eventually("all are answered", || async {
        (edge.metric("edge_mirrored_requests_total{outcome=\"answered\"}").await == 10.0).then_some(())
    })
    .await;
    assert!(received.try_recv().is_err());
    assert_eq!(edge.metric("edge_requests_total{route=\"a\",code=\"500\"}").await, 0.0);
}

#[tokio::test]
async fn bodies_that_are_kept_are_copied_and_others_are_not() {
    let (edge, main, (mirror, mut received)) = (Edge::start().await, Server::named("main").await, watching().await);
    route(&edge, &main, json!({ "mirror": { "to": to(&mirror) } })).await;
    assert_eq!(edge.call(Method::POST, "a", "/streams", "body").await.status(), StatusCode::OK);
    route(&edge, &main, json!({ "buffer": {}, "mirror": { "to": to(&mirror) } })).await;
    assert_eq!(edge.call(Method::POST, "a", "/kept", "body").await.status(), StatusCode::OK);
    let copy = timeout(DEADLINE, received.recv()).await.unwrap().unwrap();
    assert!(copy.starts_with("POST /kept ") && copy.ends_with("\r\n\r\nbody"), "{copy}");
}

#[tokio::test]
async fn a_mirror_may_be_another_route() {
    let (edge, main, (mirror, mut received)) = (Edge::start().await, Server::named("main").await, watching().await);
    edge.route("b", "b", &[&mirror]).await;
    route(&edge, &main, json!({ "mirror": { "to": "b" } })).await;
    assert_eq!(name(&edge.get("a", "/").await), "main");
    assert!(timeout(DEADLINE, received.recv()).await.unwrap().is_some());
    route(&edge, &main, json!({ "mirror": { "to": "nobody" } })).await;
    assert_eq!(name(&edge.get("a", "/").await), "main");
    edge.until_metric("edge_mirrored_requests_total{outcome=\"dropped\"}", 1.0).await;
}

#[tokio::test]
async fn a_mirror_that_hangs_costs_nobody_anything() {
    let (edge, main) = (Edge::start().await, Server::named("main").await);
    let held = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let hangs = Server::raw(move |_, stream| {
        let held = held.clone();
        async move { held.lock().await.push(stream) }
    })
    .await;
    route(&edge, &main, json!({ "mirror": { "to": to(&hangs) } })).await;
    for _ in 0..300 {
        assert_eq!(name(&edge.get("a", "/").await), "main");
    }
    let dropped = edge.metric("edge_mirrored_requests_total{outcome=\"dropped\"}").await;
    assert!(dropped >= 1.0, "a bounded number waits: {dropped}");
    let answered = edge.metric("edge_mirrored_requests_total{outcome=\"answered\"}").await;
    assert_eq!(answered, 0.0);
}
