//! vulcand's API before a running edge and a running controller: what is written through the edge's port is served, changed
//! all at once, taken back, and written by nobody who may not.

#[path = "vulcands_api/platform.rs"]
mod platform;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use identity::Role;
use platform::{DEADLINE, Platform, frontend, named};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;

async fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let data = tempfile::tempdir().unwrap();
    let store = store::Embedded::open(data.path().to_owned()).await.unwrap();
    (data, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_served_changed_and_taken_back() {
    let (_data, store) = store().await;
    platform::changed_and_taken_back(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_does_not_and_who_reads_sees() {
    let (one, two) = (named("one").await, named("two").await);
    let (_data, store) = store().await;
    let platform = Platform::start(store, true).await;
    platform.create_all(one, two).await;
    let body = json!({ "Backend": { "Id": "b3", "Type": "http" } });
    let url = |base: &str, path: &str| format!("{base}{path}");
    let under = format!("{}/vulcand", platform.controller);
    for (role, base, expected) in [
        (None, &platform.api, 401),
        (Some(Role::Viewer), &platform.api, 403),
        (Some(Role::Edge), &platform.api, 403),
        (None, &under, 401),
        (Some(Role::Viewer), &under, 403),
        (Some(Role::Edge), &under, 403),
        (Some(Role::Admin), &under, 200),
        (Some(Role::Admin), &platform.api, 200),
    ] {
        let (status, answer) = platform.ask(role, Method::POST, url(base, "/v2/backends"), &body).await;
        assert_eq!(status, expected, "{role:?} {base}: {answer}");
    }
    for base in [&platform.api, &under] {
        let (status, listed) =
            platform.ask(Some(Role::Viewer), Method::GET, url(base, "/v2/frontends"), &Value::Null).await;
        assert_eq!((status, &listed["Frontends"][0]["Id"]), (200, &json!("f1")), "{base}");
    }
    let (status, refused) = platform.admin(Method::DELETE, "/v2/backends/b1", &Value::Null).await;
    assert_eq!((status, refused["message"].as_str().unwrap().contains("in use by [f1]")), (409, true), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_a_controller_writes_by_itself_and_tells_how_requests_fare() {
    let (one, two) = (named("one").await, named("two").await);
    let (_data, store) = store().await;
    let platform = Platform::start(store, false).await;
    platform.create_all(one, two).await;
    platform.must("/v2/frontends", frontend("f2", "b2", "Host(`idle`)")).await;
    platform.until_served("shop", "/", "one").await;
    // Whoever asks first begins to watch.
    let ask = async |path| platform.admin(Method::GET, path, &Value::Null).await;
    assert_eq!(ask("/v2/top/frontends").await.0, 200);
    for _ in 0..10 {
        assert_eq!(platform.served("shop", "/").await, "one");
    }
    let total = |of: &Value| of["Stats"]["Counters"]["Total"].as_u64().unwrap_or_default();
    let (start, mut busiest) = (Instant::now(), Value::Null);
    while total(&busiest) < 10 {
        let (status, top) = ask("/v2/top/frontends?limit=1").await;
        assert_eq!((status, top["Frontends"].as_array().unwrap().len()), (200, 1), "{top}");
        busiest = top["Frontends"][0].clone();
        assert!(start.elapsed() < DEADLINE, "never told: {top}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((&busiest["Id"], &busiest["BackendId"]), (&json!("f1"), &json!("b1")), "{busiest}");
    let (_, servers) = ask("/v2/top/servers?backendId=b1").await;
    let servers = servers["Servers"].as_array().unwrap();
    assert_eq!((servers.len(), &servers[0]["Id"]), (1, &json!("s1")), "{servers:?}");
    assert!(total(&servers[0]) >= 10, "{servers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_severity_of_the_edges_log_is_set_by_a_form() {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "warn");
    let (_data, store) = store().await;
    let platform = Platform::start(store, true).await;
    let token = platform.authority.token(Role::Admin).reveal().to_owned();
    let client = web::Client::new(web::Credentials::Bearer(token));
    let url = format!("{}/v2/log/severity", platform.api);
    for (asked, named) in [("ERROR", "error"), ("warn", "warning")] {
        let request = Request::put(&url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = client.fetch(request.body(web::full_body(format!("severity={asked}"))).unwrap()).await.unwrap();
        let told: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(told, json!({ "message": format!("Severity has been updated to {named}") }));
        let now: Value = client.get_json(&url).await.unwrap();
        assert_eq!(now, json!({ "severity": named }));
    }
}
