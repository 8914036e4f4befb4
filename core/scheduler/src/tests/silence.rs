//! Nodes that fall silent: suspected, lost, back; and the brake.

use super::worlds::{Bench, app, at, id, node};
use crate::{Change, EdgeRecord, RetireReason, Standing, next_deadline, serving, standing, submit};
use model::{App, NodeId, TaskState};
use proptest::prelude::*;

/// An app of `instances` on these nodes, settled.
fn settled(nodes: &[&str], instances: u32) -> Bench {
    let mut bench = Bench::new(nodes);
    bench.put(vec![app("x", instances)]).unwrap();
    bench.settle();
    bench
}

fn served(bench: &Bench) -> Vec<String> {
    let mut nodes: Vec<String> =
        serving(&bench.world, &id("x"), |_| true).iter().map(|record| record.task.node.to_string()).collect();
    nodes.sort();
    nodes
}

fn explained(bench: &Bench, part: &str) -> bool {
    crate::explain(&bench.world, &id("x"), bench.now).iter().any(|line| line.contains(part))
}

#[test]
fn silence_alone_makes_a_node_suspected_and_then_lost() {
    let mut record = node("a", 8000);
    let policy = crate::Policy::default();
    let at_silence = |record: &_, seconds| standing(record, at(seconds), &policy);
    assert_eq!(at_silence(&record, 1.499), Standing::Live);
    assert_eq!(at_silence(&record, 1.5), Standing::Suspected { since: at(1.5) });
    assert_eq!(at_silence(&record, 4.999), Standing::Suspected { since: at(1.5) });
    assert_eq!(at_silence(&record, 5.0), Standing::Lost { since: at(5.0) });
    // A session that broke says nothing, and a clock that went back makes nobody silent.
    record.connected = false;
    assert_eq!(at_silence(&record, 1.0), Standing::Live);
    assert_eq!(standing(&record, at(0.0), &policy), Standing::Live);
    record.node = std::sync::Arc::new(model::Node { draining: true, ..model::Node::clone(&record.node) });
    assert_eq!(at_silence(&record, 1.0), Standing::Draining);
    assert_eq!(at_silence(&record, 6.0), Standing::Lost { since: at(5.0) });
}

#[test]
fn servers_of_a_suspected_node_leave_the_route_and_are_back_at_once() {
    let mut bench = settled(&["a", "b", "c"], 3);
    assert_eq!(served(&bench), ["a", "b", "c"]);
    bench.falls_silent("b");
    bench.run(1.4);
    assert_eq!(served(&bench), ["a", "b", "c"]);
    bench.run(0.1);
    assert_eq!((bench.standing("b"), served(&bench)), ("suspected", vec!["a".into(), "c".into()]));
    assert!(explained(&bench, "b.example (b) is silent"));
    // Nothing is replaced yet.
    assert_eq!(bench.tasks("x").len(), 3);
    bench.run(3.0);
    bench.is_back("b");
    assert!(bench.pass().changes.is_empty());
    assert_eq!((bench.standing("b"), served(&bench).len(), bench.tasks("x").len()), ("live", 3, 3));
}

#[test]
fn a_suspicion_never_leaves_an_app_with_nothing() {
    let mut bench = settled(&["a", "b", "c"], 1);
    let node = bench.tasks("x")[0].node.to_string();
    bench.falls_silent(&node);
    bench.run(3.0);
    assert_eq!((bench.standing(&node), served(&bench)), ("suspected", vec![node]));
    // Another server that is not healthy is no reason to take out the one that was.
    let mut bench = settled(&["a", "b", "c"], 2);
    let [first, second] = [0, 1].map(|index| bench.tasks("x")[index].clone());
    bench.world.tasks.get_mut(&second.id).unwrap().seen.checks[0].alive = false;
    bench.falls_silent(first.node.as_str());
    bench.wait(2.0);
    bench.pass();
    assert_eq!(served(&bench), [first.node.to_string()]);
}

#[test]
fn when_most_fall_silent_at_once_no_server_leaves_its_route() {
    let mut bench = settled(&["a", "b", "c"], 3);
    bench.falls_silent("a");
    bench.falls_silent("b");
    bench.run(3.0);
    assert_eq!(served(&bench), ["a", "b", "c"]);
}

#[test]
fn tasks_of_a_lost_node_run_elsewhere_and_nobody_is_to_blame() {
    let mut bench = settled(&["a", "b", "c"], 6);
    let before = bench.tasks("x");
    bench.falls_silent("c");
    bench.run(4.9);
    assert_eq!(bench.on("x", "c"), 2);
    bench.wait(0.1);
    let planned = bench.pass();
    let lost: Vec<_> = planned
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Lose { task, reason } => Some((task, reason.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(lost.len(), 2);
    assert!(lost.iter().all(|(_, reason)| reason.starts_with("its node c.example (c) is lost: silent since 2015-")));
    assert_eq!([bench.on("x", "a"), bench.on("x", "b"), bench.on("x", "c")], [3, 3, 0]);
    let record = &bench.world.apps[&id("x")];
    assert_eq!((record.backoff.failures, record.last_failure.as_ref().unwrap().state), (0, TaskState::Lost));
    // Those on the other nodes are not touched, now or when it is back.
    let untouched = |bench: &Bench| {
        let there = bench.tasks("x");
        before.iter().filter(|task| task.node.as_str() != "c").all(|task| there.contains(task))
    };
    assert!(untouched(&bench));
    bench.settle();
    bench.is_back("c");
    bench.settle();
    assert!(untouched(&bench));
    assert_eq!((bench.healthy("x"), bench.tasks("x").len(), bench.standing("c")), (6, 6, "live"));
    // What still runs there is in no desired set; its ports are chosen last until its agent has stopped it.
    bench.put(vec![app("y", 3)]).unwrap();
    bench.pass();
    let port = bench.tasks("y").iter().find(|task| task.node.as_str() == "c").unwrap().ports[0];
    assert_eq!(port, 31002);
}

#[test]
fn what_has_no_place_elsewhere_goes_on_when_its_node_is_back() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    // Three to a node: of the lost node's three, none fits on the others.
    bench.put(vec![App { cpus_milli: 2500, ..app("x", 9) }]).unwrap();
    bench.settle();
    let before = bench.tasks("x");
    bench.falls_silent("b");
    bench.run(20.0);
    assert_eq!(bench.tasks("x"), before);
    assert!(explained(&bench, "3 of 9 instances are missing"));
    assert!(explained(&bench, "node b.example (b) is lost, silent since"));
    assert!(explained(&bench, "needs 2.5 cpus"));
    bench.is_back("b");
    bench.settle();
    assert_eq!((bench.tasks("x"), bench.healthy("x")), (before, 9));
}

#[test]
fn what_was_replaced_in_part_goes_on_in_part() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.put(vec![App { cpus_milli: 2500, ..app("x", 7) }]).unwrap();
    bench.settle();
    let lost_node = bench.tasks("x").iter().map(|task| task.node.to_string()).find(|node| bench.on("x", node) == 3);
    let lost_node = lost_node.unwrap();
    bench.falls_silent(&lost_node);
    bench.run(10.0);
    // The others have room for one each.
    assert_eq!((bench.on("x", &lost_node), bench.tasks("x").len()), (1, 7));
    bench.is_back(&lost_node);
    bench.settle();
    assert_eq!((bench.on("x", &lost_node), bench.healthy("x"), bench.tasks("x").len()), (1, 7, 7));
}

#[test]
fn the_brake_holds_when_most_or_all_are_silent_and_says_why() {
    for (nodes, silent) in [(1, 1), (2, 2), (3, 2), (3, 3), (5, 3)] {
        let names = &["a", "b", "c", "d", "e"][..nodes];
        let mut bench = settled(names, 5);
        let before = bench.tasks("x");
        names[..silent].iter().for_each(|name| bench.falls_silent(name));
        bench.run(60.0);
        assert_eq!(bench.tasks("x"), before, "{silent} of {nodes}");
        let why = if nodes == 1 { "no other node is heard" } else { &format!("{silent} of {nodes} nodes are silent") };
        assert!(explained(&bench, why));
        // One comes back, and the rest is no longer most of them: they have the whole time again, then it is their fault.
        bench.is_back(names[0]);
        bench.run(4.8);
        assert_eq!(bench.tasks("x"), before, "{silent} of {nodes}");
        bench.run(0.4);
        let replaced = (silent - 1) * 2 <= nodes && silent > 1;
        let all_there = names[1..silent].iter().all(|name| bench.on("x", name) == 0);
        assert_eq!(all_there, replaced || silent == 1, "{silent} of {nodes}");
        assert_eq!(bench.tasks("x").len(), 5);
    }
    // Half of them are not most of them.
    for (nodes, silent) in [(2, 1), (4, 2), (5, 2)] {
        let names = &["a", "b", "c", "d", "e"][..nodes];
        let mut bench = settled(names, 5);
        names[..silent].iter().for_each(|name| bench.falls_silent(name));
        bench.run(10.0);
        assert!(names[..silent].iter().all(|name| bench.on("x", name) == 0), "{silent} of {nodes}");
        assert_eq!(bench.healthy("x"), 5);
    }
}

/// The mutant: this is what the brake is there to prevent.
#[test]
fn without_the_brake_a_deaf_controller_replaces_nearly_everything() {
    let mut bench = settled(&["a", "b", "c"], 6);
    bench.policy.brake = false;
    bench.falls_silent("a");
    bench.falls_silent("b");
    bench.run(10.0);
    assert_eq!(bench.on("x", "c"), 6);
}

#[test]
fn nodes_that_fail_one_after_another_are_each_replaced() {
    let mut bench = settled(&["a", "b", "c"], 6);
    bench.falls_silent("a");
    bench.run(10.0);
    bench.falls_silent("b");
    bench.run(10.0);
    assert_eq!((bench.on("x", "c"), bench.tasks("x").len()), (6, 6));
    // The last one is all there are.
    bench.falls_silent("c");
    bench.run(10.0);
    assert_eq!((bench.on("x", "c"), bench.standing("c"), bench.standing("a")), (6, "suspected", "lost"));
    assert_eq!(served(&bench).len(), 6);
}

#[test]
fn the_second_of_three_that_falls_silent_while_the_first_is_only_suspected_holds_the_brake() {
    let mut bench = settled(&["a", "b", "c"], 6);
    bench.falls_silent("a");
    bench.run(3.0);
    bench.falls_silent("b");
    bench.run(10.0);
    assert_eq!([bench.on("x", "a"), bench.on("x", "b"), bench.on("x", "c")], [2, 2, 2]);
}

#[test]
fn a_clock_that_jumps_replaces_nothing() {
    let mut bench = settled(&["a", "b", "c"], 6);
    let before = bench.tasks("x");
    bench.now = bench.now.after(std::time::Duration::from_secs(3600));
    assert!(bench.pass().changes.is_empty());
    bench.run(1.0);
    assert_eq!((bench.tasks("x"), bench.world.brake), (before, None));
}

#[test]
fn a_removed_nodes_tasks_run_elsewhere() {
    let mut bench = settled(&["a", "b"], 4);
    bench.submit(|world, now, _| submit::remove_node(world, &NodeId::new("a"), now)).unwrap();
    bench.settle();
    assert_eq!((bench.on("x", "b"), bench.tasks("x").len()), (4, 4));
    assert!(bench.world.apps[&id("x")].last_failure.as_ref().unwrap().message.ends_with("a was removed"));
    let again = bench.submit(|world, now, _| submit::remove_node(world, &NodeId::new("a"), now));
    assert_eq!(again, Err(submit::Refused::NoNode(NodeId::new("a"))));
}

#[test]
fn a_roll_goes_on_without_a_lost_node_and_keeps_the_old_while_one_is_suspected() {
    let mut bench = settled(&["a", "b", "c"], 6);
    bench.put(vec![App { cmd: Some("other".into()), ..app("x", 6) }]).unwrap();
    bench.pass();
    bench.obey();
    // New ones are healthy as far as was seen; but those on `c` cannot be heard.
    bench.falls_silent("c");
    for record in bench.world.nodes.values_mut().filter(|record| record.node.id.as_str() == "c") {
        record.last_seen = at(0.0);
    }
    bench.wait(2.0);
    let planned = bench.pass();
    let replaced =
        planned.changes.iter().filter(|change| matches!(change, Change::Retire { reason: RetireReason::Replaced, .. }));
    assert!(replaced.count() <= 4);
    bench.run(20.0);
    assert!(bench.world.deployments.is_empty());
    assert_eq!((bench.healthy("x"), bench.on("x", "c")), (6, 0));
}

#[test]
fn an_edge_on_a_lost_node_holds_up_no_drain() {
    let mut bench = settled(&["a", "b", "c"], 3);
    let revision = bench.revision;
    bench.edge("edge", revision, &[]);
    let edge = EdgeRecord { node: Some(NodeId::new("c")), last_seen: bench.now, ..EdgeRecord::default() };
    bench.world.edges.insert("of c".into(), edge);
    bench.policy.lost_after = std::time::Duration::from_secs(2);
    bench.put(vec![app("x", 2)]).unwrap();
    bench.pass();
    bench.falls_silent("c");
    let drains = |bench: &Bench| bench.tasks("x").iter().any(|task| matches!(task.intent, model::Intent::Drain { .. }));
    bench.edge("edge", i64::MAX, &[]);
    bench.run(1.9);
    assert!(drains(&bench));
    bench.edge("edge", i64::MAX, &[]);
    bench.run(0.2);
    assert!(!drains(&bench));
}

#[test]
fn the_next_deadline_is_the_first_silence_grace_or_delay_to_end() {
    let mut bench = settled(&["a", "b"], 2);
    let next = |bench: &Bench| next_deadline(&bench.world, bench.now, &bench.policy).map(|at| at.since(bench.now));
    let millis = |millis| Some(std::time::Duration::from_millis(millis));
    assert_eq!(next(&bench), millis(1500));
    bench.falls_silent("a");
    bench.wait(1.0);
    assert_eq!(next(&bench), millis(500));
    bench.wait(0.5);
    assert_eq!(next(&bench), millis(1500));
    bench.wait(3.0);
    assert_eq!(next(&bench), millis(500));
    bench.wait(0.5);
    bench.pass();
    assert_eq!(next(&bench), millis(1500));
    bench.edge("edge", 0, &[]);
    bench.wait(4.9);
    assert_eq!(next(&bench), millis(100));
    assert_eq!(next_deadline(&crate::World::default(), bench.now, &bench.policy), None);
}

proptest! {
    #[test]
    fn most_nodes_are_never_given_up_at_once(silences in prop::collection::vec((0_u32..10_000, any::<bool>()), 0..8)) {
        let mut bench = Bench::new(&[]);
        for (index, (silence_ms, given_up_before)) in silences.iter().enumerate() {
            let mut record = node(&index.to_string(), 8000);
            record.last_seen = at(10.0 - f64::from(*silence_ms) / 1000.0);
            if *given_up_before && *silence_ms >= 5000 {
                record.standing = standing(&record, at(10.0), &bench.policy);
            }
            bench.world.nodes.insert(record.node.id.clone(), record);
        }
        let before: Vec<_> = bench.world.nodes.values().cloned().collect();
        bench.world.judge(at(10.0), &bench.policy);
        let undecided = before.iter().filter(|record| !record.standing.is_lost());
        let undecided: Vec<_> = undecided.map(|record| bench.world.nodes[&record.node.id].standing).collect();
        let silent = undecided.iter().filter(|standing| !standing.is_heard()).count();
        let lost = undecided.iter().filter(|standing| standing.is_lost()).count();
        let most = silent > 0 && (silent == undecided.len() || (silent >= 2 && silent * 2 > undecided.len()));
        prop_assert_eq!(bench.world.brake.is_some(), most);
        prop_assert!(lost == 0 || (!most && lost < undecided.len() && (lost == 1 || lost * 2 <= undecided.len())));
        // Whoever was given up stays so, and nothing changes by judging again.
        let sticks = |record: &crate::NodeRecord| {
            !record.standing.is_lost() || bench.world.nodes[&record.node.id].standing.is_lost()
        };
        prop_assert!(before.iter().all(sticks));
        prop_assert!(bench.world.judge(at(10.0), &bench.policy).is_empty());
    }
}
