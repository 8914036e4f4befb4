//! What the edge says of itself.

use crate::harness::{Edge, Server};
use http::StatusCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
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
            { "route": "a", "verdict": "wins" },
            { "route": "b", "verdict": "does_not_match", "matcher": "Host(\"b\")" },
        ])
    );
    let wrong = edge.client.get(&url("/explain?method=GET")).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_api_asks_for_credentials() {
    let admin = identity::Token::generate().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = edge::Config {
        listen: vec![any],
        api: Some(any),
        store: Arc::new(crate::memory_store::MemoryStore::default()),
        controller: None,
        token: None,
        verifier: identity::Verifier::Tokens(vec![admin.accepted_as(identity::Role::Admin)]),
        edge_id: "edge-1".into(),
        cluster_id: 0,
    };
    let started = edge::start(config, lifecycle::Stop::new()).await.unwrap();
    let url = format!("http://{}/metrics", started.address("api").unwrap());
    let anonymous = web::Client::default().get(&url).await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    let client = web::Client::new(web::Credentials::Bearer(admin.reveal().to_owned()));
    assert_eq!(client.get(&url).await.unwrap().status(), StatusCode::OK);
}
