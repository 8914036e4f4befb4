//! Traces as a collector receives them, and the names requests go by.

use crate::harness::{Edge, Server, config, eventually, received};
use crate::memory_store::MemoryStore;
use axum::Router;
use axum::extract::Json;
use axum::routing::post;
use bytes::Bytes;
use edge::{Observation, RequestIds, TracesConfig};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector, and the spans it was sent.
struct Collector {
    server: Server,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// It answers the first requests with these.
    async fn start(refusals: Vec<StatusCode>) -> Self {
        let (spans, refusals) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::new(Mutex::new(refusals)));
        let kept = spans.clone();
        let take = move |Json(request): Json<Value>| async move {
            if let Some(refusal) = refusals.lock().unwrap().pop() {
                return refusal;
            }
            let resource = &request["resourceSpans"][0];
            let attributes = resource["resource"]["attributes"].as_array().unwrap();
            let name = attributes.iter().find(|attribute| attribute["key"] == "service.name").unwrap();
            assert_eq!(name["value"]["stringValue"], "roadstead-edge");
            let sent = resource["scopeSpans"][0]["spans"].as_array().unwrap().clone();
            kept.lock().unwrap().extend(sent);
            StatusCode::OK
        };
        Self { server: Server::routing(Router::new().route("/v1/traces", post(take))).await, spans }
    }

    async fn edge(&self, sample: f64) -> Edge {
        let traces = TracesConfig { collector: self.server.url(), sample, redacted: Vec::new() };
        edge_that(Observation { traces: Some(traces), ..Observation::default() }).await
    }

    async fn spans(&self, count: usize) -> Vec<Value> {
        eventually("the spans come", || async {
            let spans = self.spans.lock().unwrap().clone();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

async fn edge_that(observation: Observation) -> Edge {
    let store = Arc::new(MemoryStore::default());
    Edge::of(edge::Config { observation, ..config(store.clone()) }, store).await
}

/// Serves `Host(a)`, and believes what its clients say of themselves.
async fn trusting(edge: &Edge, servers: &[&Server]) {
    let settings = json!({ "TrustForwardHeader": true });
    let frontend = json!({ "Type": "http", "BackendId": "b", "Route": "Host(`a`)", "Settings": settings });
    let mut values = vec![
        ("/vulcand/backends/b/backend".to_owned(), json!({ "Type": "http" }).to_string()),
        ("/vulcand/frontends/a/frontend".to_owned(), frontend.to_string()),
    ];
    for (number, server) in servers.iter().enumerate() {
        values.push((format!("/vulcand/backends/b/servers/s{number}"), json!({ "URL": server.url() }).to_string()));
    }
    let keys: Vec<_> = values.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
    let revision = edge.store.change(&keys).await;
    edge.applied(revision).await;
}

async fn ask(edge: &Edge, target: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::get(format!("http://{}{target}", edge.address)).header("host", "a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    edge.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap()
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let value = attributes.iter().find(|attribute| attribute["key"] == key).map(|attribute| &attribute["value"]);
    value.map_or(Value::Null, |value| value.as_object().unwrap().values().next().unwrap().clone())
}

#[tokio::test]
async fn a_request_is_a_span_and_each_attempt_one_below_it() {
    let collector = Collector::start(Vec::new()).await;
    let edge = collector.edge(1.0).await;
    let (good, broken) = (Server::named("good").await, Server::hanging_up().await);
    trusting(&edge, &[&broken, &good]).await;
    let response = ask(&edge, "/x?token=s3same&y=1", &[("traceparent", PARENT)]).await;
    assert_eq!(response.status(), 200);
    let mut spans = collector.spans(2).await;
    if spans.len() == 2 {
        // The good one's turn came first; the next request begins with the other.
        ask(&edge, "/x?token=s3same&y=1", &[("traceparent", PARENT)]).await;
        spans = collector.spans(5).await.split_off(2);
    }
    let (server, attempts): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span["kind"] == 2);
    let server = &server[0];
    assert_eq!(
        (&server["name"], &server["traceId"]),
        (&json!("GET a@vulcand"), &json!("4bf92f3577b34da6a3ce929d0e0e4736"))
    );
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    for (key, value) in [
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!("200")),
        ("url.path", json!("/x")),
        ("url.query", json!("token=REDACTED&y=1")),
        ("url.scheme", json!("http")),
        ("server.address", json!("a")),
        ("client.address", json!("127.0.0.1")),
        ("roadstead.route", json!("a@vulcand")),
    ] {
        assert_eq!(attribute(server, key), value, "{key} of {server}");
    }
    assert_eq!(attempts.len(), 2);
    for attempt in &attempts {
        assert_eq!((&attempt["parentSpanId"], &attempt["traceId"]), (&server["spanId"], &server["traceId"]));
        assert_eq!((&attempt["kind"], attribute(attempt, "server.address")), (&json!(3), json!("127.0.0.1")));
        let nanos = |span: &Value, at: &str| span[at].as_str().unwrap().parse::<u64>().unwrap();
        assert!(nanos(attempt, "startTimeUnixNano") >= nanos(server, "startTimeUnixNano"));
        assert!(nanos(attempt, "endTimeUnixNano") <= nanos(server, "endTimeUnixNano") + 1_000_000);
        assert!(!attempt.to_string().contains("s3same"));
    }
    assert_eq!((&attempts[0]["status"]["code"], attribute(&attempts[0], "error.type").is_string()), (&json!(2), true));
    assert_eq!(attribute(&attempts[1], "http.request.resend_count"), "1");
    assert_eq!(attribute(&attempts[1], "http.response.status_code"), "200");
}

#[tokio::test]
async fn a_server_is_told_of_its_attempt() {
    let collector = Collector::start(Vec::new()).await;
    let edge = collector.edge(1.0).await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let told = received(&ask(&edge, "/", &[]).await, "traceparent");
    let spans = collector.spans(2).await;
    let attempt = spans.iter().find(|span| span["kind"] == 3).unwrap();
    let expected = format!("00-{}-{}-01", attempt["traceId"].as_str().unwrap(), attempt["spanId"].as_str().unwrap());
    assert_eq!(told, [expected]);
    let first = spans.iter().find(|span| span["kind"] == 2).unwrap();
    assert_eq!(first["parentSpanId"], "", "the trace begins here");
}

#[tokio::test]
async fn what_is_not_sampled_is_not_sent_and_servers_are_told() {
    let collector = Collector::start(Vec::new()).await;
    let edge = collector.edge(0.0).await;
    let server = Server::named("one").await;
    trusting(&edge, &[&server]).await;
    let told = received(&ask(&edge, "/1", &[]).await, "traceparent");
    assert!(told.len() == 1 && told[0].ends_with("-00"), "{told:?}");
    // What the parent decided holds, either way.
    let unsampled = format!("{}00", &PARENT[..PARENT.len() - 2]);
    let told = received(&ask(&edge, "/2", &[("traceparent", &unsampled)]).await, "traceparent");
    assert!(told[0].starts_with(&PARENT[..36]) && told[0].ends_with("-00"), "{told:?}");
    ask(&edge, "/3", &[("traceparent", PARENT)]).await;
    let spans = collector.spans(2).await;
    assert!(spans.iter().all(|span| span["traceId"] == PARENT[3..35]), "{spans:?}");
    edge.end().await;
    assert_eq!(collector.spans.lock().unwrap().len(), 2);
}

/// Neither is its trace gone on with, nor is it sampled because it says so, or not because it says so.
#[tokio::test]
async fn a_strangers_parent_changes_nothing() {
    let unsampled = format!("{}00", &PARENT[..PARENT.len() - 2]);
    for (sample, parent, flags) in [(0.0, PARENT, "-00"), (1.0, &unsampled, "-01")] {
        let collector = Collector::start(Vec::new()).await;
        let edge = collector.edge(sample).await;
        let server = Server::named("one").await;
        edge.route("a", "a", &[&server]).await;
        let told = received(&ask(&edge, "/", &[("traceparent", parent)]).await, "traceparent");
        assert!(told.len() == 1 && told[0].ends_with(flags) && !told[0].contains(&PARENT[3..35]), "{told:?}");
        edge.end().await;
        let spans = collector.spans.lock().unwrap().clone();
        assert_eq!(spans.len(), if sample > 0.0 { 2 } else { 0 }, "{spans:?}");
        let begins = |span: &Value| span["kind"] != 2 || span["parentSpanId"] == "";
        assert!(spans.iter().all(begins), "{spans:?}");
    }
}

#[tokio::test]
async fn a_collector_that_asks_for_it_is_sent_spans_again_and_one_that_refuses_is_not() {
    let collector = Collector::start(vec![StatusCode::SERVICE_UNAVAILABLE]).await;
    let edge = collector.edge(1.0).await;
    ask(&edge, "/", &[]).await;
    collector.spans(1).await;
    assert_eq!(edge.metric("edge_traces_dropped_spans_total").await, 0.0);
    let strict = Collector::start(vec![StatusCode::BAD_REQUEST]).await;
    let edge = strict.edge(1.0).await;
    ask(&edge, "/", &[]).await;
    eventually("it is counted", || async {
        (edge.metric("edge_traces_dropped_spans_total").await == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_have_ids_if_asked_for() {
    let given = ("x-request-id", "mine-1");
    for (request_ids, trusts) in [
        (RequestIds::Off, false),
        (RequestIds::Forward, false),
        (RequestIds::Forward, true),
        (RequestIds::Respond, false),
    ] {
        let edge = edge_that(Observation { request_ids, ..Observation::default() }).await;
        let server = Server::named("one").await;
        let backend = json!({ "Type": "http" }).to_string();
        let server_json = json!({ "URL": server.url() }).to_string();
        let settings = json!({ "TrustForwardHeader": trusts });
        let frontend =
            json!({ "Type": "http", "BackendId": "b", "Route": "Host(`a`)", "Settings": settings }).to_string();
        let keys = [
            ("/vulcand/backends/b/backend", Some(backend.as_str())),
            ("/vulcand/backends/b/servers/s", Some(&server_json)),
            ("/vulcand/frontends/f/frontend", Some(&frontend)),
        ];
        edge.store.change(&keys).await;
        eventually("it serves", || async { (ask(&edge, "/", &[]).await.status() == 200).then_some(()) }).await;
        let response = ask(&edge, "/", &[given]).await;
        let told = received(&response, "x-request-id");
        let back = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        match (request_ids, trusts) {
            (RequestIds::Off, _) | (_, true) => assert_eq!((told, back), (vec!["mine-1".to_owned()], None)),
            (ids, false) => {
                assert!(told.len() == 1 && told[0].len() == 32 && told[0] != "mine-1", "{told:?}");
                assert_eq!(back, (ids == RequestIds::Respond).then(|| told[0].clone()));
            }
        }
    }
}
