//! vulcand's API of an edge in a cluster: what writes goes over mutual TLS to the controller that leads, with the caller's token.

use super::lab::{Lab, call, leader, until};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use http::{Method, StatusCode};
use identity::Role;
use lifecycle::Stop;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use store::{Compare, Store};

/// How often a controller was asked about its log.
static LOG_ASKED: AtomicUsize = AtomicUsize::new(0);

fn vulcands(store: Arc<dyn Store>, fence: Option<Compare>) -> Router {
    vulcandapi::router(vulcandapi::Config { store, fence, seal_key: None, statistics: None })
}

fn with_vulcands_api(_: &'static str, config: &mut crate::Config) {
    let store = config.store.clone();
    config.vulcand = Some(Arc::new(move |fence| {
        let counted = from_fn(async |request: Request, next: Next| {
            if request.uri().path().starts_with("/v2/log/") {
                LOG_ASKED.fetch_add(1, SeqCst);
            }
            next.run(request).await
        });
        vulcands(store.clone(), Some(fence)).layer(counted)
    }));
}

/// An edge of the machine `a`, as `roadstead up` starts it there: with its certificate, token and the way to every controller.
async fn edge(lab: &Lab, controllers: Vec<String>, stop: &Stop) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let of = lab.store.clone();
    let make: edge::MakeApi = Box::new(move |_statistics| vulcands(of, None));
    let config = edge::Config {
        listen: vec![any],
        listen_tls: Vec::new(),
        api: Some(any),
        store: lab.store.clone(),
        controllers,
        data: None,
        token: Some(lab.token(Role::Edge).clone()),
        tls: Some(lab.tls("a", Role::Edge)),
        seal_key: None,
        verifier: lab.authority.identity(Role::Edge).verifier(),
        edge_id: "a".into(),
        node_id: "a".into(),
        client_times: edge::ClientTimes::default(),
        vulcand: edge::Vulcand { api: Some(make), ..edge::Vulcand::default() },
        proxies: Vec::new(),
        observation: edge::Observation::default(),
        take_over: false,
        drain: edge::Drain::default(),
    };
    let started = edge::start(config, stop.clone()).await.unwrap();
    let api = started.address("api").unwrap();
    tokio::spawn(started.finished());
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edges_writes_go_to_the_leader_over_mutual_tls_with_the_callers_rights() {
    let (lab, mut nodes) = Lab::with_three_as(with_vulcands_api).await;
    let stop = Stop::new();
    let controllers = nodes.iter().map(|node| format!("https://{}", node.peers)).collect();
    let api = edge(&lab, controllers, &stop).await;
    let ask = async |role: Option<Role>, method: Method, path: &str, body: Value| {
        let credentials = role.map(|role| web::Credentials::Bearer(lab.token(role).reveal().to_owned()));
        let client = web::Client::new(credentials.unwrap_or_default());
        call(&client, method, &format!("http://{api}{path}"), Some(body)).await
    };
    let backend = |id: &str| json!({ "Backend": { "Id": id, "Type": "http" } });
    until("the edge knows who leads", || async {
        ask(Some(Role::Admin), Method::POST, "/v2/backends", backend("b1")).await.status == StatusCode::OK
    })
    .await;
    assert!(lab.store.get("/vulcand/backends/b1/backend").await.unwrap().is_some());
    for (role, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(Role::Viewer), StatusCode::FORBIDDEN),
        (Some(Role::Edge), StatusCode::FORBIDDEN),
    ] {
        let refused = ask(role, Method::POST, "/v2/backends", backend("b2")).await;
        assert_eq!(refused.status, expected, "{role:?}: {}", refused.body);
    }
    // The edge's certificate alone is good for nothing that writes.
    let first = leader(&nodes).await;
    let bare = lab.client("a", Role::Edge);
    let refused = nodes[first].call_peers(&bare, Method::POST, "/vulcand/v2/backends", Some(backend("b2"))).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    assert!(lab.store.get("/vulcand/backends/b2/backend").await.unwrap().is_none());
    let conflict = ask(Some(Role::Admin), Method::DELETE, "/v2/backends/none", Value::Null).await;
    assert_eq!((conflict.status, conflict.body["message"].is_string()), (StatusCode::NOT_FOUND, true));

    ask(Some(Role::Admin), Method::PUT, "/v2/log/severity?severity=info", Value::Null).await;
    assert_eq!(LOG_ASKED.load(SeqCst), 0, "the log is the edge's own");

    nodes[first].kill();
    until("the next leader writes", || async {
        ask(Some(Role::Admin), Method::POST, "/v2/backends", backend("b3")).await.status == StatusCode::OK
    })
    .await;
    assert!(lab.store.get("/vulcand/backends/b3/backend").await.unwrap().is_some());
    stop.request();
}
