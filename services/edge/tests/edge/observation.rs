//! What the edge says of what it does: metrics, figures of the last seconds.

use crate::harness::{Edge, Server, config, eventually};
use crate::memory_store::MemoryStore;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
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
        edge.until_metric(&format!("{name}_count{{{of}}}"), 3.0).await;
        assert_eq!(edge.metric(&format!("{name}_bucket{{{of},le=\"0.032768\"}}")).await, 0.0);
        edge.until_metric(&format!("{name}_bucket{{{of},le=\"8.388608\"}}"), 3.0).await;
        let server = name.replace("route", "server");
        edge.until_metric(&format!("{server}_count{{server=\"{url}\"}}"), 3.0).await;
    }
    assert!(edge.metric("edge_route_request_duration_seconds_sum{route=\"a\"}").await >= 0.15);
}

#[tokio::test]
async fn top_has_what_happened_in_the_last_seconds() {
    let edge = Edge::start().await;
    let (server, broken) = (Server::named("one").await, Server::hanging_up().await);
    edge.route("a", "a", &[&server]).await;
    edge.route("b", "b", &[&broken]).await;
    let url = format!("http://{}/top", edge.api);
    let ask = || async { edge.client.get_json::<Value>(&url).await.unwrap() };
    // Only what comes after the first sample counts, which is made for who asks first.
    let before = ask().await;
    assert!(before["routes"].as_array().unwrap().is_empty(), "{before}");
    for _ in 0..10 {
        assert_eq!(edge.get("a", "/").await.status(), 200);
    }
    assert_eq!(edge.get("b", "/").await.status(), 502);
    let top = eventually("all of them are seen", || async {
        let top = ask().await;
        let seen = top["routes"].as_array()?.iter().filter_map(|route| route["requests"].as_u64());
        (seen.sum::<u64>() >= 11).then_some(top)
    })
    .await;
    assert_eq!((&top["edges"][0], &top["routes"][0]["route"]), (&"edge-1".into(), &"a".into()), "{top}");
    assert_eq!((&top["routes"][0]["requests"], &top["routes"][0]["errors"]), (&10.into(), &0.into()), "{top}");
    assert!(top["routes"][0]["whole"]["p99_s"].as_f64().unwrap() > 0.0, "{top}");
    let b = &top["routes"][1];
    assert_eq!((&b["route"], &b["errors"], &b["failures"]), (&"b".into(), &1.into(), &1.into()), "{top}");
    assert_eq!(top["servers"][0]["url"], server.url(), "{top}");
}

/// The names of metrics in the tables of a page, as a sample has them.
fn documented(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `edge_"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned());
    names.collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let directory = tempfile::TempDir::new().unwrap();
    let access_log = edge::AccessLogConfig {
        to: edge::Destination::File(directory.path().join("access.log")),
        format: edge::LineFormat::Json,
        sample: std::num::NonZeroU64::MIN,
        slow: None,
        redacted: Vec::new(),
    };
    let traces = edge::TracesConfig { collector: "http://127.0.0.1:1".into(), sample: 0.0, redacted: Vec::new() };
    let observation = edge::Observation { access_log: Some(access_log), traces: Some(traces), ..Default::default() };
    let store = Arc::new(MemoryStore::default());
    let edge = Edge::of(edge::Config { observation, ..config(store.clone()) }, store).await;
    let (_, text) = metrics(&edge, "text/plain").await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: BTreeSet<String> = types.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    let documented = documented(include_str!("../../../../docs/observability.md"));
    let missing: Vec<_> = shown.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the table of docs/observability.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&shown).collect();
    assert!(gone.is_empty(), "documented, but not there: {gone:?}");
}
