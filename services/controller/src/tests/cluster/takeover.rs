//! Whoever leads may die, stop, or be deposed: another leads, and every node answers.

use super::lab::{DEADLINE, Lab, Node, call, leader, until, within};
use crate::election::Record;
use crate::keys;
use crate::leader::{Campaign, Fence};
use crate::uuids::Uuids;
use axum::Router;
use futures::StreamExt;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use identity::Role;
use protocol::sessions_client::SessionsClient;
use protocol::{AgentHello, Controllers, EdgeHello, EdgeState, FromAgent, FromEdge, LEADER_METADATA, NodeStanding};
use protocol::{ToAgent, from_agent, from_edge, to_agent, to_edge};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::{Operation, TxnRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// A new leader answers within this time (the project's promise).
const TAKEOVER_MAX: Duration = Duration::from_secs(2);
/// A killed leader's streams end at once, with its connections; also on a busy machine.
const ENDS_MAX: Duration = Duration::from_secs(10);
/// What needs no lease to run out.
const AT_ONCE_MAX: Duration = Duration::from_secs(1);

fn app(id: &str) -> Option<Value> {
    Some(json!({ "id": id, "cmd": "serve", "instances": 0 }))
}

async fn has_app(node: &Node, id: &str) -> bool {
    node.get(&format!("/v2/apps/{id}")).await.status == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leaders_place_is_taken_and_every_node_answers() {
    within(TAKEOVER_MAX, async || {
        let (_lab, mut nodes) = Lab::with_three().await;
        let first = leader(&nodes).await;
        for (node, id) in nodes.iter().zip(["x", "y", "z"]) {
            let created = node.call(Method::POST, "/v2/apps", app(id)).await;
            assert_eq!(created.status, StatusCode::CREATED, "through {}: {}", node.name, created.body);
        }
        for node in &nodes {
            assert_eq!(node.get("/v2/apps").await.body["apps"].as_array().unwrap().len(), 3, "through {}", node.name);
            assert_eq!(node.get("/v2/leader").await.body["leader"], nodes[first].peers.to_string());
        }
        nodes[first].kill();
        let left: Vec<&Node> = nodes.iter().filter(|node| node.name != nodes[first].name).collect();
        let took = until("a new leader writes", || async {
            left[0].call(Method::POST, "/v2/apps", app("w")).await.status == StatusCode::CREATED
        })
        .await;
        for node in &left {
            for id in ["w", "x", "y", "z"] {
                assert!(has_app(node, id).await, "{id} through {}", node.name);
            }
        }
        took
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_or_gives_the_lead_away_leaves_no_gap() {
    let (_lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let watcher = (first + 1) % 3;
    let given = nodes[watcher].call(Method::DELETE, "/v2/leader", None).await;
    assert_eq!((given.status, &given.body["message"]), (StatusCode::OK, &json!("Leadership abdicted")));
    // Whoever asks meanwhile waits for the next leader.
    assert_eq!(nodes[watcher].get("/v2/apps").await.status, StatusCode::OK);
    until("another leads", || async { !nodes[first].leads() && nodes.iter().any(Node::leads) }).await;
    let second = leader(&nodes).await;
    assert_ne!(second, first);
    nodes.remove(second).end().await;
    for node in &nodes {
        assert_eq!(node.get("/v2/apps").await.status, StatusCode::OK, "through {}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_lead_is_given_away_no_request_fails() {
    let (_lab, nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let writing = |through: usize| {
        let node = &nodes[through];
        async move {
            for number in 0..20 {
                let created = node.call(Method::POST, "/v2/apps", app(&format!("x{through}-{number}"))).await;
                assert_eq!(created.status, StatusCode::CREATED, "through {}: {}", node.name, created.body);
                assert_eq!(node.get("/v2/apps").await.status, StatusCode::OK);
            }
        }
    };
    let giving_away = async {
        until("some are written", || async { has_app(&nodes[first], &format!("x{first}-2")).await }).await;
        nodes[first].call(Method::DELETE, "/v2/leader", None).await
    };
    tokio::join!(writing(0), writing(1), writing(2), giving_away);
    assert!(!nodes[first].leads());
    let apps = nodes[first].get("/v2/apps").await;
    assert_eq!(apps.body["apps"].as_array().unwrap().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_lead_changes_nothing_stays_behind() {
    const CHANGES: usize = 200;
    const TASKS_MORE_MAX: usize = 10;
    let lab = Lab::open().await;
    let node = lab.start("a", |_| ()).await;
    let leads_anew = async |before: i64| {
        until("it leads", || async {
            let record = lab.store.get(keys::LEADER).await.unwrap();
            node.leads() && record.is_some_and(|record| record.mod_revision > before)
        })
        .await;
        lab.store.get(keys::LEADER).await.unwrap().map_or(before, |record| record.mod_revision)
    };
    let mut revision = leads_anew(0).await;
    until("it is founded", || async { node.get("/v1/cluster").await.body["members"][0]["name"] == "a" }).await;
    let before = node.tasks_alive();
    for _ in 0..CHANGES {
        let lost = TxnRequest { success: vec![Operation::delete(keys::LEADER)], ..TxnRequest::default() };
        lab.store.txn(lost).await.unwrap();
        revision = leads_anew(revision).await;
    }
    let is_back = || async { node.tasks_alive() <= before + TASKS_MORE_MAX };
    until(&format!("there are no more tasks than the {before} before"), is_back).await;
    assert_eq!(node.call(Method::POST, "/v2/apps", app("x")).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leaders_writes_are_refused() {
    let lab = Lab::open().await;
    let mut uuids = Uuids::new().unwrap();
    let mut campaign = async |node: &str, against| {
        let record = Record { node: node.into(), incarnation: node.into(), ..Record::default() };
        match Fence::campaign(lab.store.as_ref(), &mut uuids, &record, against).await.unwrap() {
            Campaign::Won { fence, .. } => Some(fence),
            Campaign::Lost => None,
        }
    };
    let old = campaign("a", None).await.unwrap();
    assert!(campaign("b", None).await.is_none(), "there is a leader");
    assert!(campaign("b", Some(old.revision() - 1)).await.is_none(), "not the one it saw");
    let new = campaign("b", Some(old.revision())).await.unwrap();
    assert_eq!(old.framework_id, new.framework_id, "the platform keeps its name");
    let write = async |fence: &Fence| {
        let success = vec![Operation::put("/roadstead/apps/x", "1")];
        let request = TxnRequest { compare: vec![fence.compare()], success, failure: Vec::new() };
        lab.store.txn(request).await.unwrap().succeeded
    };
    assert!(!write(&old).await);
    assert!(write(&new).await);
    new.release(lab.store.as_ref()).await.unwrap();
    assert!(!write(&new).await, "who gave the lead away writes no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_record_is_replaced_stops_leading_though_its_lease_lives() {
    within(AT_ONCE_MAX, async || {
        let (lab, nodes) = Lab::with_three().await;
        let first = leader(&nodes).await;
        let term = nodes[first].lead.term().unwrap();
        let record = Record { node: "elsewhere".into(), incarnation: "1".into(), ..Record::default() };
        let lease = lab.store.lease_grant(2 * DEADLINE).await.unwrap();
        let value = serde_json::to_vec(&record).unwrap().into();
        let put = store::PutRequest { key: "/roadstead/controller".into(), value, lease: lease.id, prev_kv: false };
        lab.store.txn(TxnRequest { success: vec![Operation::Put(put)], ..TxnRequest::default() }).await.unwrap();
        let took = until("it notices", || async { !nodes[first].leads() }).await;
        assert!(term.stop.is_requested(), "its sessions end");
        // Nobody can reach the one who is said to lead: most candidates depose it, long before its lease ends.
        leader(&nodes).await;
        took
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_leads_callers_wait_a_moment_and_are_told() {
    let (_lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let lab_watcher = Lab::open().await;
    let alone = lab_watcher.start("d", |config| config.cluster.as_mut().unwrap().candidate = false).await;
    let refused = alone.get("/v2/apps").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body["message"], "no controller leads at this moment; try again");
    nodes[first].kill();
    // One that does lead soon is waited for.
    let survivor = (first + 1) % 3;
    assert_eq!(nodes[survivor].get("/v2/apps").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_events_pass_through_and_end_with_their_leader() {
    let (lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let through = (first + 1) % 3;
    let authorization = format!("Bearer {}", lab.token(Role::Admin).reveal());
    let request = http::Request::get(format!("http://{}/v2/events", nodes[through].api))
        .header("accept", "text/event-stream")
        .header("authorization", authorization)
        .body(web::empty_body())
        .unwrap();
    let response = web::Client::default().send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut events = response.into_body();
    let mut heard = String::new();
    while !heard.contains("event_stream_attached") {
        heard += &String::from_utf8_lossy(events.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
    nodes[through].call(Method::POST, "/v2/apps", app("x")).await;
    while !heard.contains("api_post_event") {
        heard += &String::from_utf8_lossy(events.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
    nodes[first].kill();
    let ends = async { while let Some(Ok(_)) = events.frame().await {} };
    tokio::time::timeout(ENDS_MAX, ends).await.expect("the stream ends");
}

struct Agent {
    incoming: Streaming<ToAgent>,
    _outgoing: tokio::sync::mpsc::Sender<FromAgent>,
}

async fn channel(lab: &Lab, node: &str, role: Role, peers: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{peers}")).unwrap();
    web::grpc_connect(&endpoint, Some(lab.tls(node, role).client(Some(Role::Controller)))).await.unwrap()
}

async fn open_agent(lab: &Lab, certificate_of: &str, hello_of: &str, peers: &str) -> Result<Agent, Status> {
    open_agent_at(lab, certificate_of, hello_of, "127.0.0.1", peers).await
}

async fn open_agent_at(
    lab: &Lab,
    certificate_of: &str,
    hello_of: &str,
    address: &str,
    peers: &str,
) -> Result<Agent, Status> {
    let (outgoing, receiver) = tokio::sync::mpsc::channel(8);
    let hello = AgentHello {
        node_id: hello_of.into(),
        hostname: hello_of.into(),
        address: address.into(),
        ..AgentHello::default()
    };
    outgoing.send(FromAgent { message: Some(from_agent::Message::Hello(hello)) }).await.unwrap();
    let mut client = SessionsClient::new(channel(lab, certificate_of, Role::Agent, peers).await);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut incoming = client.agent(stream).await?.into_inner();
    // A refused hello is told on the stream.
    let first = incoming.message().await?;
    assert!(matches!(first, Some(ToAgent { message: Some(to_agent::Message::Controllers(_)) })), "{first:?}");
    Ok(Agent { incoming, _outgoing: outgoing })
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_follow_the_hint_to_the_leader_and_move_when_it_dies() {
    let (lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let other = (first + 1) % 3;
    let refused = open_agent(&lab, "a", "a", &nodes[other].peers.to_string()).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let hint = refused.metadata().get(LEADER_METADATA).unwrap().to_str().unwrap().to_owned();
    assert_eq!(hint, nodes[first].peers.to_string());
    let mut agent = open_agent(&lab, "a", "a", &hint).await.unwrap();
    until("its node is known", || async {
        nodes[other].get("/v1/nodes").await.body[0]["state"].as_str().is_some_and(|state| state != "absent")
    })
    .await;
    nodes[first].kill();
    let ended = async { while let Some(Ok(_)) = agent.incoming.next().await {} };
    tokio::time::timeout(ENDS_MAX, ended).await.expect("the session ends with its leader");
    nodes.remove(first);
    let second = leader(&nodes).await;
    open_agent(&lab, "a", "a", &nodes[second].peers.to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_must_name_the_node_of_its_certificate() {
    let (lab, nodes) = Lab::with_three().await;
    let peers = nodes[leader(&nodes).await].peers.to_string();
    let foreign = open_agent(&lab, "a", "b", &peers).await.err().unwrap();
    assert_eq!(
        (foreign.code(), foreign.message()),
        (Code::PermissionDenied, "the certificate is of node 'a', the hello of 'b'")
    );
    let elsewhere = open_agent_at(&lab, "a", "a", "127.0.0.9", &peers).await.err().unwrap();
    assert_eq!(elsewhere.message(), "the machine 'a' is at 127.0.0.1, its agent's hello says 127.0.0.9");
    let stranger = open_agent(&lab, "z", "z", &peers).await.err().unwrap();
    assert_eq!(stranger.message(), "the machine 'z' is none of this cluster (any more)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_told_of_the_controllers_and_of_its_node() {
    let (lab, nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let peers = nodes[first].peers.to_string();
    let _agent = open_agent(&lab, "b", "b", &peers).await.unwrap();
    let (outgoing, receiver) = tokio::sync::mpsc::channel(8);
    let hello = EdgeHello { edge_id: "edge-b".into(), node_id: "b".into(), ..EdgeHello::default() };
    outgoing.send(FromEdge { message: Some(from_edge::Message::Hello(hello)) }).await.unwrap();
    // It is told something when it speaks.
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(protocol::EDGE_REPORT_INTERVAL);
        let state = || FromEdge { message: Some(from_edge::Message::State(EdgeState::default())) };
        while outgoing.send(state()).await.is_ok() {
            interval.tick().await;
        }
    });
    let mut client = SessionsClient::new(channel(&lab, "b", Role::Edge, &peers).await);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut incoming = client.edge(stream).await.unwrap().into_inner();
    let mut next = async || incoming.message().await.unwrap().unwrap().message.unwrap();
    let to_edge::Message::Controllers(Controllers { addresses }) = next().await else { panic!("controllers first") };
    assert_eq!((addresses.len(), &addresses[0]), (3, &peers), "the leader first: {addresses:?}");
    assert_eq!(next().await, to_edge::Message::Node(NodeStanding { draining: false }));
    let drained = nodes[(first + 1) % 3].call(Method::POST, "/v1/nodes/b/drain", None).await;
    assert_eq!(drained.status, StatusCode::OK, "{}", drained.body);
    while next().await != to_edge::Message::Node(NodeStanding { draining: true }) {}
    nodes[first].call(Method::POST, "/v1/nodes/b/restore", None).await;
    while next().await != to_edge::Message::Node(NodeStanding { draining: false }) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_of_the_process_that_is_asked_and_all_else_of_the_leader() {
    let (_lab, nodes) = Lab::with_three_as(|name, config| {
        let router = Router::new().fallback(async move || axum::Json(name));
        config.vulcand = Some(Arc::new(move |_| router.clone()));
    })
    .await;
    let first = leader(&nodes).await;
    for node in &nodes {
        for method in [Method::GET, Method::PUT] {
            let answer = node.call(method.clone(), "/vulcand/v2/log/severity", None).await;
            assert_eq!(answer.body, node.name, "{method}");
        }
        let objects = node.call(Method::POST, "/vulcand/v2/backends", None).await;
        assert_eq!(objects.body, nodes[first].name, "through {}", node.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_process_of_a_node_replaces_the_earlier_one_which_ends() {
    within(AT_ONCE_MAX, async || {
        let lab = Lab::open().await;
        let earlier = lab.start("a", |_| ()).await;
        until("it leads", || async { earlier.leads() }).await;
        let later = lab.start("a", |_| ()).await;
        let took = until("the later one leads", || async { later.leads() }).await;
        until("the earlier one is gone", || async { !earlier.leads() }).await;
        let uri = format!("http://{}/ping", later.api);
        assert_eq!(call(&later.admin, Method::GET, &uri, None).await.status, StatusCode::OK);
        assert!(later.leads());
        took
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_machines_controller_does_not_lead_though_its_process_lives() {
    let (lab, mut nodes) = Lab::with_three().await;
    let first = leader(&nodes).await;
    let [removed, left] = [(first + 1) % 3, (first + 2) % 3];
    let name = nodes[removed].name.clone();
    let gone = nodes[first].call(Method::DELETE, &format!("/v1/nodes/{name}"), None).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
    // What it asks for others is refused from then on: by the leader, and soon by its TLS.
    until("its requests are refused", || async {
        let status = nodes[removed].get("/v2/apps").await.status;
        matches!(status, StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE)
    })
    .await;
    // Two are left of two, so nobody may stand before the lease has ended; only one of them does.
    nodes[first].kill();
    until("the one that is left leads", || async {
        assert!(!nodes[removed].leads());
        nodes[left].leads()
    })
    .await;
    assert!(lab.store.get(&crate::keys::member(&name)).await.unwrap().is_none());
}
