//! Who may do what on the peers' address.

use super::lab::{Lab, leader, until};
use crate::cluster::certificates::may_bear;
use http::{Method, StatusCode};
use identity::{Request, Role};
use protocol::FromAgent;
use protocol::sessions_client::SessionsClient;
use serde_json::json;
use tonic::Code;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_what_its_role_may_and_no_more() {
    let (lab, nodes) = Lab::with_three().await;
    let node = &nodes[leader(&nodes).await];
    let app = json!({ "id": "x", "cmd": "serve", "instances": 0 });
    for (role, reads, writes) in [
        (Role::Edge, StatusCode::OK, StatusCode::FORBIDDEN),
        (Role::Agent, StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        (Role::Registry, StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        (Role::Node, StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        (Role::Controller, StatusCode::OK, StatusCode::FORBIDDEN),
        (Role::Admin, StatusCode::OK, StatusCode::CREATED),
    ] {
        let client = lab.client("b", role);
        assert_eq!(node.call_peers(&client, Method::GET, "/v2/apps", None).await.status, reads, "{role}");
        let written = node.call_peers(&client, Method::POST, "/v2/apps", Some(app.clone())).await;
        assert_eq!(written.status, writes, "{role}: {}", written.body);
        for (method, path) in
            [(Method::POST, "/v1/join-tokens"), (Method::GET, "/v1/join-tokens"), (Method::POST, "/v1/nodes/b/drain")]
        {
            if role != Role::Admin {
                let refused = node.call_peers(&client, method.clone(), path, Some(json!({}))).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN, "{role} {method} {path}");
            }
        }
    }
    let nobody = web::Client::default().with_tls(identity::pinned_client(&lab.ca.fingerprint()));
    assert_eq!(node.call_peers(&nobody, Method::GET, "/v2/apps", None).await.status, StatusCode::UNAUTHORIZED);
}

/// Of a removed machine nothing but its tokens is left that could be good for something.
#[tokio::test(flavor = "multi_thread")]
async fn a_machines_token_is_of_no_use_without_its_certificate() {
    let (lab, nodes) = Lab::with_three().await;
    let node = &nodes[leader(&nodes).await];
    for (role, reads) in [
        (Role::Controller, StatusCode::UNAUTHORIZED),
        (Role::Console, StatusCode::UNAUTHORIZED),
        (Role::Edge, StatusCode::UNAUTHORIZED),
        (Role::Viewer, StatusCode::OK),
        (Role::Admin, StatusCode::OK),
    ] {
        let credentials = web::Credentials::Bearer(lab.token(role).reveal().to_owned());
        let client = web::Client::new(credentials).with_tls(identity::pinned_client(&lab.ca.fingerprint()));
        assert_eq!(node.call_peers(&client, Method::GET, "/v2/apps", None).await.status, reads, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_keeps_no_state_vouches_for_nobody() {
    let (lab, nodes) = Lab::with_three().await;
    let node = &nodes[leader(&nodes).await];
    let tls = lab.tls("w", Role::Console);
    let configure = |config: &mut crate::Config| {
        let cluster = config.cluster.as_mut().unwrap();
        (cluster.candidate, cluster.ca, cluster.authority, cluster.tls) = (false, None, None, tls);
    };
    let worker = lab.start("w", configure).await;
    lab.list(&worker, false).await;
    until("the worker is known", || async { worker.get("/v1/cluster").await.status == StatusCode::OK }).await;

    // What its callers show is good through it.
    let app = |id: &str| Some(json!({ "id": id, "cmd": "serve", "instances": 0 }));
    assert_eq!(worker.call(Method::POST, "/v2/apps", app("x")).await.status, StatusCode::CREATED);
    let viewer = web::Client::new(web::Credentials::Bearer(lab.token(Role::Viewer).reveal().to_owned()));
    let uri = format!("http://{}/v2/apps", worker.api);
    assert_eq!(super::lab::call(&viewer, Method::GET, &uri, None).await.status, StatusCode::OK);
    assert_eq!(super::lab::call(&viewer, Method::POST, &uri, app("y")).await.status, StatusCode::FORBIDDEN);

    // Broken into, it has no more than this.
    let client = lab.client("w", Role::Console);
    assert_eq!(node.call_peers(&client, Method::GET, "/v2/apps", None).await.status, StatusCode::OK);
    for (method, path) in
        [(Method::POST, "/v2/apps"), (Method::POST, "/v1/join-tokens"), (Method::GET, "/v1/join-tokens")]
    {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(format!("https://{}{path}", node.peers))
            .header("x-roadstead-role", "admin")
            .body(web::full_body("{}"))
            .unwrap();
        assert_eq!(client.fetch(request).await.unwrap().status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    let stolen = web::Client::new(web::Credentials::Bearer("rs_guessed".into()));
    let stolen = stolen.with_tls(lab.tls("w", Role::Console).client(Some(Role::Controller)));
    assert_eq!(node.call_peers(&stolen, Method::GET, "/v2/apps", None).await.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_controllers_certificate_is_for_machines_that_keep_the_state() {
    for role in [Role::Admin, Role::Store, Role::Controller] {
        assert!(may_bear(role, true) && !may_bear(role, false), "{role}");
    }
    assert!(Role::ALL.into_iter().all(|role| may_bear(role, true) == (role != Role::Viewer)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_no_session_among_machines() {
    let (lab, nodes) = Lab::with_three().await;
    let node = &nodes[leader(&nodes).await];
    for (role, code) in [(Role::Agent, Code::Unauthenticated), (Role::Edge, Code::Unauthenticated)] {
        let channel = Endpoint::try_from(format!("http://{}", node.api)).unwrap().connect().await.unwrap();
        let mut client = SessionsClient::new(channel);
        let mut request = tonic::Request::new(tokio_stream::pending::<FromAgent>());
        let shown = format!("Bearer {}", lab.token(role).reveal());
        request.metadata_mut().insert("authorization", shown.parse().unwrap());
        assert_eq!(client.agent(request).await.unwrap_err().code(), code, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_says_that_it_joins_is_heard_in_short() {
    let (lab, nodes) = Lab::with_three().await;
    let nobody = web::Client::default().with_tls(identity::pinned_client(&lab.ca.fingerprint()));
    let long = json!({ "token": "x".repeat(65 << 10) });
    for node in &nodes {
        let refused = node.call_peers(&nobody, Method::POST, "/v1/join", Some(long.clone())).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_machines_own_supervisor_renews_its_certificates() {
    let (lab, nodes) = Lab::with_three().await;
    let node = &nodes[leader(&nodes).await];
    let body = || Some(json!({ "csrs": { "edge": Request::generate().unwrap().csr_pem } }));
    let renew = async |client: &web::Client| node.call_peers(client, Method::POST, "/v1/certificates", body()).await;
    assert_eq!(renew(&lab.client("b", Role::Node)).await.status, StatusCode::OK);
    assert_eq!(renew(&lab.client("b", Role::Edge)).await.status, StatusCode::FORBIDDEN);
    let admin = node.call(Method::POST, "/v1/certificates", body()).await;
    assert_eq!(admin.status, StatusCode::FORBIDDEN, "a person is no machine");
    let stranger = renew(&lab.client("z", Role::Node)).await;
    assert_eq!(stranger.status, StatusCode::FORBIDDEN);
    assert_eq!(stranger.body["message"], "the machine 'z' is none of this cluster (any more)");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_others_only_controllers_ask() {
    let (lab, nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let claim = async |client: &web::Client, uri: String| {
        let request = http::Request::delete(uri)
            .header("x-roadstead-role", "admin")
            .header("x-roadstead-node", "a")
            .body(web::empty_body())
            .unwrap();
        client.fetch(request).await.unwrap().status()
    };
    for role in [Role::Edge, Role::Agent, Role::Node] {
        let client = lab.client("b", role);
        for node in &nodes {
            let uri = format!("https://{}/v2/leader", node.peers);
            assert_eq!(claim(&client, uri).await, StatusCode::FORBIDDEN, "{role} through {}", node.name);
        }
    }
    let viewer = web::Client::new(web::Credentials::Bearer(lab.token(Role::Viewer).reveal().to_owned()));
    for node in &nodes {
        assert_eq!(claim(&viewer, format!("http://{}/v2/leader", node.api)).await, StatusCode::FORBIDDEN);
        // What is passed on keeps its caller's rights.
        let body = Some(json!({ "id": "x", "cmd": "serve", "instances": 0 }));
        let uri = format!("http://{}/v2/apps", node.api);
        assert_eq!(super::lab::call(&viewer, Method::POST, &uri, body).await.status, StatusCode::FORBIDDEN);
        assert_eq!(super::lab::call(&viewer, Method::GET, &uri, None).await.status, StatusCode::OK);
    }
    assert!(nodes[first].leads());
}
