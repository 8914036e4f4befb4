//! What goes wrong with a holder, and with those who listen to it: each node a namespace, each service a process.

#[path = "support/lab.rs"]
mod lab;

use lab::{FLOATING, Probe, Ring, Running, longest_gap, until};
use netlab::Node;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Generous: machines that run tests are busy.
const SOON: Duration = Duration::from_secs(5);
/// What the store's word needs to end two holders, when it came too late to prevent them: a check and its answer. A disk
/// that is busy may keep etcd longer than the moment a backup can wait.
const CORRECTED: Duration = Duration::from_millis(2 * vrrp::FENCE_CHECK_INTERVAL.as_millis() as u64 + 500);
const STORE: &str = "10.99.0.9";

async fn run(node: &Node, program: &str, arguments: &[&str]) -> String {
    let output = node.command(program).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// etcd of one member, on a node of its own.
async fn etcd(ring: &Ring) -> (Running, String) {
    let node = ring.bystander("store", 9).await;
    let (client, peer) = (format!("http://{STORE}:2379"), format!("http://{STORE}:2380"));
    let mut command = node.command("etcd");
    command
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--log-level", "error", "--data-dir"])
        .arg(ring.directory.path().join("etcd"));
    let running = Running::start(command, &ring.directory.path().join("etcd.log"));
    (running, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_keeps_the_address_for_two_seconds_at_most() {
    let ring = Ring::new(2).await;
    let _a = ring.ours(0, json!({ "priority": 200 })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _b = ring.ours(1, json!({})).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    ring.nodes[0].kill().await.unwrap();
    let killed_at = Instant::now();
    until("b holds", SOON, async || ring.holders(FLOATING).await.contains(&1)).await;
    ring.held_only_by(1, FLOATING, SOON).await;
    // The lifetime is 2 s, and the kernel rounds up to a quarter of a second.
    let both = killed_at.elapsed();
    assert!(both <= Duration::from_millis(2800), "the dead node held on for {both:?}");
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_gives_up_before_it_speaks() {
    let ring = Ring::new(2).await;
    let client = ring.bystander("client", 50).await;
    let _a = ring.ours(0, json!({ "priority": 200 })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _b = ring.ours(1, json!({})).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    let probe = Probe::start(&ring, &client).await;
    ring.nodes[0].pause().unwrap();
    let paused_at = Instant::now();
    until("b holds", SOON, async || ring.holders(FLOATING).await.contains(&1)).await;
    tokio::time::sleep_until((paused_at + Duration::from_secs(2)).into()).await;
    let resumed_at = Instant::now();
    ring.nodes[0].resume().unwrap();
    // It listens, hears a lower priority, and takes the address back in an orderly way.
    until("a says why", SOON, async || ring.status(0).await.to_string().contains("slept: said nothing for")).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gap = longest_gap(&probe.end().await, resumed_at);
    assert!(gap < Duration::from_millis(150), "a second outage of {gap:?} after the holder came back");
    let status = ring.status(0).await;
    let causes = status["routers"][0]["transitions"].as_array().unwrap();
    assert!(causes[0]["cause"].as_str().unwrap().starts_with("takes over from"), "{status}");
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_backup_asks_the_store_before_it_takes_over() {
    let ring = Ring::new(2).await;
    let (_etcd, store) = etcd(&ring).await;
    let _a = ring.ours(0, json!({ "priority": 200, "store": store })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    until("a has the record", SOON, async || ring.status(0).await["routers"][0]["fence"] == "granted").await;
    let mut b = ring.ours(1, json!({ "store": store })).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;

    run(&ring.nodes[1], "iptables", &["-A", "INPUT", "-p", "112", "-j", "DROP"]).await;
    ring.keeps(0, FLOATING, Duration::from_secs(4), CORRECTED).await;
    until("b is refused", SOON, async || ring.status(1).await["routers"][0]["fence"] == "refused").await;
    let status = ring.status(1).await;
    assert!(status.to_string().contains("the store says that a holds the address"), "{status}");
    // The holder dies: its lease lives on, but it does not answer.
    ring.nodes[0].kill().await.unwrap();
    ring.held_only_by(1, FLOATING, SOON).await;
    // It comes back, better and heard by nobody: the store makes b hand over.
    let mut a = ring.ours(0, json!({ "priority": 200, "store": store })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    ring.stays_with(0, FLOATING, Duration::from_secs(2)).await;

    // Without a store both hold it: what the fence is for.
    a.stop().await;
    b.stop().await;
    let _a = ring.ours(0, json!({ "priority": 200 })).await;
    let _b = ring.ours(1, json!({})).await;
    until("both hold", SOON, async || ring.holders(FLOATING).await == [0, 1]).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_do_not_move_a_fenced_address() {
    let ring = Ring::new(2).await;
    let (_etcd, store) = etcd(&ring).await;
    let _a = ring.ours(0, json!({ "priority": 200, "store": store })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    until("a has the record", SOON, async || ring.status(0).await["routers"][0]["fence"] == "granted").await;
    let _b = ring.ours(1, json!({ "store": store })).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    // Four of five advertisements are lost: three in a row more often than not.
    let lossy =
        ["-A", "INPUT", "-p", "112", "-m", "statistic", "--mode", "random", "--probability", "0.8", "-j", "DROP"];
    run(&ring.nodes[1], "iptables", &lossy).await;
    ring.keeps(0, FLOATING, Duration::from_secs(5), CORRECTED).await;
    assert!(ring.status(1).await.to_string().contains("the store says that a holds the address"));
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_leaves_plain_vrrp() {
    let ring = Ring::new(2).await;
    let store = format!("http://{STORE}:2379");
    let mut a = ring.ours(0, json!({ "priority": 200, "store": store })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _b = ring.ours(1, json!({ "store": store })).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    ring.stays_with(0, FLOATING, Duration::from_secs(2)).await;
    a.stop().await;
    ring.held_only_by(1, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_removed_by_hand_is_put_back() {
    let ring = Ring::new(1).await;
    let _a = ring.ours(0, json!({})).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    for _ in 0..3 {
        run(&ring.nodes[0], "ip", &["address", "del", &format!("{FLOATING}/24"), "dev", "eth0"]).await;
        let removed_at = Instant::now();
        ring.held_only_by(0, FLOATING, SOON).await;
        // Sooner than it would be renewed.
        assert!(removed_at.elapsed() < vrrp::ADDRESS_REFRESH_INTERVAL, "{:?}", removed_at.elapsed());
    }
    until("a says so", SOON, async || ring.status(0).await.to_string().contains("was removed by somebody")).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_cable_gives_up_and_comes_back() {
    let ring = Ring::new(2).await;
    let _a = ring.ours(0, json!({ "priority": 200 })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _b = ring.ours(1, json!({})).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    ring.nodes[0].cut().await.unwrap();
    ring.held_only_by(1, FLOATING, SOON).await;
    assert_eq!(ring.status(0).await["routers"][0]["fault"], "eth0 is down");
    ring.nodes[0].heal().await.unwrap();
    ring.held_only_by(0, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}

/// Everything of a node's network that a service could leave behind.
const INVENTORY: &str = r#"
    ip -oneline address; ip route show table all; ip -6 route show table all; ip rule
    ip -oneline link; ip maddress; iptables-save | grep -v '^#'
    tail -n +2 /proc/net/raw /proc/net/raw6 /proc/net/packet
    awk 'FNR > 1 { print $2, $3, $4 }' /proc/net/netlink | sort
    awk '$4 == "0A" { print "listens", $2 }' /proc/net/tcp /proc/net/tcp6
    awk 'FNR > 1 { print "datagrams", $2 }' /proc/net/udp /proc/net/udp6
    grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_nonlocal_bind \
        /proc/sys/net/ipv4/ip_forward 2>/dev/null | sort
"#;

/// What counts or ages is left out.
async fn inventory(node: &Node) -> String {
    let text = run(node, "sh", &["-c", INVENTORY]).await;
    let stable = text.lines().filter(|line| !line.contains("stable_secret") && !line.contains("/proc/net/"));
    stable.map(|line| format!("{line}\n")).collect()
}

fn same(before: &str, after: &str) {
    let lines = |text: &str, other: &str| -> Vec<String> {
        text.lines().filter(|line| !other.lines().any(|one| one == *line)).map(str::to_owned).collect()
    };
    assert!(before == after, "gone: {:#?}\nleft: {:#?}", lines(before, after), lines(after, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    let ring = Ring::new(1).await;
    // Router advertisements nobody sends are waited for a while: let the node's own IPv6 settle.
    let settled = async || !run(&ring.nodes[0], "ip", &["-6", "address"]).await.contains("tentative");
    until("IPv6 is settled", SOON, settled).await;
    ring.nodes[0].add_address(("fd99::11".parse().unwrap(), 64)).await.unwrap();
    let before = inventory(&ring.nodes[0]).await;
    for addresses in [
        json!([[FLOATING, 24]]),
        json!([[FLOATING, 32], ["192.168.77.1", 24]]),
        json!([["fe80::100", 64], ["fd99::100", 64], ["fd99::101", 128]]),
    ] {
        let first = addresses[0][0].as_str().unwrap().to_owned();
        let mut a = ring.ours(0, json!({ "addresses": addresses })).await;
        ring.held_only_by(0, &first, SOON).await;
        let during = inventory(&ring.nodes[0]).await;
        assert!(during.contains(&first) && during.contains("listens"), "{during}");
        a.stop().await;
        same(&before, &inventory(&ring.nodes[0]).await);
        // Killed, it leaves addresses for as long as they live.
        let _a = ring.ours(0, json!({ "addresses": addresses })).await;
        ring.held_only_by(0, &first, SOON).await;
        ring.nodes[0].kill().await.unwrap();
        until("the kernel has dropped them", SOON, async || inventory(&ring.nodes[0]).await == before).await;
    }
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_vanishes_is_left_and_taken_again() {
    let ring = Ring::new(2).await;
    let mut a = ring.ours(0, json!({ "priority": 200 })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let mut b = ring.ours(1, json!({})).await;
    until("b listens", SOON, async || ring.state(1).await == "backup").await;
    // Another name, and back.
    let rename = "ip link set eth0 down && ip link set eth0 name away0";
    run(&ring.nodes[0], "sh", &["-c", &format!("{rename} && ip link set away0 up")]).await;
    let vanished_at = Instant::now();
    until("b holds", SOON, async || ring.holders(FLOATING).await == [1]).await;
    assert!(!run(&ring.nodes[0], "ip", &["address"]).await.contains(FLOATING), "it stays on the old interface");
    assert!(vanished_at.elapsed() < vrrp::ADDRESS_LIFETIME, "{:?}", vanished_at.elapsed());
    let fault = async || ring.status(0).await["routers"][0]["fault"].as_str().map(str::to_owned);
    until("a says why", SOON, async || fault().await.as_deref() == Some("there is no interface eth0")).await;
    let back = "ip link set away0 down && ip link set away0 name eth0 && ip link set eth0 up";
    run(&ring.nodes[0], "sh", &["-c", back]).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    // For good: it goes on without, and ends as ever.
    run(&ring.nodes[0], "ip", &["link", "del", "eth0"]).await;
    until("a says why", SOON, async || fault().await.as_deref() == Some("there is no interface eth0")).await;
    until("b holds", SOON, async || ring.state(1).await == "active").await;
    assert!(a.child.try_wait().unwrap().is_none(), "the service ended");
    a.stop().await;
    b.stop().await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_somebody_else_is_left_alone() {
    let ring = Ring::new(1).await;
    ring.nodes[0].add_address((FLOATING.parse::<IpAddr>().unwrap(), 24)).await.unwrap();
    let before = inventory(&ring.nodes[0]).await;
    let mut a = ring.ours(0, json!({})).await;
    let said = async || ring.status(0).await.to_string().contains("configured by somebody else");
    until("a is the holder, and says so", SOON, async || ring.state(0).await == "active" && said().await).await;
    a.stop().await;
    same(&before, &inventory(&ring.nodes[0]).await);
    ring.lab.remove().await.unwrap();
}

/// An edge's `/ready` on port 8182 of the node: answers with the status in `code`.
async fn edge(node: &Node, code: &Arc<AtomicU16>) {
    let (code, node) = (code.clone(), node.clone());
    let (bound, listening) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let serve = move || {
            let listener = TcpListener::bind("127.0.0.1:8182").unwrap();
            bound.send(()).unwrap();
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { continue };
                let _ = connection.read(&mut [0; 1024]);
                let (code, body) = match code.load(Relaxed) {
                    200 => ("200 OK", ""),
                    503 => ("503 Service Unavailable", "no table"),
                    _ => ("503 Service Unavailable", "draining"),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {code}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = connection.write_all(head.as_bytes());
            }
        };
        let _ = node.run(serve).await;
    });
    listening.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_follows_the_edges_health() {
    let ring = Ring::new(2).await;
    let client = ring.bystander("client", 50).await;
    let health = [Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200))];
    for (node, code) in ring.nodes.iter().zip(&health) {
        edge(node, code).await;
    }
    let ready_url = "http://127.0.0.1:8182/ready";
    let _a = ring.ours(0, json!({ "priority": 200, "ready_url": ready_url })).await;
    ring.held_only_by(0, FLOATING, SOON).await;
    let _b = ring.ours(1, json!({ "ready_url": ready_url })).await;
    until("b is ready", SOON, async || ring.status(1).await["edge"]["ready"] == true).await;
    let probe = Probe::start(&ring, &client).await;
    let begun_at = Instant::now();

    health[0].store(503, Relaxed);
    ring.held_only_by(1, FLOATING, SOON).await;
    let status = ring.status(0).await;
    assert!(status["edge"]["reason"].as_str().unwrap().contains("no table"), "{status}");
    // Neither is ready: somebody holds it, all the same.
    health[1].store(503, Relaxed);
    ring.held_only_by(0, FLOATING, SOON).await;
    health[1].store(200, Relaxed);
    ring.held_only_by(1, FLOATING, SOON).await;
    health[0].store(200, Relaxed);
    ring.held_only_by(0, FLOATING, SOON).await;
    // About to leave: handed over at once.
    health[0].store(0, Relaxed);
    ring.held_only_by(1, FLOATING, SOON).await;
    let gap = longest_gap(&probe.end().await, begun_at);
    assert!(gap < Duration::from_millis(250), "planned changes took the address away for {gap:?}");
    // Nobody relieves a draining node: it takes the address back.
    health[1].store(0, Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ring.holders(FLOATING).await.len(), 1);
    ring.lab.remove().await.unwrap();
}
