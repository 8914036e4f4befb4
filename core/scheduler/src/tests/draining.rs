//! Emptying a node for maintenance.

use super::worlds::{Bench, app, id};
use crate::{explain, submit};
use model::{App, Constraint, ConstraintOperator, Intent, NodeId, UpgradeStrategy};
use proptest::prelude::*;

fn drain(bench: &mut Bench, node: &str, on: bool) {
    bench.submit(|world, now, _| submit::drain_node(world, &NodeId::new(node), on, now)).unwrap();
}

fn with_strategy(minimum_health_capacity: f64, maximum_over_capacity: f64, instances: u32) -> App {
    App { upgrade_strategy: UpgradeStrategy { minimum_health_capacity, maximum_over_capacity }, ..app("x", instances) }
}

/// The fewest healthy and the most there were while the node was emptied.
fn emptied(bench: &mut Bench, node: &str) -> (usize, usize) {
    drain(bench, node, true);
    let (mut fewest, mut most) = (usize::MAX, 0);
    for _ in 0..200 {
        bench.wait(0.1);
        let changed = !bench.pass().changes.is_empty();
        fewest = fewest.min(bench.healthy("x"));
        most = most.max(bench.tasks("x").len());
        if !changed {
            break;
        }
        bench.obey();
    }
    (fewest, most)
}

#[test]
fn a_draining_nodes_tasks_are_replaced_first_and_then_leave_by_way_of_the_edges() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    bench.edge("edge", 0, &[]);
    drain(&mut bench, "c", true);
    bench.pass();
    assert_eq!((bench.on("x", "a") + bench.on("x", "b"), bench.on("x", "c")), (3, 1));
    assert_eq!(bench.standing("c"), "draining");
    bench.obey();
    bench.wait(0.1);
    bench.pass();
    let leaving: Vec<_> = bench.tasks("x").into_iter().filter(|task| task.node.as_str() == "c").collect();
    assert!(
        matches!(&leaving[..], [task] if matches!(&task.intent, Intent::Drain { reason, .. } if reason == "its node is being drained"))
    );
    bench.edge("edge", i64::MAX, &[]);
    bench.settle();
    assert_eq!((bench.healthy("x"), bench.tasks("x").len(), bench.on("x", "c")), (3, 3, 0));

    // Nothing is launched there until it is restored.
    bench.put(vec![app("x", 30)]).unwrap();
    bench.settle();
    assert_eq!(bench.on("x", "c"), 0);
    drain(&mut bench, "c", false);
    bench.put(vec![app("x", 33)]).unwrap();
    bench.settle();
    assert_eq!(bench.on("x", "c"), 3);
    let unknown = bench.submit(|world, now, _| submit::drain_node(world, &NodeId::new("z"), true, now));
    assert_eq!(unknown, Err(submit::Refused::NoNode(NodeId::new("z"))));
}

#[test]
fn a_drain_keeps_within_the_upgrade_strategy_as_a_roll_does() {
    for (minimum, over, expected) in [(1.0, 1.0, (4, 6)), (1.0, 0.0, (4, 5)), (0.5, 0.0, (2, 4)), (0.5, 0.25, (2, 5))] {
        let mut bench = Bench::new(&["a", "b", "c"]);
        bench.put(vec![with_strategy(minimum, over, 4)]).unwrap();
        bench.settle();
        let node = ["a", "b", "c"].into_iter().find(|node| bench.on("x", node) == 2).unwrap();
        assert_eq!(emptied(&mut bench, node), expected, "{minimum} {over}");
        assert_eq!((bench.healthy("x"), bench.on("x", node)), (4, 0), "{minimum} {over}");
    }
}

#[test]
fn an_app_that_no_other_node_may_take_says_so_and_stays() {
    let constrained = |operator, instances| {
        let constraint = Constraint { field: "hostname".into(), operator, value: None };
        // It may lose one at a time: that alone is no reason to lose one for good.
        App { constraints: vec![constraint], ..with_strategy(0.5, 0.0, instances) }
    };
    for (operator, instances) in [(ConstraintOperator::Unique, 3), (ConstraintOperator::Cluster, 3)] {
        let mut bench = Bench::new(&["a", "b", "c"]);
        bench.put(vec![constrained(operator, instances)]).unwrap();
        bench.settle();
        let before = bench.tasks("x");
        drain(&mut bench, "a", true);
        bench.run(5.0);
        assert_eq!(bench.tasks("x"), before, "{operator:?}");
        let lines = explain(&bench.world, &id("x"), bench.now);
        assert!(lines.iter().any(|line| line.contains("a.example (a) is being drained")), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains(&format!("[hostname, {}] is not met", operator.name()))),
            "{lines:?}"
        );
    }
    // With a node to spare it moves.
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.put(vec![constrained(ConstraintOperator::Unique, 2)]).unwrap();
    bench.settle();
    drain(&mut bench, "a", true);
    bench.settle();
    assert_eq!([bench.on("x", "a"), bench.on("x", "b"), bench.on("x", "c")], [0, 1, 1]);
}

#[test]
fn as_many_move_as_there_is_room_for() {
    let mut bench = Bench::new(&["a", "b"]);
    // Three to a node.
    bench.put(vec![App { cpus_milli: 2500, ..with_strategy(0.5, 0.0, 5) }]).unwrap();
    bench.settle();
    let node = ["a", "b"].into_iter().find(|node| bench.on("x", node) == 2).unwrap();
    let full = if node == "a" { "b" } else { "a" };
    drain(&mut bench, full, true);
    bench.run(10.0);
    assert_eq!((bench.on("x", full), bench.on("x", node), bench.healthy("x")), (2, 3, 5));
}

#[test]
fn a_draining_node_that_is_lost_is_replaced_like_any_other() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    drain(&mut bench, "c", true);
    bench.falls_silent("c");
    bench.run(8.0);
    bench.settle();
    assert_eq!((bench.standing("c"), bench.on("x", "c"), bench.healthy("x")), ("lost", 0, 3));
    bench.is_back("c");
    bench.pass();
    assert_eq!(bench.standing("c"), "draining");
}

#[test]
fn scaling_down_takes_those_of_draining_nodes_first() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.put(vec![app("x", 6)]).unwrap();
    bench.settle();
    drain(&mut bench, "b", true);
    bench.put(vec![app("x", 4)]).unwrap();
    bench.settle();
    assert_eq!([bench.on("x", "a"), bench.on("x", "b"), bench.on("x", "c")], [2, 0, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_drain_never_goes_below_the_minimum_capacity_and_ends(
        instances in 0_u32..12,
        minimum_health_capacity in 0.0..=1.0_f64,
        maximum_over_capacity in 0.0..=1.0_f64,
        order in prop::sample::subsequence(vec!["a", "b", "c"], 1..=2),
    ) {
        let mut bench = Bench::new(&["a", "b", "c"]);
        bench.put(vec![with_strategy(minimum_health_capacity, maximum_over_capacity, instances)]).unwrap();
        bench.settle();
        let minimum = (f64::from(instances) * minimum_health_capacity).ceil() as usize;
        let over = (f64::from(instances) * maximum_over_capacity).floor() as usize;
        let maximum = instances as usize + over.max(usize::from(minimum == instances as usize));
        for node in order {
            let (fewest, most) = emptied(&mut bench, node);
            prop_assert!(fewest >= minimum, "{fewest} of {minimum}");
            prop_assert!(most <= maximum, "{most} of {maximum}");
            prop_assert_eq!((bench.on("x", node), bench.healthy("x")), (0, instances as usize));
            prop_assert_eq!(bench.tasks("x").len(), instances as usize);
        }
    }
}
