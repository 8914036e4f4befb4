//! Who may do what on the peers' address.

use super::lab::{Lab, leader};
use http::{Method, StatusCode};
use identity::{Request, Role};
use serde_json::json;

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
