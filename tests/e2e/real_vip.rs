//! `roadstead vip` beside Debian's keepalived, as an operator starts both. Root and keepalived are needed.

#[path = "../../services/vip/tests/support/lab.rs"]
mod lab;

use lab::{FLOATING, FLOATING_V6, Ring, Running, Setup, until};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_roadstead");
/// Generous: machines that run tests are busy.
const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_secs(1);

/// On node 0; node 1 is keepalived's.
fn ours(ring: &Ring, address: &str, flags: &str) -> Running {
    let node = &ring.nodes[0];
    let mut command = node.command(BINARY);
    command.args(["vip", "--open", "--own", "10.99.0.11", "--address", address]).args(flags.split_whitespace());
    Running::start(command, &ring.directory.path().join("ours.log"))
}

/// As docs/machines.md shows it.
fn beside_our_defaults() -> Setup {
    Setup { vrid: 100, priority: 90, preempt: false, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_keepalived_stands_beside_our_defaults() {
    let ring = Ring::new(2).await;
    let mut we = ours(&ring, "10.99.0.100/24", "");
    ring.held_only_by(0, FLOATING, SOON).await;
    let mut they = ring.keepalived(1, beside_our_defaults()).await;
    ring.stays_with(0, FLOATING, A_WHILE).await;
    we.stop().await;
    ring.held_only_by(1, FLOATING, SOON).await;
    let _we = ours(&ring, "10.99.0.100/24", "");
    until("we listen", SOON, async || ring.state(0).await == "backup").await;
    ring.stays_with(1, FLOATING, A_WHILE).await;
    they.stop().await;
    ring.held_only_by(0, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_its_flags_it_takes_part_in_an_operators_ranks() {
    let ring = Ring::new(2).await;
    let unicast = Setup { peers: vec!["10.99.0.11".parse().unwrap()], ..Setup::default() };
    let _they = ring.keepalived(1, unicast).await;
    ring.held_only_by(1, FLOATING, SOON).await;
    let flags = "--vrid 51 --peer 10.99.0.11 --peer 10.99.0.12";
    let mut worse = ours(&ring, "10.99.0.100/24", &format!("{flags} --priority 50 --preempt"));
    until("we listen", SOON, async || ring.state(0).await == "backup").await;
    ring.stays_with(1, FLOATING, A_WHILE).await;
    worse.stop().await;
    let mut better = ours(&ring, "10.99.0.100/24", &format!("{flags} --priority 200 --preempt"));
    ring.held_only_by(0, FLOATING, SOON).await;
    better.stop().await;
    ring.held_only_by(1, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_with_a_password_is_chosen_by_flags() {
    let ring = Ring::new(2).await;
    let extra = "authentication {\n auth_type PASS\n auth_pass secret\n }".to_owned();
    let mut they = ring.keepalived(1, Setup { version: 2, advert_seconds: 1.0, extra, ..Setup::default() }).await;
    ring.held_only_by(1, FLOATING, SOON).await;
    let _we = ours(&ring, "10.99.0.100/24", "--vrid 51 --vrrp 2 --auth secret --priority 50");
    until("we listen", SOON, async || ring.state(0).await == "backup").await;
    ring.stays_with(1, FLOATING, Duration::from_secs(5)).await;
    they.stop().await;
    ring.held_only_by(0, FLOATING, SOON).await;
    ring.lab.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_ipv6_float_together_beside_keepalived() {
    let ring = Ring::new(2).await;
    let addresses = FLOATING_V6.map(|address| format!("{address}/64"));
    let mut they = ring.keepalived(1, Setup { addresses: addresses.to_vec(), ..Setup::default() }).await;
    ring.held_only_by(1, FLOATING_V6[1], SOON).await;
    let mut we = ours(&ring, &addresses.join(","), "--vrid 51 --priority 200 --preempt");
    for address in FLOATING_V6 {
        ring.held_only_by(0, address, SOON).await;
    }
    we.stop().await;
    ring.held_only_by(1, FLOATING_V6[1], SOON).await;
    they.stop().await;
    ring.lab.remove().await.unwrap();
}
