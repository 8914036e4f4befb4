//! A machine is removed, and what it holds is of no use from then on.

use super::join::{ask, join, requests, token};
use super::lab::{Lab, Node, leader, until};
use crate::cluster::revocation::ISSUES_MAX;
use crate::cluster::{CertificatesAnswer, JoinAnswer, Settings};
use crate::keys;
use http::{Method, StatusCode};
use identity::{CertificateFiles, Issued, Request, Role, Tls};
use lifecycle::ErrorChain;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use store::{Operation, TxnRequest};

const ROLES: [Role; 2] = [Role::Agent, Role::Node];

/// A machine's certificates and keys.
struct Machine {
    identity: PathBuf,
    requests: BTreeMap<Role, Request>,
}

impl Machine {
    async fn join(lab: &Lab, node: &Node, name: &str, directory: &str) -> Self {
        let token = token(node, json!({})).await;
        let requests = requests(&ROLES);
        let answer = join(node, &token, ask(&token, name, 7, &requests)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let answer: JoinAnswer = serde_json::from_value(answer.body).unwrap();
        let machine = Self { identity: lab.path().join(directory), requests };
        machine.install(&answer.ca, &answer.certificates);
        machine
    }

    fn install(&self, ca: &str, certificates: &BTreeMap<Role, String>) {
        for (role, certificate) in certificates {
            let files = CertificateFiles::of(&self.identity, *role);
            files.install(ca, certificate, &self.requests[role].key_pem).unwrap();
        }
    }

    fn client(&self, role: Role) -> web::Client {
        web::Client::default().with_tls(Tls::open(&self.identity, role).unwrap().client(Some(Role::Controller)))
    }

    fn renewal(&self) -> Option<Value> {
        let csr = |(role, request): (&Role, &Request)| (*role, Request::renewing(&request.key_pem).unwrap().csr_pem);
        Some(json!({ "csrs": self.requests.iter().map(csr).collect::<BTreeMap<Role, String>>() }))
    }
}

/// What a client hears of a controller before any question of rights; the words of the handshake when it is refused.
async fn greet(client: &web::Client, node: &Node) -> Result<(), String> {
    match client.get(&format!("https://{}{}", node.peers, crate::peers::STANDING_PATH)).await {
        Err(error @ web::ClientError::Status { .. }) => drop(error),
        Err(error) => return Err(ErrorChain(&error).to_string()),
        Ok(_) => {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_of_a_removed_machine_is_refused_by_every_controller() {
    let (lab, nodes) = Lab::with_three().await;
    let first = &nodes[leader(&nodes).await];
    let worker = Machine::join(&lab, first, "d", "d-first").await;
    // What it was given first is good beside what it was given later.
    let renewed =
        first.call_peers(&worker.client(Role::Node), Method::POST, "/v1/certificates", worker.renewal()).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
    let renewed: CertificatesAnswer = serde_json::from_value(renewed.body).unwrap();
    let later = Machine { identity: lab.path().join("d-later"), requests: worker.requests };
    later.install(lab.ca.certificate_pem(), &renewed.certificates);
    let worker = Machine { identity: worker.identity, requests: requests(&[]) };
    for node in &nodes {
        for role in ROLES {
            greet(&worker.client(role), node).await.unwrap();
            greet(&later.client(role), node).await.unwrap();
        }
    }

    let removed = first.call(Method::DELETE, "/v1/nodes/d", None).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    for node in &nodes {
        for (machine, role) in [&worker, &later].into_iter().flat_map(|machine| ROLES.map(|role| (machine, role))) {
            until("it is refused", || async {
                greet(&machine.client(role), node).await.is_err_and(|words| words.to_lowercase().contains("revoked"))
            })
            .await;
        }
        // The others go on.
        greet(&lab.client("e", Role::Agent), node).await.unwrap();
    }
    // Under its old name it comes again, with what is new.
    let again = Machine::join(&lab, first, "d", "d-again").await;
    for node in &nodes {
        greet(&again.client(Role::Agent), node).await.unwrap();
        greet(&worker.client(Role::Agent), node).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_that_keeps_the_state_signed_for_itself_is_revoked_too() {
    let (lab, nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let (first, other) = (&nodes[first], &nodes[(first + 1) % 3]);
    let shown = Tls::open(&lab.path().join(&other.name), Role::Controller).unwrap();
    let client = web::Client::default().with_tls(shown.client(Some(Role::Controller)));
    greet(&client, first).await.unwrap();
    until("its certificate is written down", || async {
        !lab.store.get_prefix(&keys::issued(&other.name, "")).await.unwrap().kvs.is_empty()
    })
    .await;
    let removed = first.call(Method::DELETE, &format!("/v1/nodes/{}", other.name), None).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    let fresh = || web::Client::default().with_tls(shown.client(Some(Role::Controller)));
    until("it is refused", || async { greet(&fresh(), first).await.is_err() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_removal_was_cut_off_is_shut_out_by_the_next_leader() {
    let (lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let worker = Machine::join(&lab, &nodes[first], "d", "d").await;
    // Not by this release: the machine is gone, and nothing was revoked.
    let unlisted = vec![Operation::delete(keys::member("d"))];
    lab.store.txn(TxnRequest { success: unlisted, ..TxnRequest::default() }).await.unwrap();
    nodes.remove(first).kill();
    let next = &nodes[leader(&nodes).await];
    until("it is refused", || async { greet(&worker.client(Role::Agent), next).await.is_err() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_machine_signs_for_itself_later_is_revoked_at_once() {
    let (lab, nodes) = Lab::with_three().await;
    let first = &nodes[leader(&nodes).await];
    until("the leader has settled", || async { lab.store.get(keys::REVOKED).await.unwrap().is_some() }).await;
    let client = lab.client("removed", Role::Agent);
    greet(&client, first).await.unwrap();
    // As its controller writes it down.
    let certificate = CertificateFiles::of(&lab.path().join("removed"), Role::Agent).certificate;
    let issued = Issued::of_pem(&std::fs::read_to_string(certificate).unwrap()).unwrap();
    let written = Operation::put(keys::issued("removed", &issued.serial), serde_json::to_vec(&[issued]).unwrap());
    lab.store.txn(TxnRequest { success: vec![written], ..TxnRequest::default() }).await.unwrap();
    until("it is refused", || async { greet(&client, first).await.is_err() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_that_holds_the_objects_is_removed_by_force_only() {
    let (lab, nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let (first, other) = (&nodes[first], &nodes[(first + 1) % 3]);
    let settings = Settings { objects: "127.0.0.1:9001".into(), ..Settings::default() };
    let written = Operation::put(keys::CLUSTER, serde_json::to_vec(&settings).unwrap());
    lab.store.txn(TxnRequest { success: vec![written], ..TxnRequest::default() }).await.unwrap();
    let remove =
        async |query: &str| first.call(Method::DELETE, &format!("/v1/nodes/{}{query}", other.name), None).await;
    let refused = remove("").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.to_string().contains("holds the cluster's objects"), "{}", refused.body);
    assert_eq!(remove("?force=true").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_not_given_certificates_without_end() {
    let (lab, nodes) = Lab::with_three().await;
    let first = &nodes[leader(&nodes).await];
    let worker = Machine::join(&lab, first, "d", "d").await;
    let client = worker.client(Role::Node);
    let renew = async || first.call_peers(&client, Method::POST, "/v1/certificates", worker.renewal()).await.status;
    for _ in 1..ISSUES_MAX {
        assert_eq!(renew().await, StatusCode::OK);
    }
    assert_eq!(renew().await, StatusCode::SERVICE_UNAVAILABLE);
}
