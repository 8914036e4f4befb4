//! Leaving routes.

use super::worlds::{Bench, app, id};
use crate::{server_url, serving};
use model::{App, Intent, TaskId, TaskState};

/// An app of two, scaled down to one: the task that goes.
fn draining() -> (Bench, TaskId) {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 2)]).unwrap();
    bench.settle();
    bench.edge("edge", bench.revision, &[]);
    bench.put(vec![app("x", 1)]).unwrap();
    bench.pass();
    let task = bench.tasks("x").into_iter().find(|task| matches!(task.intent, Intent::Drain { .. })).unwrap();
    (bench, task.id.clone())
}

fn stops(bench: &mut Bench, task: &TaskId) -> bool {
    bench.pass();
    matches!(bench.world.tasks[task].task.intent, Intent::Stop { .. })
}

#[test]
fn a_task_stops_once_every_edge_serves_without_it_and_is_done_with_it() {
    let (mut bench, task) = draining();
    let url = server_url(&bench.world.tasks[&task].task).unwrap();
    let unrouted_at = bench.world.tasks[&task].unrouted_at.unwrap();
    assert!(!serving(&bench.world, &id("x"), |_| true).iter().any(|record| record.task.id == task));
    bench.edge("edge", unrouted_at - 1, &[]);
    assert!(!stops(&mut bench, &task));
    bench.edge("edge", unrouted_at, &[&url]);
    assert!(!stops(&mut bench, &task));
    bench.edge("edge", unrouted_at, &[]);
    bench.edge("other", unrouted_at - 1, &[]);
    assert!(!stops(&mut bench, &task));
    bench.edge("other", unrouted_at + 7, &["http://127.0.0.1:1"]);
    assert!(stops(&mut bench, &task));
}

#[test]
fn the_grace_ends_and_a_silent_edge_does_not_count() {
    let (mut bench, task) = draining();
    let url = server_url(&bench.world.tasks[&task].task).unwrap();
    for _ in 0..29 {
        bench.wait(1.0);
        bench.edge("edge", 0, &[&url]);
        assert!(!stops(&mut bench, &task));
    }
    bench.wait(1.0);
    assert!(stops(&mut bench, &task));

    let (mut bench, task) = draining();
    bench.edge("edge", 0, &[]);
    bench.wait(4.9);
    assert!(!stops(&mut bench, &task));
    bench.wait(0.1);
    assert!(stops(&mut bench, &task));
}

#[test]
fn with_the_handshake_off_or_without_a_port_nothing_waits() {
    let mut bench = Bench::new(&["a"]);
    bench.policy.drain = false;
    bench.put(vec![app("x", 1)]).unwrap();
    bench.settle();
    bench.edge("edge", 0, &[]);
    bench.put(vec![app("x", 0)]).unwrap();
    bench.pass();
    assert!(bench.tasks("x").iter().all(|task| matches!(task.intent, Intent::Stop { .. })));

    let mut bench = Bench::new(&["a"]);
    let worker = |instances| App { ports: Vec::new(), health_checks: Vec::new(), ..app("x", instances) };
    bench.put(vec![worker(1)]).unwrap();
    bench.settle();
    bench.edge("edge", 0, &[]);
    bench.put(vec![worker(0)]).unwrap();
    bench.pass();
    assert!(bench.tasks("x").iter().all(|task| matches!(task.intent, Intent::Stop { .. })));
}

#[test]
fn a_route_holds_the_healthy_and_when_none_is_those_that_once_were() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.pass();
    assert!(serving(&bench.world, &id("x"), |_| false).is_empty());
    bench.obey();
    assert_eq!(serving(&bench.world, &id("x"), |_| false).len(), 3);
    let sick: Vec<TaskId> = bench.world.tasks.keys().take(2).cloned().collect();
    for task in &sick {
        bench.world.tasks.get_mut(task).unwrap().seen.checks[0].alive = false;
    }
    assert_eq!(serving(&bench.world, &id("x"), |_| false).len(), 1);
    let last = bench.world.tasks.keys().last().unwrap().clone();
    bench.world.tasks.get_mut(&last).unwrap().seen.checks[0].alive = false;
    assert_eq!(serving(&bench.world, &id("x"), |_| false).len(), 3);
    bench.see(&last, TaskState::Failed);
    assert_eq!(serving(&bench.world, &id("x"), |_| false).len(), 2);
}

#[test]
fn servers_are_named_as_edges_name_them() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 1)]).unwrap();
    bench.pass();
    let task = model::Task::clone(&bench.tasks("x")[0]);
    for (address, url) in [
        ("127.0.0.1", "http://127.0.0.1:31000"),
        ("Node.Example", "http://node.example:31000"),
        ("fd00::1", "http://[fd00::1]:31000"),
    ] {
        let task = model::Task { address: address.into(), ..task.clone() };
        assert_eq!(server_url(&task).as_deref(), Some(url));
    }
}
