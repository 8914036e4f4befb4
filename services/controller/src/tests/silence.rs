//! Machines that fall silent, over a real store, at a time the test tells.

use super::stage::{Machine, Stage};
use super::trial::until;
use crate::desk::{Ask, EventKind, Refusal};
use crate::test_world::app;
use model::{NodeId, TaskState};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Three machines, and an app of three spread over them.
async fn three(data: &std::path::Path) -> (Stage, [Machine; 3]) {
    let stage = Stage::open(data).await;
    let mut machines = [stage.join("a").await, stage.join("b").await, stage.join("c").await];
    let [a, b, c] = &mut machines;
    stage.deploy(app("x", 3), &mut [a, b, c]).await;
    assert_eq!(stage.routed("x").await, ["a", "b", "c"]);
    (stage, machines)
}

fn running(machines: &[Machine]) -> Vec<String> {
    machines.iter().flat_map(Machine::running).collect()
}

#[tokio::test]
async fn a_silent_machines_servers_leave_within_two_seconds_and_its_tasks_run_elsewhere_within_eight() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let mut events = stage.desk.events();
    let victim = machines[2].running()[0].clone();
    let [a, b, c] = &mut machines;

    stage.pass(1250, &mut [a, b]).await;
    assert_eq!((stage.standing("c"), stage.routed("x").await), ("live", vec!["a".into(), "b".into(), "c".into()]));
    stage.pass(500, &mut [a, b]).await;
    assert_eq!((stage.standing("c"), stage.routed("x").await), ("suspected", vec!["a".into(), "b".into()]));
    assert_eq!((c.desired(), a.running().len() + b.running().len()), (vec![victim.clone()], 2));

    stage.pass(3500, &mut [a, b]).await;
    assert_eq!((stage.standing("c"), a.running().len() + b.running().len()), ("lost", 3));
    assert_eq!(stage.routed("x").await.len(), 3);
    assert!(!stage.routed("x").await.contains(&"c".to_owned()));
    // It runs on where nobody hears it, and is wanted no more.
    assert_eq!((c.running(), c.desired().len()), (vec![victim.clone()], 0));
    assert!(stage.store.get(&format!("/roadstead/tasks/{victim}")).await.unwrap().is_none());

    let mut lost = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::TaskStatus { task, seen } = &event.kind
            && seen.state == TaskState::Lost
        {
            lost.push((task.id.to_string(), seen.message.clone()));
        }
    }
    assert!(
        matches!(&lost[..], [(id, message)] if *id == victim && message.contains("c.example (c) is lost: silent since")),
        "{lost:?}"
    );
    let record = stage.desk.view().apps.values().next().unwrap().clone();
    assert_eq!((record.backoff.failures, record.last_failure.unwrap().state), (0, TaskState::Lost));

    // It is back: what it still runs is stopped, and nothing else is.
    stage.pass(250, &mut [a, b, c]).await;
    assert_eq!((stage.standing("c"), c.stops(), c.running().len()), ("live", 1, 0));
    assert_eq!((a.stops(), b.stops(), running(&machines).len()), (0, 0, 3));
    assert_eq!(stage.routed("x").await.len(), 3);
}

#[tokio::test]
async fn a_machine_that_is_back_within_time_is_routed_again_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let before = running(&machines);
    let [a, b, c] = &mut machines;
    stage.pass(4500, &mut [a, b]).await;
    assert_eq!(stage.routed("x").await, ["a", "b"]);
    assert!(
        stage.explain("x").iter().any(|line| line.contains("c.example (c) is silent since 4.5 s")),
        "{:?}",
        stage.explain("x")
    );
    stage.pass(100, &mut [a, b, c]).await;
    assert_eq!(stage.routed("x").await, ["a", "b", "c"]);
    assert_eq!(running(&machines), before);
    assert!(stage.explain("x").is_empty());
}

#[tokio::test]
async fn when_most_machines_are_silent_nothing_leaves_and_nothing_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let before = running(&machines);
    let [a, b, c] = &mut machines;
    stage.pass(20_000, &mut [a]).await;
    assert_eq!(stage.routed("x").await, ["a", "b", "c"]);
    assert_eq!(stage.desk.view().tasks.len(), 3);
    let view = stage.desk.view();
    assert_eq!(view.brake.as_ref().map(|brake| (brake.silent, brake.nodes)), Some((2, 3)));
    assert!(stage.explain("x").iter().any(|line| line.contains("2 of 3 nodes are silent at once")));
    stage.pass(250, &mut [a, b, c]).await;
    assert_eq!((running(&machines), stage.desk.view().brake), (before, None));
}

#[tokio::test]
async fn a_new_leader_gives_every_machine_its_time() {
    let data = tempfile::tempdir().unwrap();
    let (stage, machines) = three(data.path()).await;
    let before = running(&machines);
    let [a, b, c] = machines;
    // Nobody was heard for long by the old one, nor could the new one have heard anybody.
    stage.pass(1000, &mut []).await;
    let stage = stage.change_leader().await;
    let (mut a, mut b) = (stage.rejoin(a).await, stage.rejoin(b).await);
    stage.pass(1250, &mut [&mut a, &mut b]).await;
    assert_eq!((stage.standing("c"), stage.routed("x").await.len()), ("live", 3));
    stage.pass(3500, &mut [&mut a, &mut b]).await;
    assert_eq!(
        (stage.standing("c"), stage.routed("x").await.len(), stage.desk.view().tasks.len()),
        ("suspected", 2, 3)
    );
    let c = stage.rejoin(c).await;
    assert_eq!((running(&[a, b, c]), stage.routed("x").await.len()), (before, 3));
}

#[tokio::test]
async fn the_machine_of_a_leader_that_died_is_suspected_a_moment_after() {
    let data = tempfile::tempdir().unwrap();
    let (stage, [a, b, c]) = three(data.path()).await;
    let stage = stage.succeed(Some("c")).await;
    let (mut a, mut b) = (stage.rejoin(a).await, stage.rejoin(b).await);
    stage.pass(200, &mut [&mut a, &mut b]).await;
    assert_eq!(stage.routed("x").await, ["a", "b", "c"]);
    stage.pass(100, &mut [&mut a, &mut b]).await;
    assert_eq!(stage.routed("x").await, ["a", "b"]);
    // Its process alone had died.
    let _c = stage.rejoin(c).await;
    assert_eq!(stage.routed("x").await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_machine_lost_under_one_leader_and_back_under_the_next_runs_nothing_twice() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let [a, b, _] = &mut machines;
    stage.pass(6000, &mut [a, b]).await;
    let stage = stage.change_leader().await;
    let [a, b, c] = machines;
    let (mut a, mut b, mut c) = (stage.rejoin(a).await, stage.rejoin(b).await, stage.rejoin(c).await);
    stage.pass(500, &mut [&mut a, &mut b, &mut c]).await;
    assert_eq!((c.running().len(), c.stops(), a.stops() + b.stops()), (0, 1, 0));
    let all = running(&[a, b, c]);
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (3, 3));
}

#[tokio::test]
async fn a_rebooted_machine_is_not_believed_to_run_what_it_ran_before() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let [a, b, _] = &mut machines;
    stage.pass(3000, &mut [a, b]).await;
    assert_eq!(stage.routed("x").await, ["a", "b"]);
    let [mut a, mut b, _] = machines;
    // A new agent with nothing; its first report is later than its hello.
    let mut c = stage.join("c").await;
    assert_eq!(c.running().len(), 0);
    stage.pass(500, &mut [&mut a, &mut b, &mut c]).await;
    assert_eq!((running(&[a, b, c]).len(), stage.routed("x").await.len()), (3, 3));
}

#[tokio::test]
async fn a_drained_machine_is_emptied_without_falling_below_and_takes_tasks_again_when_restored() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let [a, b, c] = &mut machines;
    stage.say("edge", stage.cluster_id, 1, &[]).await;
    let node = NodeId::new("c");
    stage.ask(Ask::DrainNode { node: node.clone(), on: true }).await.unwrap();
    for _ in 0..5 {
        stage.say("edge", stage.cluster_id, 1, &[]).await;
        stage.pass(250, &mut [a, b, c]).await;
        assert!(stage.routed("x").await.len() >= 3);
    }
    // Its successor serves; it waits for the edge.
    assert_eq!((stage.standing("c"), a.running().len() + b.running().len(), c.running().len()), ("draining", 3, 1));
    assert!(!stage.routed("x").await.contains(&"c".to_owned()));
    stage.say("edge", stage.cluster_id, i64::MAX, &[]).await;
    stage.pass(500, &mut [a, b, c]).await;
    assert_eq!((a.running().len() + b.running().len(), c.running().len()), (3, 0));

    // It stays so over a new session, which says nothing of it, and over a new leader.
    let stage = stage.change_leader().await;
    let [a, b, c] = machines;
    let (mut a, mut b, mut c) = (stage.rejoin(a).await, stage.rejoin(b).await, stage.rejoin(c).await);
    assert_eq!(stage.standing("c"), "draining");
    stage.deploy(app("y", 6), &mut [&mut a, &mut b, &mut c]).await;
    assert_eq!(c.running().len(), 0);
    stage.ask(Ask::DrainNode { node, on: false }).await.unwrap();
    stage.deploy(app("z", 3), &mut [&mut a, &mut b, &mut c]).await;
    assert_eq!((stage.standing("c"), c.running().len()), ("live", 1));
}

#[tokio::test]
async fn a_removed_machines_record_goes_and_its_tasks_run_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let node = NodeId::new("c");
    stage.ask(Ask::RemoveNode { node: node.clone() }).await.unwrap();
    assert!(stage.store.get("/roadstead/nodes/c").await.unwrap().is_none());
    let [a, b, c] = &mut machines;
    stage.pass(500, &mut [a, b]).await;
    assert_eq!((a.running().len() + b.running().len(), stage.desk.view().nodes.len()), (3, 2));
    until("its session's link is dropped", || c.is_dropped()).await;
    let again = stage.ask(Ask::RemoveNode { node: node.clone() }).await;
    assert!(matches!(again, Err(Refusal::NoNode(unknown)) if unknown == node));
    assert!(matches!(stage.ask(Ask::DrainNode { node, on: true }).await, Err(Refusal::NoNode(_))));
}

#[tokio::test]
async fn an_edge_counts_with_the_revisions_of_this_store_only() {
    let data = tempfile::tempdir().unwrap();
    let (stage, mut machines) = three(data.path()).await;
    let [a, b, c] = &mut machines;
    assert_ne!(stage.cluster_id, 0);
    assert!([&*a, b, c].iter().all(|machine| machine.cluster_id_told() == stage.cluster_id));
    let other = stage.cluster_id.wrapping_add(1);
    stage.say("edge", other, i64::MAX, &[]).await;
    stage.ask(Ask::Put { apps: vec![app("x", 2)], force: false }).await.unwrap();
    let left = |machines: [&Machine; 3]| machines.iter().map(|machine| machine.running().len()).sum::<usize>();
    for _ in 0..8 {
        stage.say("edge", other, i64::MAX, &[]).await;
        stage.pass(250, &mut [a, b, c]).await;
        assert_eq!(left([a, b, c]), 3);
    }
    // One that does not say which store it reads is believed, as ever.
    stage.say("edge", 0, i64::MAX, &[]).await;
    stage.pass(500, &mut [a, b, c]).await;
    assert_eq!(left([a, b, c]), 2);
}

#[tokio::test]
async fn a_leader_sleeps_until_the_next_silence_ends_and_a_second_at_most() {
    let data = tempfile::tempdir().unwrap();
    let (stage, _machines) = three(data.path()).await;
    let (leader, clock) = stage.next_leader().await;
    let after = |millis| {
        clock.fetch_add(millis, Ordering::SeqCst);
        leader.patience().as_millis()
    };
    // Suspicion is due after 1.5 s, the loss after 5 s.
    assert_eq!([after(0), after(600), after(899), after(1)], [1000, 900, 1, 1000]);
    assert_eq!([after(3000), after(500)], [500, 1000]);
}
