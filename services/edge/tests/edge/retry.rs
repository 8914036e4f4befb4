//! How often a request is sent to another server.

use crate::harness::{Edge, Server, document};
use http::{Method, StatusCode};
use serde_json::{Value, json};

async fn route(edge: &Edge, servers: &[&Server], more: Value) {
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", servers, more)))]).await;
    edge.applied(revision).await;
}

#[tokio::test]
async fn beyond_the_retry_budget_the_first_failure_is_answered() {
    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let edge = Edge::start().await;
    let busy = Server::routing(axum::Router::new().fallback(|| async { BUSY })).await;
    let free = Server::named("free").await;
    let asked = json!({
        "failover_predicate": "ResponseCode() == 503 && Attempts() < 2",
        "balance": { "retry": { "ratio": 0.0, "min_per_second": 1 } },
    });
    route(&edge, &[&busy, &free], asked).await;
    let mut refused = 0;
    for _ in 0..60 {
        refused += u32::from(edge.get("a", "/").await.status() == BUSY);
    }
    let retries = edge.metric("edge_route_retries_total{route=\"a\"}").await;
    let denied = edge.metric("edge_route_retries_denied_total{route=\"a\"}").await;
    assert!((10.0..20.0).contains(&retries), "one in each of ten seconds: {retries}");
    assert!(refused > 0 && denied == f64::from(refused), "{denied} denied, {refused} refused");
}

#[tokio::test]
async fn another_server_than_one_that_cannot_be_reached_costs_no_budget() {
    let edge = Edge::start().await;
    let (absent, alive) = (Server::absent().await, Server::named("alive").await);
    route(&edge, &[&absent, &alive], json!({ "balance": { "retry": { "ratio": 0.0, "min_per_second": 0 } } })).await;
    for _ in 0..4 {
        assert_eq!(edge.call(Method::POST, "a", "/", "x").await.status(), StatusCode::OK);
    }
    assert!(edge.metric("edge_route_retries_total{route=\"a\"}").await >= 1.0);
}
