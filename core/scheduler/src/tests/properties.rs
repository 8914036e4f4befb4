//! What holds in every world.

use super::worlds::{Bench, app, id};
use model::{App, Constraint, ConstraintOperator, TaskState, UpgradeStrategy};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// No port twice on a node, no resource beyond the offer, UNIQUE apps once per node.
pub(super) fn check_bookings(bench: &Bench) {
    let mut ports = BTreeSet::new();
    let mut cpus: BTreeMap<_, u64> = BTreeMap::new();
    let mut unique = BTreeSet::new();
    for record in bench.world.tasks.values().filter(|record| !record.seen.state.is_terminal()) {
        let app = bench.world.app_of(&record.task).expect("a task's version is kept");
        for port in &record.task.ports {
            assert!(ports.insert((record.task.node.clone(), *port)), "port {port} is booked twice");
        }
        *cpus.entry(record.task.node.clone()).or_default() += app.cpus_milli;
        if !app.constraints.is_empty() {
            assert!(unique.insert((app.id.clone(), record.task.node.clone())), "{} is not unique", app.id);
        }
    }
    for (node, used) in cpus {
        assert!(used <= bench.world.nodes[&node].node.resources.cpus_milli, "{node} is overbooked");
    }
}

fn any_app() -> impl Strategy<Value = App> {
    let names = prop::sample::select(vec!["x", "y", "z"]);
    let capacity = prop::sample::select(vec![0.0, 0.3, 0.5, 1.0]);
    (names, 0_u32..6, 100_u64..3000, any::<bool>(), capacity.clone(), capacity, 0..3_u32).prop_map(
        |(name, instances, cpus_milli, unique, minimum_health_capacity, maximum_over_capacity, cmd)| {
            let constraint = Constraint { field: "hostname".into(), operator: ConstraintOperator::Unique, value: None };
            App {
                cpus_milli,
                cmd: Some(format!("cmd {cmd}")),
                constraints: if unique { vec![constraint] } else { Vec::new() },
                upgrade_strategy: UpgradeStrategy { minimum_health_capacity, maximum_over_capacity },
                ..app(name, instances)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_booked_twice_and_a_pass_leaves_nothing_to_do(
        puts in prop::collection::vec((any_app(), 0..4_usize), 1..6),
        fates in prop::collection::vec(0..8_u8, 64),
    ) {
        let mut bench = Bench::new(&["a", "b", "c"]);
        let mut fates = fates.into_iter().cycle();
        for (app, passes) in puts {
            bench
                .submit(|world, now, uuid| crate::submit::put(world, vec![app], true, now, uuid))
                .unwrap();
            for _ in 0..=passes {
                bench.wait(0.7);
                bench.pass();
                check_bookings(&bench);
                let again = bench.left_to_do();
                prop_assert!(again.is_empty(), "{again:?}");
                let tasks: Vec<_> = bench.world.tasks.values().map(|record| record.task.clone()).collect();
                for task in tasks {
                    match fates.next().unwrap() {
                        0 => bench.see(&task.id, TaskState::Failed),
                        1 => bench.see(&task.id, TaskState::Lost),
                        2 => {}
                        _ if task.intent.is_run() => bench.see(&task.id, TaskState::Running),
                        _ => bench.see(&task.id, TaskState::Killed),
                    }
                }
            }
        }
    }

    #[test]
    fn a_roll_keeps_its_bounds_and_ends(
        from in 0_u32..12,
        to in 0_u32..12,
        minimum_health_capacity in 0.0..=1.0_f64,
        maximum_over_capacity in 0.0..=1.0_f64,
    ) {
        let strategy = UpgradeStrategy { minimum_health_capacity, maximum_over_capacity };
        let mut bench = Bench::new(&["a", "b"]);
        bench.put(vec![App { upgrade_strategy: strategy, ..app("x", from) }]).unwrap();
        bench.settle();
        bench.put(vec![App { upgrade_strategy: strategy, cmd: Some("other".into()), ..app("x", to) }]).unwrap();
        let minimum = (f64::from(to) * minimum_health_capacity).ceil() as usize;
        let over = (f64::from(to) * maximum_over_capacity).floor() as usize;
        let maximum = to as usize + over.max(usize::from(minimum == to as usize));
        let fewest = minimum.min(from as usize);
        for _ in 0..100 {
            bench.wait(0.1);
            let changed = !bench.pass().changes.is_empty();
            prop_assert!(bench.healthy("x") >= fewest, "{} of {fewest}", bench.healthy("x"));
            prop_assert!(bench.tasks("x").len() <= maximum.max(from as usize));
            if !changed {
                break;
            }
            bench.obey();
        }
        prop_assert!(bench.world.deployments.is_empty());
        prop_assert_eq!(bench.healthy("x"), to as usize);
    }

    #[test]
    fn scaling_down_kills_no_more_than_asked(from in 0_u32..30, to in 0_u32..30, sick in 0..30_usize) {
        let mut bench = Bench::new(&["a", "b"]);
        bench.put(vec![app("x", from)]).unwrap();
        bench.settle();
        for record in bench.world.tasks.values_mut().take(sick) {
            record.seen.checks[0].alive = false;
        }
        bench.put(vec![app("x", to)]).unwrap();
        bench.pass();
        prop_assert_eq!(bench.running("x"), to as usize);
        let gone = bench.tasks("x").len().saturating_sub(to as usize);
        prop_assert_eq!(gone, from.saturating_sub(to) as usize);
    }

    #[test]
    fn every_deployment_of_apps_that_fit_ends(puts in prop::collection::vec((0..3_usize, 0_u32..5, 0..3_u8), 1..8)) {
        let mut bench = Bench::new(&["a", "b", "c"]);
        for (index, instances, cmd) in puts {
            let name = ["x", "y", "z"][index];
            let dependencies = if index > 0 { vec![id(["x", "y", "z"][index - 1])] } else { Vec::new() };
            let next = App { cmd: Some(format!("cmd {cmd}")), dependencies, ..app(name, instances) };
            bench.submit(|world, now, uuid| crate::submit::put(world, vec![next], true, now, uuid)).unwrap();
            bench.pass();
        }
        bench.settle();
        prop_assert!(bench.world.deployments.is_empty());
        for record in bench.world.apps.values() {
            prop_assert_eq!(bench.healthy(record.app.id.as_str()), record.app.instances as usize);
        }
    }
}
