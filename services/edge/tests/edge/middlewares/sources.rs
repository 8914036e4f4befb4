//! Where middlewares come from, and what becomes of a route whose middlewares cannot be read.

use super::{field, get, one, serve, status, text};
use crate::harness::{Edge, Server, document, eventually, received};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// A frontend of vulcand's and its server.
async fn vulcand(edge: &Edge, server: &Server) {
    let url = json!({ "URL": server.url() }).to_string();
    let keys = [
        ("/vulcand/backends/b1/backend", r#"{"Type":"http"}"#),
        ("/vulcand/backends/b1/servers/s1", url.as_str()),
        ("/vulcand/frontends/f1/frontend", r#"{"Type":"http","BackendId":"b1","Route":"Host(`a`)"}"#),
    ];
    edge.store.change(&keys.map(|(key, value)| (key, Some(value)))).await;
}

const LIMIT: &str = "/vulcand/frontends/f1/middlewares/rl1";

fn limit(requests: u32) -> String {
    let settings = json!({ "PeriodSeconds": 3600, "Requests": requests, "Burst": 1, "Variable": "client.ip" });
    json!({ "Id": "rl1", "Priority": 1, "Type": "ratelimit", "Middleware": settings }).to_string()
}

#[tokio::test]
async fn a_limit_that_is_put_by_vulcands_key_takes_effect_and_an_invalid_one_leaves_it() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    vulcand(&edge, &server).await;
    eventually("the frontend serves", || async { (status(&edge, &[]).await == 200).then_some(()) }).await;
    edge.store.change(&[(LIMIT, Some(&limit(1)))]).await;
    eventually("the limit takes effect", || async { (status(&edge, &[]).await == 429).then_some(()) }).await;

    edge.store.change(&[(LIMIT, Some(&limit(0)))]).await;
    let problem = || async {
        let problems = edge.status().await["problems"].clone();
        problems.as_array().unwrap().iter().find(|problem| problem["key"] == LIMIT).cloned()
    };
    let message = eventually("it is reported", problem).await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Requests") && message.ends_with("(the last good value serves on)"), "{message}");
    assert_eq!(status(&edge, &[]).await, 429, "the last good one is still in force, and its bucket still empty");

    edge.store.change(&[(LIMIT, None)]).await;
    eventually("it is gone", || async { (status(&edge, &[]).await == 200).then_some(()) }).await;
    edge.store.change(&[(LIMIT, Some("nonsense"))]).await;
    eventually("it refuses", || async { (status(&edge, &[]).await == 503).then_some(()) }).await;
}

#[tokio::test]
async fn a_route_whose_middlewares_cannot_be_read_refuses() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    serve(&edge, &[&server], &one("iplist", json!({}))).await;
    let refused = get(&edge, "/", &[]).await;
    assert_eq!(refused.status(), 503);
    assert!(text(&refused).contains("neither Allow nor Deny"), "{refused:?}");
    let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.unwrap();
    assert!(routes["routes"][0]["refused"].as_str().unwrap().contains("Allow"), "{routes}");

    serve(&edge, &[&server], &one("iplist", json!({ "Deny": ["10.0.0.0/8"] }))).await;
    assert_eq!(status(&edge, &[]).await, 200);
    let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.unwrap();
    assert_eq!(routes["routes"][0]["middlewares"], json!(["iplist iplist"]));
}

/// The table on disk has the middlewares, too.
#[tokio::test]
async fn a_kept_table_protects_as_the_store_did() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::default();
    let edge = Edge::keeping(directory.path(), &store).await;
    let server = Server::named("one").await;
    serve(&edge, &[&server], &one("headers", json!({ "Request": { "Set": { "X-Env": "prod" } } }))).await;
    let file = directory.path().join("table");
    let is_kept = || async { std::fs::read_to_string(&file).is_ok_and(|text| text.contains("X-Env")).then_some(()) };
    eventually("the table is kept", is_kept).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "there may be secrets in it");
    edge.end().await;
    store.take_away();
    let edge = Edge::keeping(directory.path(), &store).await;
    assert_eq!(received(&get(&edge, "/", &[]).await, "x-env"), ["prod"]);
}

/// A request that waits for its middlewares' answer passes those of the route that it goes to in the end.
#[tokio::test]
async fn a_route_that_is_exchanged_meanwhile_asks_its_own_middlewares() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let router = axum::Router::new().fallback(move || {
        let mut wait = wait.clone();
        async move { wait.wait_for(|go| *go).await.map(drop).unwrap() }
    });
    let (edge, server, authority) = (Edge::start().await, Server::named("one").await, Server::routing(router).await);
    serve(&edge, &[&server], &one("forwardauth", json!({ "Address": authority.url() }))).await;
    let other =
        one("headers", json!({ "Request": { "Set": { "X-Other": "1" } }, "Response": { "Set": { "X-Out": "1" } } }));
    let document = document("Host(`a`)", &[&server], json!({ "middlewares": other }));
    let exchange = async {
        eventually("the authority is asked", || async { (go.receiver_count() > 1).then_some(()) }).await;
        let changes = [("/roadstead/routes/a", None), ("/roadstead/routes/b", Some(document.as_str()))];
        let revision = edge.store.change(&changes).await;
        edge.applied(revision).await;
        go.send(true).unwrap();
    };
    let (response, ()) = tokio::join!(get(&edge, "/", &[]), exchange);
    assert_eq!((received(&response, "x-other"), field(&response, "x-out")), (vec!["1".to_owned()], "1"));
}
