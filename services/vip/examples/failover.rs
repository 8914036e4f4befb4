//! Roadstead's floating address beside Debian's keepalived, alternately in one lab of network namespaces.
//!
//! ```text
//! failover [--rounds N] [--advert-ms 100]     the time without an answer after a hard cut, and after a stop
//! failover soak MINUTES [--advert-ms 100]     both at once, with every core busy: takeovers though the holder lives
//! ```
//!
//! A client asks the address 500 times a second; the time is the longest one between two answers. One JSON document on
//! standard output. Root is needed; the harness must be built: `cargo build -p vip --features real --bin vip-harness`.

#[path = "../tests/support/lab.rs"]
mod lab;

use lab::{FLOATING, Probe, Ring, Running, Setup, longest_gap, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 5;
const ADVERT_MS: u64 = 100;
/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a holder is left alone before its fault, and its successor after it.
const SETTLING: Duration = Duration::from_millis(700);
const PRIORITIES: [u8; 2] = [200, 100];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Roadstead,
    Keepalived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing comes or goes any more at the holder's port; it is not told.
    Cut,
    Stop,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(position + 1)?.parse::<u64>().expect("a number follows"))
    };
    let advert = Duration::from_millis(number("--advert-ms").unwrap_or(ADVERT_MS));
    let report = match number("soak") {
        Some(minutes) => soak(Duration::from_secs(minutes * 60), advert).await,
        None => compare(number("--rounds").map_or(ROUNDS, |rounds| rounds as u32), advert).await,
    };
    println!("{report:#}");
}

async fn compare(rounds: u32, advert: Duration) -> Value {
    let mut report = json!({ "advert_ms": advert.as_millis() as u64, "rounds": rounds });
    // How long the address is away depends on when the last advertisement was sent: each round fails at another point of the
    // interval, spread evenly (by the golden section), the same for both.
    let phase = |round: u32| advert.mul_f64((f64::from(round) * 0.618_034).fract());
    for fault in [Fault::Cut, Fault::Stop] {
        let mut gaps = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Who is first changes, so that neither always gets the quieter machine.
            let order = [Peer::Roadstead, Peer::Keepalived];
            for peer in if round % 2 == 0 { order } else { [order[1], order[0]] } {
                let gap = one(peer, fault, advert, phase(round)).await;
                eprintln!("{fault:?} {peer:?} round {}: {:.1} ms", round + 1, gap.as_secs_f64() * 1e3);
                gaps[peer as usize].push(gap);
            }
        }
        let name = if fault == Fault::Cut { "cut" } else { "stop" };
        report[name] = json!({ "roadstead_ms": summary(&gaps[0]), "keepalived_ms": summary(&gaps[1]) });
    }
    report
}

fn summary(gaps: &[Duration]) -> Value {
    let mut sorted: Vec<f64> = gaps.iter().map(|gap| (gap.as_secs_f64() * 1e4).round() / 10.0).collect();
    sorted.sort_by(f64::total_cmp);
    json!({ "min": sorted.first(), "median": sorted.get(sorted.len() / 2), "max": sorted.last(), "all": sorted })
}

/// The time without an answer, in a fresh lab.
async fn one(peer: Peer, fault: Fault, advert: Duration, phase: Duration) -> Duration {
    let ring = Ring::new(2).await;
    let client = ring.bystander("client", 50).await;
    let mut holder = start(&ring, peer, 0, advert).await;
    ring.held_only_by(0, FLOATING, PATIENCE).await;
    let _backup = start(&ring, peer, 1, advert).await;
    let probe = Probe::start(&ring, &client).await;
    tokio::time::sleep(SETTLING + phase).await;
    let failed_at = Instant::now();
    match fault {
        Fault::Cut => {
            ring.nodes[0].cut_incoming().await.unwrap();
            ring.nodes[0].cut_outgoing().await.unwrap();
        }
        Fault::Stop => holder.stop().await,
    }
    until("the backup holds", PATIENCE, async || ring.holders(FLOATING).await.contains(&1)).await;
    tokio::time::sleep(SETTLING).await;
    let gap = longest_gap(&probe.end().await, failed_at);
    ring.lab.remove().await.unwrap();
    gap
}

async fn start(ring: &Ring, peer: Peer, number: usize, advert: Duration) -> Running {
    let priority = PRIORITIES[number];
    match peer {
        Peer::Roadstead => {
            ring.ours(number, json!({ "priority": priority, "advert_ms": advert.as_millis() as u64 })).await
        }
        Peer::Keepalived => {
            ring.keepalived(number, Setup { priority, advert_seconds: advert.as_secs_f32(), ..Setup::default() }).await
        }
    }
}

/// Both pairs at once under full load: every change of the holder is a false takeover.
async fn soak(duration: Duration, advert: Duration) -> Value {
    let (ours, theirs) = (Ring::new(2).await, Ring::new(2).await);
    let mut running = Vec::new();
    for number in [0, 1] {
        running.push(start(&ours, Peer::Roadstead, number, advert).await);
        running.push(start(&theirs, Peer::Keepalived, number, advert).await);
        // The holders are settled before the backups come.
        for ring in [&ours, &theirs] {
            ring.held_only_by(0, FLOATING, PATIENCE).await;
        }
    }
    tokio::time::sleep(SETTLING).await;
    let before = ours.status(0).await["routers"][0]["transitions_total"].clone();
    let before_other = ours.status(1).await["routers"][0]["transitions_total"].clone();
    let ends = Arc::<AtomicBool>::default();
    // Twice as many as there are cores, so that every core always has more to do than it can.
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for _ in 0..cores * 2 {
        let ends = ends.clone();
        std::thread::spawn(move || {
            while !ends.load(Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    tokio::time::sleep(duration).await;
    ends.store(true, Relaxed);
    let statuses = [ours.status(0).await, ours.status(1).await];
    let taken = |log: &str| log.lines().filter(|line| line.contains("Entering MASTER STATE")).count();
    let theirs_taken = [theirs.log("keepalived-a.log"), theirs.log("keepalived-b.log")].map(|log| taken(&log));
    let ours_changes = statuses[0]["routers"][0]["transitions_total"].as_u64().unwrap_or(u64::MAX)
        - before.as_u64().unwrap_or(0)
        + statuses[1]["routers"][0]["transitions_total"].as_u64().unwrap_or(u64::MAX)
        - before_other.as_u64().unwrap_or(0);
    let report = json!({
        "advert_ms": advert.as_millis() as u64,
        "seconds": duration.as_secs(),
        "busy_threads": cores * 2,
        "roadstead": {
            "false_transitions": ours_changes,
            "scheduling": statuses[0]["scheduling"],
            "holder_lateness": statuses[0]["routers"][0]["lateness"],
            "backup_lateness": statuses[1]["routers"][0]["lateness"],
            "holders": ours.holders(FLOATING).await,
        },
        // The first takeover of node a is the start.
        "keepalived": {
            "false_takeovers": theirs_taken[0].saturating_sub(1) + theirs_taken[1],
            "holders": theirs.holders(FLOATING).await,
        },
    });
    drop(running);
    ours.lab.remove().await.unwrap();
    theirs.lab.remove().await.unwrap();
    report
}
