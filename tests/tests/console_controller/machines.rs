//! A cluster's machines, as the controller tells them and the nodes' page shows them.

#[path = "../../../services/controller/src/cluster/fake_members.rs"]
#[allow(dead_code)] // the controller's tests use all of it
mod fake_members;

use super::*;
use controller::cluster::{Cluster, Settings};
use fake_members::FakeMembers;
use identity::{Ca, CertificateFiles, Subject, Tls};
use model::{Node, NodeId, Resources};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Members, Operation, Store, TxnRequest};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LIMIT: Duration = Duration::from_secs(20);

fn peer_url(name: &str) -> String {
    format!("https://{name}:2380")
}

/// `a` leads; the agents of `a` and `b` were heard once, before this leader's time; `c` has joined, its agent never came.
async fn cluster_of_three() -> Platform {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(store::Embedded::open(directory.path().join("store")).await.unwrap());
    let nodes = ["a", "b"].map(|name| put(format!("/roadstead/nodes/{name}"), &node(name)));
    let machines = ["a", "b", "c"].map(|name| put(format!("/roadstead/members/{name}"), &member(name)));
    let success = nodes.into_iter().chain(machines).collect();
    store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    // `a` votes and is well, `c` learns and was never started.
    let members = FakeMembers::of(&peer_url("a"));
    members.start(&peer_url("a"));
    members.member_add_learner(&peer_url("c")).await.unwrap();
    let settings = Settings { vips: vec!["10.0.0.100/24".to_owned()], ..Settings::default() };
    let cluster = Cluster {
        node: "a".to_owned(),
        address: ADDRESS,
        peers_listen: (ADDRESS, 0).into(),
        advertise: String::new(),
        tls: certified(&directory.path().join("identity")),
        candidate: true,
        ca: None,
        authority: None,
        members: Arc::new(members),
        etcd_peer_url: peer_url("a"),
        etcd_client_url: String::new(),
        settings,
        version: "0.1.0".into(),
    };
    Platform::on(directory, store, Some(cluster)).await
}

fn put(key: String, value: &impl serde::Serialize) -> Operation {
    Operation::put(key, serde_json::to_vec(value).unwrap())
}

fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name),
        hostname: name.to_owned(),
        address: ADDRESS.to_string(),
        resources: Resources::default(),
        attributes: BTreeMap::new(),
        runtime: "process".to_owned(),
        limits: Vec::new(),
        draining: false,
    }
}

/// As a machine is written down when it joins; `b` keeps no state.
fn member(name: &str) -> Value {
    let keeps_state = name != "b";
    json!({
        "name": name,
        "address": ADDRESS,
        "peers": format!("{name}:8081"),
        "state": keeps_state,
        "etcd_peer_url": if keeps_state { peer_url(name) } else { String::new() },
        "joined_at": "2026-11-22T20:11:05.000Z",
        "version": "0.1.0",
    })
}

fn certified(identity: &Path) -> Tls {
    let (ca, request) = (Ca::create("lab").unwrap(), identity::Request::generate().unwrap());
    let subject = Subject { role: Role::Controller, node: "a".to_owned(), addresses: vec![ADDRESS] };
    let certificate = ca.sign(&request.csr_pem, &subject).unwrap();
    let files = CertificateFiles::of(identity, Role::Controller);
    files.install(ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
    Tls::open(identity, Role::Controller).unwrap()
}

/// The nodes' page, once it shows all of these.
async fn shown(platform: &Platform, texts: &[&str]) -> String {
    let start = Instant::now();
    loop {
        let (status, page) = platform.get("/nodes").await;
        let lacks: Vec<&&str> = texts.iter().filter(|text| !page.contains(**text)).collect();
        if status == 200 && lacks.is_empty() {
            return page;
        }
        assert!(start.elapsed() < LIMIT, "the page ({status}) lacks {lacks:?}: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_page_reads_what_a_clusters_controller_writes() {
    let platform = cluster_of_three().await;
    let texts = [
        "<dt>Leader</dt><dd>a</dd>",
        "1 of 1 voter is well",
        "none may fail; 1 learner",
        "it has not been started yet",
        "10.0.0.100/24",
        "node absent",
        "Leads",
        "Learner",
        "0.1.0",
        "node suspected",
        "kept by the brake",
        "The brake is on",
        "2 of 2 nodes are silent at once",
    ];
    let page = shown(&platform, &texts).await;
    assert_eq!(page.matches("nodes are silent at once").count(), 1, "said once: {page}");
    assert!(page.contains("since <time datetime="), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_cannot_drain_a_machine_and_an_admin_can() {
    let platform = cluster_of_three().await;
    shown(&platform, &["node absent"]).await;
    let drain = "action=drain&node=b";
    let (status, page) = platform.submit(Role::Viewer, "/nodes", drain).await;
    assert!(status == 403 && page.contains("role viewer may not POST /v1/nodes/b/drain"), "{status} {page}");
    let (status, page) = platform.submit(Role::Admin, "/nodes", drain).await;
    assert_eq!(status, 303, "{page}");
    shown(&platform, &["it is being drained"]).await;
    let (status, page) = platform.submit(Role::Admin, "/nodes", "action=restore&node=b").await;
    assert_eq!(status, 303, "{page}");
    assert!(!platform.get("/nodes").await.1.contains("being drained"));
    let (status, page) = platform.submit(Role::Admin, "/nodes", "action=drain&node=c").await;
    assert!(status == 404 && page.contains("Back to the nodes"), "{status} {page}");
}
