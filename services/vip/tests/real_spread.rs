//! Two addresses of a founder, and nodes that join later: each a namespace with an edge and a member of etcd.

#[path = "support/client.rs"]
mod client;
#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/lab.rs"]
mod lab;

use client::{Ask, Clients};
use etcd::Cluster;
use lab::{Ring, Running, until};
use netlab::Node;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{ClientCredentials, EtcdClient};

const ADDRESSES: [&str; 2] = ["10.99.0.100", "10.99.0.101"];
/// The patience that is tested; what is shipped is longer.
const AFTER: Duration = Duration::from_secs(3);
/// Generous: machines that run tests are busy.
const SOON: Duration = Duration::from_secs(20);
/// How long an address may be at no node, or at two, as seen by looks at one node after the other.
const IN_BETWEEN_MAX: Duration = Duration::from_millis(400);

/// A real edge on the node, which is ready and knows no route.
async fn edge(node: &Node, stores: Vec<String>) {
    let (bound, listening) = tokio::sync::oneshot::channel();
    let name = node.name().to_owned();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = edge::Config {
                listen: vec!["0.0.0.0:80".parse().unwrap()],
                listen_tls: Vec::new(),
                seal_key: None,
                proxies: Vec::new(),
                api: Some("127.0.0.1:8182".parse().unwrap()),
                store: Arc::new(EtcdClient::connect(&stores, ClientCredentials::None, None).unwrap()),
                controllers: Vec::new(),
                data: None,
                token: None,
                tls: None,
                verifier: identity::Verifier::Open,
                edge_id: name,
                node_id: String::new(),
                client_times: edge::ClientTimes::default(),
                vulcand: edge::Vulcand::default(),
                observation: edge::Observation::default(),
                take_over: false,
                drain: edge::Drain::default(),
            };
            let started = edge::start(config, lifecycle::Stop::new()).await.unwrap();
            bound.send(()).unwrap();
            let _ = started.finished().await;
        });
    };
    let node = node.clone();
    tokio::spawn(async move { node.run(serve).await });
    listening.await.unwrap();
}

struct Scene {
    ring: Ring,
    etcd: Cluster,
}

impl Scene {
    async fn new() -> Self {
        let ring = Ring::new(3).await;
        let etcd = Cluster::start(&ring).await;
        for node in &ring.nodes {
            edge(node, etcd.clients.clone()).await;
        }
        Self { ring, etcd }
    }

    async fn join(&self, number: usize, after: Duration) -> Running {
        let options = json!({
            "spread": ADDRESSES.map(|address| json!([address, 24])),
            "spread_after_ms": after.as_millis() as u64,
            "stores": self.etcd.clients,
            "ready_url": "http://127.0.0.1:8182/ready",
        });
        let running = self.ring.ours(number, options).await;
        let ready = async || self.ring.status(number).await["edge"]["ready"] == true;
        until("its edge is ready", SOON, ready).await;
        running
    }

    /// Which node has each address, if it is one.
    async fn holders(&self) -> [Option<usize>; 2] {
        let mut holders = [None; 2];
        for (address, holder) in ADDRESSES.iter().zip(&mut holders) {
            *holder = match self.ring.holders(address).await[..] {
                [one] => Some(one),
                _ => None,
            };
        }
        holders
    }

    /// Looks again and again: each address is at one node, but for moments. Until `end` says so; then the holders.
    async fn until_spread(&self, what: &str, mut end: impl FnMut([Option<usize>; 2]) -> bool) -> [Option<usize>; 2] {
        let deadline = Instant::now() + SOON;
        let mut single_at = [Instant::now(); 2];
        loop {
            let holders = self.holders().await;
            for (address, (holder, single_at)) in ADDRESSES.iter().zip(holders.iter().zip(&mut single_at)) {
                match holder {
                    Some(_) => *single_at = Instant::now(),
                    None => assert!(single_at.elapsed() < IN_BETWEEN_MAX, "{address} is not at one node"),
                }
            }
            if end(holders) {
                return holders;
            }
            assert!(Instant::now() < deadline, "never: {what}; held by {holders:?}");
        }
    }

    /// For several times the patience.
    async fn stays(&self, expected: [Option<usize>; 2]) {
        let begun_at = Instant::now();
        let mut moved = Vec::new();
        let long_enough = |holders: [Option<usize>; 2]| {
            if holders != expected {
                moved.push(holders);
            }
            begun_at.elapsed() > 4 * AFTER
        };
        self.until_spread("time passes", long_enough).await;
        assert!(moved.is_empty(), "{expected:?} became {moved:?}");
    }
}

fn each_its_own(holders: [Option<usize>; 2], nodes: [usize; 2]) -> bool {
    let mut sorted = holders;
    sorted.sort();
    sorted == nodes.map(Some)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_of_a_founder_are_shared_with_a_node_that_joins_and_no_request_fails() {
    let scene = Scene::new().await;
    let client = scene.ring.bystander("client", 50).await;
    let _a = scene.join(0, AFTER).await;
    until("a holds both", SOON, async || scene.holders().await == [Some(0); 2]).await;
    // The edge has no route: its own answer is as good as any.
    let to = |address: &str| SocketAddr::new(address.parse().unwrap(), 80);
    let asks = ADDRESSES.map(|address| Ask { to: to(address), host: "nobody", answer: "http/1.1 404" });
    let clients = Clients::start(&client, asks.into_iter());
    scene.stays([Some(0); 2]).await;

    let mut b = scene.join(1, AFTER).await;
    let joined_at = Instant::now();
    let shared = scene.until_spread("each has its own", |holders| each_its_own(holders, [0, 1])).await;
    assert!(joined_at.elapsed() + Duration::from_secs(1) > AFTER, "too soon: {:?}", joined_at.elapsed());
    scene.stays(shared).await;
    // A third has nothing to gain.
    let _c = scene.join(2, AFTER).await;
    scene.stays(shared).await;
    let tally = clients.end().await;
    println!("{} answered, {} repeated, the slowest after {:?}", tally.answered, tally.repeated, tally.slowest);
    assert_eq!(tally.failed, Vec::<String>::new());
    // A connection that was accepted in the moment in which the edge became quiet may be closed unused.
    assert!(tally.repeated <= 1, "{} were not answered at once", tally.repeated);
    assert!(tally.answered > 1_000 && tally.slowest < Duration::from_secs(3), "{tally:?}");
    let status = scene.ring.status(0).await;
    assert!(status.to_string().contains("handed the address over to b, which asked for it"), "{status}");
    assert_eq!(status["spread"]["ready"], json!(["a", "b", "c"]), "{status}");

    // Whoever is next for b's address may be a, who has one: then the third asks.
    b.stop().await;
    let shared = scene.until_spread("a and c have one each", |holders| each_its_own(holders, [0, 2])).await;
    scene.stays(shared).await;
    scene.ring.lab.remove().await.unwrap();
}
