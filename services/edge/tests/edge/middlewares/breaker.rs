//! The circuit breaker trips, answers instead of the server, tells somebody, and recovers.

use super::{counting, get, serve, status, text};
use crate::harness::{DEADLINE, Edge, Server, eventually};
use axum::extract::Request;
use http::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::mpsc;

/// Says the method, path, a header and the body of what comes.
async fn hooks() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (sender, received) = mpsc::unbounded_channel();
    let router = axum::Router::new().fallback(move |request: Request| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 4096).await.unwrap();
            let from = head.headers.get("x-from").map_or("", |value| value.to_str().unwrap());
            let told = format!("{} {} {from} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body));
            let _gone = sender.send(told);
        }
    });
    (Server::routing(router).await, received)
}

fn hook(server: &Server, path: &str) -> Value {
    json!({ "Type": "webhook", "Action": {
        "URL": format!("{}{path}", server.url()), "Method": "POST", "Headers": { "X-From": ["edge"] }, "Body": "news!" } })
}

#[tokio::test]
async fn a_breaker_trips_tells_and_recovers() {
    let edge = Edge::start().await;
    let is_ill = Arc::new(AtomicBool::new(true));
    let seen = is_ill.clone();
    let answer = move |_| {
        let status = if seen.load(SeqCst) { 500 } else { 200 };
        Response::builder().status(status).body("from the server".to_owned()).unwrap()
    };
    let (server, asked) = counting(answer).await;
    let (hooked, mut told) = hooks().await;
    let breaker = json!([{ "Id": "cb", "Type": "cbreaker", "Middleware": {
        "Condition": "ResponseCodeRatio(500, 600, 0, 600) > 0.5",
        "Fallback": { "Type": "response", "Action": { "StatusCode": 503, "Body": "later!" } },
        "OnTripped": hook(&hooked, "/tripped"), "OnStandby": hook(&hooked, "/standby"),
        "FallbackDuration": "3s", "RecoveryDuration": "50ms", "CheckPeriod": "1ms",
    } }]);
    serve(&edge, &[&server], &breaker).await;

    let first = get(&edge, "/", &[]).await;
    assert_eq!((first.status().as_u16(), text(&first)), (500, "from the server"));
    let instead = get(&edge, "/", &[]).await;
    assert_eq!((instead.status().as_u16(), text(&instead)), (503, "later!"));
    assert_eq!(asked.load(SeqCst), 1, "the server was left alone");
    let hear = |told| tokio::time::timeout(DEADLINE, told);
    assert_eq!(hear(told.recv()).await.unwrap().unwrap(), "POST /tripped edge news!");

    is_ill.store(false, SeqCst);
    eventually("it recovers", || async { (status(&edge, &[]).await == 200).then_some(()) }).await;
    let mut standby = Box::pin(tokio::time::timeout(DEADLINE, told.recv()));
    // The ramp ends with a request.
    let heard = loop {
        tokio::select! {
            heard = &mut standby => break heard,
            _status = status(&edge, &[]) => {}
        }
    };
    assert_eq!(heard.unwrap().unwrap(), "POST /standby edge news!");
    for _ in 0..20 {
        assert_eq!(status(&edge, &[]).await, 200);
    }
}

/// Nobody answers: the edge's own 502 counts.
#[tokio::test]
async fn errors_of_the_edge_trip_it_too() {
    let edge = Edge::start().await;
    let gone = Server::absent().await;
    let breaker = json!([{ "Id": "cb", "Type": "cbreaker", "Middleware": {
        "Condition": "NetworkErrorRatio() > 0.5", "CheckPeriod": "1ms",
        "Fallback": { "Type": "redirect", "Action": { "URL": "https://status.example", "PreservePath": true } },
    } }]);
    serve(&edge, &[&gone], &breaker).await;
    assert_eq!(status(&edge, &[]).await, 502);
    let instead = get(&edge, "/x", &[]).await;
    assert_eq!((instead.status().as_u16(), super::field(&instead, "location")), (302, "https://status.example/x"));
}
