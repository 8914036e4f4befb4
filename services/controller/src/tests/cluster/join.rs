//! A machine comes in with a token, over HTTPS, and goes again.

use super::lab::{Got, Lab, Node, leader, until};
use crate::cluster::{CertificatesAnswer, JoinAnswer, JoinCredential, JoinRequest};
use crate::keys;
use http::{Method, StatusCode};
use identity::{CertificateFiles, JoinToken, Request, Role, SealKey, Tls, Token, pinned_client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::Members as _;

pub async fn token(node: &Node, wanted: Value) -> JoinToken {
    let issued = node.call(Method::POST, "/v1/join-tokens", Some(wanted)).await;
    assert_eq!(issued.status, StatusCode::CREATED, "{}", issued.body);
    issued.body["token"].as_str().unwrap().parse().unwrap()
}

pub fn requests(roles: &[Role]) -> BTreeMap<Role, Request> {
    roles.iter().map(|role| (*role, Request::generate().unwrap())).collect()
}

pub fn ask(token: &JoinToken, name: &str, port: u16, requests: &BTreeMap<Role, Request>) -> Value {
    let csrs = requests.iter().map(|(role, request)| (*role, request.csr_pem.clone())).collect();
    json!(JoinRequest {
        token: JoinCredential { id: token.id.clone(), secret: token.secret.clone() },
        name: name.into(),
        address: "127.0.0.1".parse().unwrap(),
        csrs,
        peers: Some(format!("127.0.0.1:{port}")),
        etcd_peer_url: Some(super::lab::etcd_peer_url(name)),
        etcd_client_url: None,
        version: "1".into(),
    })
}

/// As a machine does that has nothing but the token.
pub async fn join(node: &Node, token: &JoinToken, body: Value) -> Got {
    let client = web::Client::default().with_tls(pinned_client(&token.ca_fingerprint));
    node.call_peers(&client, Method::POST, "/v1/join", Some(body)).await
}

async fn refusal(node: &Node, token: &JoinToken, name: &str, port: u16) -> (u16, String) {
    let refused = join(node, token, ask(token, name, port, &requests(&[Role::Agent]))).await;
    (refused.status.as_u16(), refused.body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_joins_through_any_node_and_its_certificates_work() {
    let lab = Lab::open().await;
    let seal_key = SealKey::generate().unwrap();
    let given = seal_key.clone();
    let nodes = [lab.start("a", move |config| config.seal_key = Some(given.clone())).await];
    let first = &nodes[leader(&nodes).await];
    until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() }).await;
    let watcher = lab.start("w", |config| config.cluster.as_mut().unwrap().candidate = false).await;
    lab.list(&watcher, false).await;
    until("the watcher is known", || async { watcher.get("/v1/cluster").await.status == StatusCode::OK }).await;

    let token = token(&watcher, json!({ "uses": 2 })).await;
    assert_eq!(token.addresses[0], first.peers.to_string());
    let roles = [Role::Agent, Role::Node, Role::Store, Role::Viewer];
    let requests = requests(&roles);
    let answer = join(&watcher, &token, ask(&token, "b", 1, &requests)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let answer: JoinAnswer = serde_json::from_value(answer.body).unwrap();
    assert_eq!(answer.ca, lab.ca.certificate_pem());
    assert!(answer.state, "it is the second of three that keep the state");
    let etcd = answer.etcd.as_ref().unwrap();
    assert_eq!(etcd.name, "b");
    let names: Vec<&str> = etcd.initial_cluster.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(lab.members.member_list().await.unwrap().len(), 2, "etcd has been told of it");
    assert_eq!(answer.ca_key.as_deref(), Some(lab.ca.key_pem()));
    assert!(answer.authority.is_some() && answer.access_keys.contains_key("registry"));
    assert_eq!(answer.seal_key.as_deref(), Some(seal_key.reveal().as_str()));
    assert_eq!(answer.settings.name, "lab");
    let signed: Vec<Role> = answer.certificates.keys().copied().collect();
    assert_eq!(signed, [Role::Agent, Role::Node, Role::Store], "nobody's certificate is a viewer's");

    let identity = lab.path().join("joined");
    for role in signed {
        let files = CertificateFiles::of(&identity, role);
        files.install(&answer.ca, &answer.certificates[&role], &requests[&role].key_pem).unwrap();
    }
    let tls = Tls::open(&identity, Role::Node).unwrap();
    assert_eq!(tls.own().to_string(), "b/node");
    // Its supervisor renews them, through any node, for itself.
    let client = web::Client::default().with_tls(tls.client(Some(Role::Controller)));
    let renewal = CertificateFiles::of(&identity, Role::Agent).renewal_request().unwrap();
    // Another key is of a machine that had this name before.
    let other = Request::generate().unwrap();
    for csrs in [json!({ "agent": renewal.csr_pem }), json!({ "agent": renewal.csr_pem, "node": other.csr_pem })] {
        let csrs = json!({ "csrs": csrs });
        let refused = watcher.call_peers(&client, Method::POST, "/v1/certificates", Some(csrs)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    }
    let own = CertificateFiles::of(&identity, Role::Node).renewal_request().unwrap();
    let csrs = json!({ "csrs": { "agent": renewal.csr_pem, "node": own.csr_pem } });
    let renewed = watcher.call_peers(&client, Method::POST, "/v1/certificates", Some(csrs)).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
    let renewed: CertificatesAnswer = serde_json::from_value(renewed.body).unwrap();
    CertificateFiles::of(&identity, Role::Agent).renew(&renewed.certificates[&Role::Agent]).unwrap();
    assert_eq!(Tls::open(&identity, Role::Agent).unwrap().own().node, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_asks_again_is_known_by_its_key() {
    let lab = Lab::open().await;
    let nodes = [lab.start("a", |_| ()).await];
    leader(&nodes).await;
    until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() }).await;
    let node = &nodes[0];
    let token = token(node, json!({})).await;
    let own = requests(&[Role::Node]);
    for _ in 0..2 {
        assert_eq!(join(node, &token, ask(&token, "b", 1, &own)).await.status, StatusCode::OK);
    }
    let anothers = join(node, &token, ask(&token, "b", 1, &requests(&[Role::Node]))).await;
    assert_eq!(anothers.status, StatusCode::CONFLICT, "whoever has the token, too: {}", anothers.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_an_address_are_given_once_and_free_again_after_removal() {
    let lab = Lab::open().await;
    let nodes = [lab.start("a", |_| ()).await];
    leader(&nodes).await;
    until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() }).await;
    let node = &nodes[0];
    let first = token(node, json!({})).await;
    let body = ask(&first, "b", 1, &requests(&[Role::Agent]));
    assert_eq!(join(node, &first, body.clone()).await.status, StatusCode::OK);
    assert_eq!(join(node, &first, body).await.status, StatusCode::OK, "its answer may have been lost");
    let second = token(node, json!({})).await;
    let (status, message) = refusal(node, &second, "b", 2).await;
    assert_eq!(status, 409);
    assert!(message.starts_with("there is a machine named 'b' already"), "{message}");
    let (status, message) = refusal(node, &second, "c", 1).await;
    assert_eq!((status, message.as_str()), (409, "the machine 'b' has the address 127.0.0.1:1 already"));
    let (status, message) = refusal(node, &second, "no/name", 3).await;
    assert_eq!(status, 422);
    assert!(message.contains("is no machine's name"), "{message}");

    let removed = node.call(Method::DELETE, "/v1/nodes/b", None).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    until("etcd forgets it", || async { lab.members.member_list().await.unwrap().len() == 1 }).await;
    let again = node.call(Method::DELETE, "/v1/nodes/b", None).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let own = node.call(Method::DELETE, "/v1/nodes/a", None).await;
    assert_eq!(own.status, StatusCode::CONFLICT, "the leader's machine: {}", own.body);
    assert_eq!(refusal(node, &second, "b", 1).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_expired_revoked_used_or_wrong_are_refused_in_words() {
    let lab = Lab::open().await;
    let nodes = [lab.start("a", |_| ()).await];
    leader(&nodes).await;
    until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() }).await;
    let node = &nodes[0];

    let expiring = token(node, json!({ "ttl_seconds": 1 })).await;
    until("it has expired", || async { node.get("/v1/join-tokens").await.body[0]["state"] == "expired" }).await;
    let (status, message) = refusal(node, &expiring, "b", 1).await;
    assert_eq!(status, 403);
    assert!(message.starts_with("the join token expired at 2"), "{message}");

    let revoked = token(node, json!({})).await;
    assert_eq!(
        node.call(Method::DELETE, &format!("/v1/join-tokens/{}", revoked.id), None).await.status,
        StatusCode::OK
    );
    assert_eq!(refusal(node, &revoked, "b", 1).await, (403, "the join token was revoked".into()));

    let once = token(node, json!({ "uses": 1 })).await;
    let forged = JoinToken { secret: Token::generate().unwrap(), ..once.clone() };
    assert_eq!(refusal(node, &forged, "b", 1).await, (403, "the join token is not valid".into()));
    assert_eq!(refusal(node, &once, "b", 1).await.0, 200);
    assert_eq!(refusal(node, &once, "c", 2).await, (403, "the join token was used as often as it may be".into()));

    let unknown = JoinToken { id: "none".into(), ..once };
    let (status, message) = refusal(node, &unknown, "d", 3).await;
    assert_eq!(status, 403);
    assert!(message.starts_with("the join token is not known here"), "{message}");

    let stored = lab.store.get_prefix(keys::JOIN_TOKENS_PREFIX).await.unwrap();
    let secrets = [&revoked.secret, &forged.secret].map(|secret| secret.reveal().to_owned());
    for kv in stored.kvs {
        let value = String::from_utf8_lossy(&kv.value).into_owned();
        assert!(secrets.iter().all(|secret| !value.contains(secret)), "the store knows digests only");
    }
    let endless = node.call(Method::POST, "/v1/join-tokens", Some(json!({ "ttl_seconds": 1_000_000_000 }))).await;
    assert_eq!(endless.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_state_is_in_an_etcd_of_the_users_its_members_are_left_alone() {
    let lab = Lab::open().await;
    let outside = |config: &mut crate::Config| config.cluster.as_mut().unwrap().etcd_peer_url = String::new();
    let nodes = [lab.start("a", outside).await];
    leader(&nodes).await;
    until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() }).await;
    let token = token(&nodes[0], json!({})).await;
    let answer = join(&nodes[0], &token, ask(&token, "b", 1, &requests(&[Role::Agent]))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let answer: JoinAnswer = serde_json::from_value(answer.body).unwrap();
    assert!(answer.state && answer.etcd.is_none() && answer.etcd_endpoints.is_empty());
    assert_eq!(lab.members.member_list().await.unwrap().len(), 1);
    let cluster = nodes[0].get("/v1/cluster").await.body;
    assert_eq!((&cluster["etcd"]["healthy"], cluster["members"].as_array().unwrap().len()), (&json!(true), 2));
}
