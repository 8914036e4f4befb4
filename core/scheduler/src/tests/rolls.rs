//! Rolling replacement and scaling down.

use super::worlds::{Bench, app, id};
use model::{App, KillSelection, TaskState, UpgradeStrategy};

fn rolling(minimum_health_capacity: f64, maximum_over_capacity: f64, instances: u32) -> (usize, usize) {
    let strategy = UpgradeStrategy { minimum_health_capacity, maximum_over_capacity };
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![App { upgrade_strategy: strategy, ..app("x", instances) }]).unwrap();
    bench.settle();
    let next = App { upgrade_strategy: strategy, cmd: Some("other".into()), ..app("x", instances) };
    bench.put(vec![next]).unwrap();
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
    assert!(bench.world.deployments.is_empty(), "{minimum_health_capacity} {maximum_over_capacity} {instances}");
    let version = bench.world.apps[&id("x")].app.version;
    assert!(bench.tasks("x").iter().all(|task| task.version == version));
    assert_eq!(bench.healthy("x"), instances as usize);
    (fewest, most)
}

#[test]
fn a_roll_keeps_within_its_upgrade_strategy() {
    assert_eq!(rolling(1.0, 1.0, 4), (4, 8));
    assert_eq!(rolling(0.5, 0.0, 4), (2, 4));
    assert_eq!(rolling(0.5, 0.5, 3), (2, 4));
    assert_eq!(rolling(0.0, 0.0, 3), (0, 3));
}

#[test]
fn one_extra_breaks_the_deadlock_of_a_strategy_that_allows_nothing() {
    assert_eq!(rolling(1.0, 0.0, 4), (4, 5));
    assert_eq!(rolling(0.6, 0.0, 1), (1, 2));
}

#[test]
fn tenths_do_not_round_away_from_an_integer() {
    // 10 × 1.1 is a hair below 11, and 10 × 0.7 a hair above 7, in binary fractions.
    assert_eq!(rolling(1.0, 0.1, 10), (10, 11));
    assert_eq!(rolling(0.7, 0.0, 10), (7, 10));
}

#[test]
fn a_new_version_that_never_gets_healthy_takes_no_old_task_with_it() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    bench.put(vec![App { cmd: Some("broken".into()), ..app("x", 3) }]).unwrap();
    for _ in 0..50 {
        bench.wait(5.0);
        bench.pass();
        let version = bench.world.apps[&id("x")].app.version;
        for task in bench.tasks("x").iter().filter(|task| task.version == version) {
            bench.see(&task.id, TaskState::Failed);
        }
        assert_eq!(bench.healthy("x"), 3);
    }
    assert_eq!(bench.world.deployments.len(), 1);
}

#[test]
fn the_youngest_go_first_when_scaled_down_unless_told_otherwise() {
    for (selection, kept) in [(KillSelection::YoungestFirst, 0..2), (KillSelection::OldestFirst, 2..4)] {
        let mut bench = Bench::new(&["a"]);
        for instances in 1..=4 {
            bench.put(vec![App { kill_selection: selection, ..app("x", instances) }]).unwrap();
            bench.settle();
        }
        let mut by_age = bench.tasks("x");
        by_age.sort_by_key(|task| task.staged_at);
        bench.put(vec![App { kill_selection: selection, ..app("x", 2) }]).unwrap();
        bench.settle();
        let mut left = bench.tasks("x");
        left.sort_by_key(|task| task.staged_at);
        assert_eq!(left, by_age[kept]);
    }
}

#[test]
fn those_that_do_not_work_go_before_those_that_do() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    let mut by_age = bench.tasks("x");
    by_age.sort_by(|a, b| (a.staged_at, &a.id).cmp(&(b.staged_at, &b.id)));
    let sick = by_age[0].id.clone();
    bench.world.tasks.get_mut(&sick).unwrap().seen.checks[0].alive = false;
    bench.put(vec![app("x", 2)]).unwrap();
    bench.pass();
    assert!(!bench.world.tasks[&sick].task.intent.is_run());
    assert_eq!(bench.running("x"), 2);
}
