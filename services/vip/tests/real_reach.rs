//! A holder that is cut off in one direction, with a real etcd: each node a namespace with a member and the service.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/lab.rs"]
mod lab;

use etcd::Cluster;
use lab::{FLOATING, Probe, Ring, Running, longest_gap, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Generous: machines that run tests are busy.
const SOON: Duration = Duration::from_secs(8);
/// How late a busy machine may make everything together.
const LATE: Duration = Duration::from_secs(1);

struct Scene {
    ring: Ring,
    client: netlab::Node,
    _etcd: Cluster,
    _services: Vec<Running>,
}

impl Scene {
    /// Three nodes with a member of etcd each; a (0) is the best, and holds the address by the store's word.
    async fn new() -> Self {
        let ring = Ring::new(3).await;
        let etcd = Cluster::start(&ring).await;
        let client = ring.bystander("client", 50).await;
        let mut services = Vec::new();
        for (number, priority) in [200, 150, 100].into_iter().enumerate() {
            services.push(ring.ours(number, json!({ "priority": priority, "stores": etcd.clients })).await);
        }
        ring.held_only_by(0, FLOATING, SOON).await;
        let granted = async || ring.status(0).await["routers"][0]["fence"] == "granted";
        until("a has the record", SOON, granted).await;
        until("b listens", SOON, async || ring.state(1).await == "backup").await;
        until("c listens", SOON, async || ring.state(2).await == "backup").await;
        Self { ring, client, _etcd: etcd, _services: services }
    }

    async fn cause(&self, number: usize) -> String {
        let status = self.ring.status(number).await;
        status["routers"][0]["transitions"].to_string()
    }

    async fn transitions(&self) -> u64 {
        let mut total = 0;
        for number in 0..self.ring.nodes.len() {
            total += self.ring.status(number).await["routers"][0]["transitions_total"].as_u64().unwrap();
        }
        total
    }

    /// All is mended: the best node holds again, by one change of the holder.
    async fn comes_back_without_flapping(&self) {
        let before = self.transitions().await;
        self.ring.held_only_by(0, FLOATING, SOON).await;
        self.ring.stays_with(0, FLOATING, Duration::from_secs(3)).await;
        let changes = self.transitions().await - before;
        assert!(changes <= 2, "{changes} transitions for one change of the holder");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_holder_gives_the_address_up() {
    let scene = Scene::new().await;
    let ring = &scene.ring;
    let probe = Probe::start(ring, &scene.client).await;
    ring.nodes[0].cut_incoming().await.unwrap();
    let cut_at = Instant::now();
    ring.held_only_by(1, FLOATING, SOON).await;
    let moved = cut_at.elapsed();
    let bound = vrrp::ISOLATION_MAX + vrrp::RECEIVED_CHECK_INTERVAL * 2;
    assert!(moved < bound + LATE, "the address moved after {moved:?}");
    ring.stays_with(1, FLOATING, Duration::from_secs(5)).await;
    let cause = scene.cause(0).await;
    assert!(cause.contains("and the store does not answer: this node is cut off"), "{cause}");
    let healed_at = Instant::now();
    ring.nodes[0].heal().await.unwrap();
    scene.comes_back_without_flapping().await;
    let answers = probe.end().await;
    let outage = longest_gap(&answers, cut_at);
    assert!(outage < bound + LATE, "clients had no answer for {outage:?}");
    let gap = longest_gap(&answers, healed_at);
    assert!(gap < Duration::from_millis(250), "coming back took the address away for {gap:?}");
    eprintln!("deaf: moved after {moved:?}, outage {outage:?}, coming back {gap:?}");
    scene.ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_holder_gives_the_address_up() {
    let scene = Scene::new().await;
    let ring = &scene.ring;
    let probe = Probe::start(ring, &scene.client).await;
    ring.nodes[0].cut_outgoing().await.unwrap();
    let cut_at = Instant::now();
    until("b holds", SOON, async || ring.holders(FLOATING).await.contains(&1)).await;
    let moved = cut_at.elapsed();
    assert!(moved < LATE, "the address moved after {moved:?}");
    ring.held_only_by(1, FLOATING, SOON).await;
    let alone = cut_at.elapsed();
    assert!(alone < moved + vrrp::UNHEARD_MAX + LATE, "two holders for {:?}", alone - moved);
    ring.stays_with(1, FLOATING, Duration::from_secs(5)).await;
    let cause = scene.cause(0).await;
    assert!(cause.contains("and the store does not answer: this node is not heard"), "{cause}");
    let healed_at = Instant::now();
    ring.nodes[0].heal().await.unwrap();
    scene.comes_back_without_flapping().await;
    let answers = probe.end().await;
    let outage = longest_gap(&answers, cut_at);
    assert!(outage < LATE, "clients had no answer for {outage:?}");
    let gap = longest_gap(&answers, healed_at);
    assert!(gap < Duration::from_millis(250), "coming back took the address away for {gap:?}");
    eprintln!("mute: moved after {moved:?}, alone after {alone:?}, outage {outage:?}, coming back {gap:?}");
    scene.ring.lab.remove().await.unwrap();
}

/// Two of three machines are gone, and with them the store's majority.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_survivor_keeps_the_address() {
    let scene = Scene::new().await;
    let ring = &scene.ring;
    let probe = Probe::start(ring, &scene.client).await;
    for number in [1, 2] {
        ring.nodes[number].cut().await.unwrap();
    }
    let cut_at = Instant::now();
    until("the store is gone", SOON, async || ring.status(0).await["routers"][0]["fence"] == "unknown").await;
    let watch = Duration::from_secs(8);
    while cut_at.elapsed() < watch {
        assert!(ring.holders(FLOATING).await.contains(&0), "the survivor gave up: {}", scene.cause(0).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outage = longest_gap(&probe.end().await, cut_at);
    assert!(outage < LATE, "clients had no answer for {outage:?}");
    // No client for a while: nobody is there to lose. One that asks is answered.
    until("nothing comes in", SOON, async || ring.holders(FLOATING).await.is_empty()).await;
    let asked_at = Instant::now();
    let probe = Probe::start(ring, &scene.client).await;
    until("it holds again", SOON, async || ring.holders(FLOATING).await.contains(&0)).await;
    let back = asked_at.elapsed();
    assert!(back < Duration::from_secs(1) + LATE, "the first client waited for {back:?}");
    assert!(!probe.end().await.is_empty() || back < Duration::from_secs(1));
    for number in [1, 2] {
        ring.nodes[number].heal().await.unwrap();
    }
    ring.held_only_by(0, FLOATING, SOON).await;
    ring.stays_with(0, FLOATING, Duration::from_secs(2)).await;
    eprintln!("survivor: outage {outage:?}, back after {back:?}");
    scene.ring.lab.remove().await.unwrap();
}
