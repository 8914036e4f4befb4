//! Ends, verdicts, delays.

use super::worlds::{Bench, app, id};
use crate::{Change, Policy, RetireReason, TaskRecord, launch_delay};
use model::{App, Intent, TaskState};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn settled(instances: u32) -> Bench {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", instances)]).unwrap();
    bench.settle();
    bench
}

#[test]
fn a_failed_task_is_replaced_after_the_delay() {
    let mut bench = settled(1);
    let task = bench.tasks("x")[0].id.clone();
    bench.see(&task, TaskState::Failed);
    bench.pass();
    assert!(bench.tasks("x").is_empty());
    assert_eq!(bench.world.apps[&id("x")].last_failure.as_ref().unwrap().task, task);
    bench.wait(0.9);
    bench.pass();
    assert!(bench.tasks("x").is_empty());
    bench.wait(0.2);
    bench.pass();
    assert_eq!(bench.running("x"), 1);
}

#[test]
fn a_finished_task_is_replaced_too_and_a_lost_one_at_once() {
    for (state, at_once) in [(TaskState::Finished, 0), (TaskState::Lost, 1), (TaskState::Killed, 1)] {
        let mut bench = settled(1);
        let task = bench.tasks("x")[0].id.clone();
        bench.see(&task, state);
        bench.pass();
        assert_eq!(bench.running("x"), at_once, "{state:?}");
        bench.wait(1.1);
        bench.pass();
        assert_eq!(bench.running("x"), 1, "{state:?}");
    }
}

#[test]
fn a_task_that_does_not_start_in_time_is_replaced_and_the_time_begins_anew_with_its_machine() {
    let never_started = |change: &Change| matches!(change, Change::Retire { reason: RetireReason::NeverStarted, .. });
    let mut bench = settled(1);
    let task = bench.tasks("x")[0].id.clone();
    // Its machine was rebooted after an hour.
    bench.wait(3600.0);
    bench.see(&task, TaskState::Staging);
    assert_eq!(bench.pass().changes.len(), 0);
    bench.wait(299.0);
    assert_eq!(bench.pass().changes.len(), 0);
    let deadline = crate::next_deadline(
        &bench.world,
        bench.now,
        &Policy { suspect_after: HOUR, lost_after: HOUR, ..bench.policy },
    );
    assert_eq!(deadline, Some(bench.now.after(Duration::from_secs(1))));
    bench.wait(1.0);
    assert!(bench.pass().changes.iter().any(never_started));
}

#[test]
fn delays_grow_by_the_factor_up_to_the_maximum() {
    let app = App { launch_delay_max: Duration::from_secs(5), backoff_factor: 2.0, ..app("x", 1) };
    let delays: Vec<u64> = (0..6).map(|failures| launch_delay(&app, failures).as_secs()).collect();
    assert_eq!(delays, [0, 1, 2, 4, 5, 5]);
    assert_eq!(launch_delay(&app, u32::MAX), Duration::from_secs(5));
}

#[test]
fn a_wave_of_failures_counts_once_and_a_new_version_starts_afresh() {
    let mut bench = settled(5);
    for task in bench.tasks("x") {
        bench.see(&task.id, TaskState::Failed);
    }
    bench.pass();
    assert_eq!(bench.world.apps[&id("x")].backoff.failures, 1);
    bench.put(vec![App { cmd: Some("other".into()), ..app("x", 5) }]).unwrap();
    bench.pass();
    assert_eq!(bench.running("x"), 5);
}

#[test]
fn a_delay_is_forgotten_once_a_task_was_healthy_for_as_long() {
    let mut bench = settled(1);
    let task = bench.tasks("x")[0].id.clone();
    bench.see(&task, TaskState::Failed);
    bench.pass();
    bench.wait(1.1);
    bench.pass();
    bench.obey();
    bench.wait(0.5);
    bench.pass();
    assert_eq!(bench.world.apps[&id("x")].backoff.failures, 1);
    bench.wait(0.6);
    bench.pass();
    assert_eq!(bench.world.apps[&id("x")].backoff.failures, 0);
}

#[test]
fn a_task_whose_check_gave_up_is_killed_and_replaced() {
    let mut bench = settled(2);
    let task = bench.tasks("x")[0].id.clone();
    let check = &mut bench.world.tasks.get_mut(&task).unwrap().seen.checks[0];
    (check.alive, check.gave_up) = (false, true);
    let planned = bench.pass();
    let killed = |change: &Change| matches!(change, Change::Retire { task: killed, reason: RetireReason::Unhealthy } if killed.id == task);
    assert!(planned.changes.iter().any(killed));
    assert!(matches!(bench.world.tasks[&task].task.intent, Intent::Stop { .. }));
    bench.wait(1.1);
    bench.settle();
    assert_eq!(bench.healthy("x"), 2);
}

#[test]
fn a_task_that_never_starts_is_replaced() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 1)]).unwrap();
    bench.pass();
    let task = bench.tasks("x")[0].id.clone();
    bench.wait(299.0);
    assert!(bench.pass().changes.is_empty());
    bench.wait(1.0);
    bench.pass();
    assert!(!bench.world.tasks[&task].task.intent.is_run());
    bench.wait(1.1);
    bench.pass();
    assert_eq!(bench.running("x"), 1);
}

#[test]
fn nothing_is_killed_or_doubled_because_a_node_or_the_controller_was_away() {
    let mut bench = settled(3);
    let before = bench.tasks("x");
    for record in bench.world.nodes.values_mut() {
        record.connected = false;
    }
    let unreported = |record: &mut TaskRecord| *record = TaskRecord::unreported(record.task.clone(), None);
    bench.world.tasks.values_mut().for_each(unreported);
    bench.wait(3600.0);
    assert!(bench.pass().changes.is_empty());
    assert_eq!(bench.tasks("x"), before);
    for record in bench.world.nodes.values_mut() {
        record.connected = true;
    }
    assert!(bench.pass().changes.is_empty());
}

/// A first task fails so; the port of the second.
fn port_after(bench: &mut Bench, message: &str) -> u16 {
    bench.put(vec![app("x", 1)]).unwrap();
    bench.pass();
    let task = bench.tasks("x")[0].clone();
    assert_eq!(task.ports, [31000]);
    bench.see(&task.id, TaskState::Error);
    bench.world.tasks.get_mut(&task.id).unwrap().seen.message = message.into();
    bench.pass();
    bench.wait(1.1);
    bench.pass();
    bench.tasks("x")[0].ports[0]
}

#[test]
fn a_port_that_was_taken_is_chosen_last_for_a_while() {
    for message in [
        "never started: host port is taken: listen on 127.0.0.1:31000: Address in use (os error 98)",
        "Bind for 0.0.0.0:31000 failed: port is already allocated",
        "listen tcp4 0.0.0.0:31000: bind: address already in use",
    ] {
        let mut bench = Bench::new(&["a"]);
        assert_eq!(port_after(&mut bench, message), 31001, "{message}");
        bench.obey();
        bench.wait(60.0);
        bench.put(vec![app("y", 1)]).unwrap();
        bench.pass();
        assert_eq!(bench.tasks("y")[0].ports[0], 31000);
    }
}

#[test]
fn failures_that_have_nothing_to_do_with_ports_leave_the_lowest_port_first() {
    for message in ["exited with status 1", "never started: the image s3pics:2.0 is unknown", ""] {
        assert_eq!(port_after(&mut Bench::new(&["a"]), message), 31000, "{message}");
    }
}
