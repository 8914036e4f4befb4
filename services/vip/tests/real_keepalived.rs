//! Side by side with Debian's keepalived, in both roles.

#[path = "support/lab.rs"]
mod lab;

use lab::{FLOATING, FLOATING_V6, Ring, Setup, until};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// Generous: machines that run tests are busy. The times promised are measured by the comparison, not here.
const SOON: Duration = Duration::from_secs(5);

/// Both roles with every way for a holder to leave. Node 0 is ours, node 1 keepalived's.
async fn both_roles(ours: Value, theirs: Setup, address: &str, slack: Duration) {
    let with_priority = |priority: u8| {
        let mut options = ours.clone();
        options["priority"] = json!(priority);
        options
    };
    let ring = Ring::new(2).await;
    // We are better: we hold, keepalived listens to us.
    let mut we = ring.ours(0, with_priority(200)).await;
    ring.held_only_by(0, address, SOON + slack).await;
    let mut they = ring.keepalived(1, Setup { priority: 100, ..theirs.clone() }).await;
    ring.stays_with(0, address, Duration::from_secs(1) + slack).await;
    // Stop: handed over; back: preempts.
    we.stop().await;
    ring.held_only_by(1, address, SOON).await;
    let we = ring.ours(0, with_priority(200)).await;
    ring.held_only_by(0, address, SOON + slack).await;
    // Killed: keepalived takes over, and the kernel takes the address from us.
    ring.nodes[0].kill().await.unwrap();
    ring.held_only_by(1, address, SOON + slack).await;
    drop(we);

    // keepalived is better now: we listen.
    they.stop().await;
    until("nobody holds", SOON, async || ring.holders(address).await.is_empty()).await;
    let mut they = ring.keepalived(1, Setup { priority: 200, ..theirs.clone() }).await;
    ring.held_only_by(1, address, SOON + slack).await;
    let _we = ring.ours(0, with_priority(100)).await;
    ring.stays_with(1, address, Duration::from_secs(1) + slack).await;
    they.stop().await;
    ring.held_only_by(0, address, SOON).await;
    let _they = ring.keepalived(1, Setup { priority: 200, ..theirs.clone() }).await;
    ring.held_only_by(1, address, SOON + slack).await;
    // Killed, keepalived leaves the address on its node; we take over nevertheless.
    ring.nodes[1].kill().await.unwrap();
    until("we hold", SOON + slack, async || ring.holders(address).await.contains(&0)).await;
    // keepalived's child may see its parent die first, and resign.
    let says_why = async || {
        let status = ring.status(0).await;
        let cause = status["routers"][0]["cause"].as_str().unwrap_or_default();
        let known = cause.contains("heard nothing from") || cause.contains("gave the address up");
        status["routers"][0]["state"] == "active" && known
    };
    until("we say why we hold", SOON, says_why).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_over_multicast() {
    both_roles(json!({}), Setup::default(), FLOATING, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_over_unicast() {
    let [we, they]: [IpAddr; 2] = ["10.99.0.11".parse().unwrap(), "10.99.0.12".parse().unwrap()];
    let theirs = Setup { peers: vec![we], ..Setup::default() };
    both_roles(json!({ "unicast_peers": [they] }), theirs, FLOATING, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_over_ipv6() {
    let theirs = Setup { addresses: FLOATING_V6.map(|address| format!("{address}/64")).to_vec(), ..Setup::default() };
    let ours = json!({ "addresses": FLOATING_V6.map(|address| json!([address, 64])) });
    both_roles(ours, theirs, FLOATING_V6[1], Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_with_its_password() {
    let extra = "authentication {\n auth_type PASS\n auth_pass secret12\n }".to_owned();
    let theirs = Setup { version: 2, advert_seconds: 1.0, extra, ..Setup::default() };
    let ours = json!({ "version": 2, "advert_ms": 1000, "auth": b"secret12" });
    both_roles(ours, theirs, FLOATING, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_preemption_a_better_node_waits_for_its_turn() {
    let ring = Ring::new(2).await;
    let mut they = ring.keepalived(1, Setup { preempt: false, ..Setup::default() }).await;
    ring.held_only_by(1, FLOATING, SOON).await;
    let mut we = ring.ours(0, json!({ "priority": 200, "preempt": false })).await;
    until("we listen", SOON, async || ring.state(0).await == "backup").await;
    ring.stays_with(1, FLOATING, Duration::from_secs(1)).await;
    they.stop().await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _they = ring.keepalived(1, Setup { priority: 250, preempt: false, ..Setup::default() }).await;
    ring.stays_with(0, FLOATING, Duration::from_secs(1)).await;
    we.stop().await;
    ring.held_only_by(1, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}
