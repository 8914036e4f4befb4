//! What the edge says of what it does: metrics, figures of the last seconds.

use crate::harness::{DEADLINE, Edge, Server};
use serde_json::Value;
use std::time::Duration;

/// `/metrics` as it comes to whoever accepts this.
async fn metrics(edge: &Edge, accept: &str) -> (String, String) {
    let request = http::Request::get(format!("http://{}/metrics", edge.api)).header("accept", accept);
    let response = edge.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, String::from_utf8(response.body().to_vec()).unwrap())
}

#[tokio::test]
async fn metrics_come_in_the_form_that_is_asked_for() {
    let edge = Edge::start().await;
    let (kind, text) = metrics(&edge, "text/plain").await;
    assert!(kind.starts_with("text/plain; version=0.0.4") && !text.contains("# EOF"), "{kind}");
    assert!(text.contains("# TYPE edge_store_reads_failed_total counter\n"), "{text}");
    let (kind, text) = metrics(&edge, "application/openmetrics-text; version=1.0.0").await;
    assert!(kind.starts_with("application/openmetrics-text") && text.ends_with("# EOF\n"), "{kind}");
    assert!(text.contains("# TYPE edge_store_reads_failed counter\n"), "{text}");
}

#[tokio::test]
async fn times_are_counted_by_route_and_by_server() {
    let edge = Edge::start().await;
    let slow = Server::routing(axum::Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        "late"
    }))
    .await;
    edge.route("a", "a", &[&slow]).await;
    for _ in 0..3 {
        assert_eq!(edge.get("a", "/").await.status(), 200);
    }
    let url = slow.url();
    for name in ["edge_route_request_duration_seconds", "edge_route_response_head_seconds"] {
        let of = "route=\"a\"";
        assert_eq!(edge.metric(&format!("{name}_count{{{of}}}")).await, 3.0);
        assert_eq!(edge.metric(&format!("{name}_bucket{{{of},le=\"0.032768\"}}")).await, 0.0);
        assert_eq!(edge.metric(&format!("{name}_bucket{{{of},le=\"8.388608\"}}")).await, 3.0);
        let server = name.replace("route", "server");
        assert_eq!(edge.metric(&format!("{server}_count{{server=\"{url}\"}}")).await, 3.0);
    }
    assert!(edge.metric("edge_route_request_duration_seconds_sum{route=\"a\"}").await >= 0.15);
}

#[tokio::test]
async fn top_has_what_happened_in_the_last_seconds() {
    let edge = Edge::start().await;
    let (server, absent) = (Server::named("one").await, Server::absent().await);
    edge.route("a", "a", &[&server]).await;
    edge.route("b", "b", &[&absent]).await;
    let asking = async {
        let top: Value = edge.client.get_json(&format!("http://{}/top", edge.api)).await.unwrap();
        top
    };
    let requests = async {
        // Its first sample is made at once; only what comes afterwards counts.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..10 {
            assert_eq!(edge.get("a", "/").await.status(), 200);
        }
        assert_eq!(edge.get("b", "/").await.status(), 502);
    };
    let (top, ()) = tokio::time::timeout(DEADLINE, async { tokio::join!(asking, requests) }).await.unwrap();
    assert_eq!((&top["edges"][0], &top["routes"][0]["route"]), (&"edge-1".into(), &"a".into()), "{top}");
    assert_eq!((&top["routes"][0]["requests"], &top["routes"][0]["errors"]), (&10.into(), &0.into()), "{top}");
    assert!(top["routes"][0]["whole"]["p99_s"].as_f64().unwrap() > 0.0, "{top}");
    let b = &top["routes"][1];
    assert_eq!((&b["route"], &b["errors"], &b["failures"]), (&"b".into(), &1.into(), &1.into()), "{top}");
    assert_eq!(top["servers"][0]["url"], server.url(), "{top}");
}
