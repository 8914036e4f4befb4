//! What the edge says of itself.

use crate::harness::{Edge, Server, config, eventually};
use crate::memory_store::MemoryStore;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn status_routes_and_explanations() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    let revision = edge.route("b", "b", &[]).await;
    let url = |path: &str| format!("http://{}{path}", edge.api);
    let status = edge.status().await;
    assert_eq!((status["routes"].as_u64(), status["servers"].as_u64()), (Some(2), Some(1)));
    let vulcands: Value = edge.client.get_json(&url("/v2/status")).await.unwrap();
    assert_eq!(vulcands, json!({ "Status": "ok" }));
    let routes: Value = edge.client.get_json(&url("/routes")).await.unwrap();
    assert_eq!(routes["revision"], revision);
    assert_eq!(routes["routes"][0]["servers"][0]["url"], server.url());

    let explained: Value =
        edge.client.get_json(&url("/explain?method=GET&url=http://a/x&header=X-Y:%20z")).await.unwrap();
    assert_eq!(explained["winner"], "a");
    assert_eq!(explained["servers"], json!([server.url()]));
    assert_eq!(
        explained["routes"],
        json!([
            {
                "route": "a", "rule": "Host(`a`)",
                "verdict": "wins", "matched": "Host(\"a\")", "reason": "Host(\"a\") matches",
            },
            {
                "route": "b", "rule": "Host(`b`)",
                "verdict": "does_not_match", "failing": ["Host(\"b\")"], "reason": "Host(\"b\") does not hold",
            },
        ])
    );
    let wrong = edge.client.get(&url("/explain?method=GET")).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_api_asks_for_credentials() {
    let admin = identity::Token::generate().unwrap();
    let verifier = identity::Verifier::Tokens(vec![admin.accepted_as(identity::Role::Admin)]);
    let config = edge::Config { verifier, ..config(Arc::new(MemoryStore::default())) };
    let started = edge::start(config, lifecycle::Stop::new()).await.unwrap();
    let url = format!("http://{}/metrics", started.address("api").unwrap());
    let anonymous = web::Client::default().get(&url).await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    let client = web::Client::new(web::Credentials::Bearer(admin.reveal().to_owned()));
    assert_eq!(client.get(&url).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_edge_is_ready_once_it_has_a_table() {
    let store = Arc::new(MemoryStore::default());
    store.take_away();
    let edge = Edge::on(store.clone(), store.clone(), None).await;
    let (status, body) = edge.ready().await;
    assert_eq!((status, &body["reason"]), (503, &json!("no table")));
    store.give_back();
    eventually("it is ready", || async { (edge.ready().await.0 == 200).then_some(()) }).await;
    let expected = (200, json!({ "ready": true, "stale": false }));
    eventually("it is not stale", || async { (edge.ready().await == expected).then_some(()) }).await;
    // A store that is away later is no reason.
    store.take_away();
    eventually("it is still ready", || async { (edge.ready().await.0 == 200).then_some(()) }).await;
    assert_eq!(edge.metric("edge_requests_total").await, 0.0, "its own requests are not counted");
}
