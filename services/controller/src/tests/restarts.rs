//! A controller that comes back: nothing doubled, nothing killed.

use super::trial::{FakeAgent, Trial, until};
use crate::test_world::app;
use protocol::TaskState;
use scheduler::TaskRecord;
use std::collections::BTreeMap;
use store::{Operation, TxnRequest};

#[tokio::test]
async fn a_restarted_controller_takes_its_tasks_back() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 3)).await;
    trial.until_deployed().await;
    let before = agent.running();
    let held = *agent.generations().last().unwrap();
    let route = trial.route("app.x").await;
    let store = trial.end().await;
    let tasks = agent.leave();

    let trial = Trial::start_on(store, |_| ()).await;
    assert_eq!(trial.desk.view().tasks.len(), 3);
    let agent = FakeAgent::join_with(&trial, "one", tasks, held).await;
    trial.until("all are reported", |world| world.tasks.values().all(TaskRecord::is_known)).await;
    trial.put(app("y", 1)).await;
    trial.until_deployed().await;
    let kept = agent.running();
    assert!(before.iter().all(|spec| kept.contains(spec)));
    assert_eq!(kept.len(), 4);
    assert_eq!(trial.route("app.x").await, route);
    assert!(agent.generations().iter().all(|generation| *generation >= held), "generations never fall");
    assert!(agent.log().iter().all(|line| line.starts_with("start y.")), "{:?}", agent.log());
}

#[tokio::test]
async fn what_an_agent_has_lost_meanwhile_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 3)).await;
    trial.until_deployed().await;
    let held = *agent.generations().last().unwrap();
    let store = trial.end().await;
    let mut tasks = agent.leave();
    let (lost, _) = tasks.pop_first().unwrap();

    let trial = Trial::start_on(store, |_| ()).await;
    let agent = FakeAgent::join_with(&trial, "one", tasks, held).await;
    until("a third task runs", || agent.running().len() == 3).await;
    assert!(agent.running().iter().all(|spec| spec.task_id != lost));
}

#[tokio::test]
async fn an_agent_that_was_wiped_starts_its_tasks_again() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 2)).await;
    trial.until_deployed().await;
    let store = trial.end().await;
    agent.leave();
    let trial = Trial::start_on(store, |_| ()).await;
    let agent = FakeAgent::join_with(&trial, "one", BTreeMap::new(), 0).await;
    until("two tasks run", || agent.running().len() == 2).await;
    trial.until("they are healthy", |world| world.tasks.values().all(|record| world.is_healthy(record))).await;
    assert_eq!(trial.desk.view().tasks.len(), 2);
}

#[tokio::test]
async fn an_agent_that_was_away_comes_back_to_what_ended_and_what_is_new() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 2)).await;
    trial.until_deployed().await;
    let held = *agent.generations().last().unwrap();
    let mut tasks = agent.leave();
    trial.until("it is away", |world| world.nodes.values().all(|record| !record.connected)).await;
    // Nothing is replaced meanwhile: one machine that is away is not a machine that is lost.
    trial.put(app("x", 3)).await;
    let (failed, entry) = tasks.iter_mut().next().unwrap();
    let failed = failed.clone();
    entry.1 = TaskState::TaskFailed;
    let agent = FakeAgent::join_with(&trial, "one", tasks, held).await;
    trial.until("three run", |world| world.tasks.values().filter(|record| world.is_healthy(record)).count() == 3).await;
    assert!(agent.running().iter().all(|spec| spec.task_id != failed));
}

#[tokio::test]
async fn tasks_the_controller_never_heard_of_are_stopped_by_not_being_wanted() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let orphan = protocol::TaskSpec { task_id: "gone.1".into(), ..protocol::TaskSpec::default() };
    let tasks = BTreeMap::from([("gone.1".to_owned(), (orphan, TaskState::TaskRunning))]);
    let agent = FakeAgent::join_with(&trial, "one", tasks, 0).await;
    until("the orphan is gone", || agent.running().is_empty()).await;
}

#[tokio::test]
async fn edges_from_before_the_restart_are_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    let held = *agent.generations().last().unwrap();
    let store = trial.end().await;
    let tasks = agent.leave();
    let trial = Trial::start_on(store, |_| ()).await;
    let agent = FakeAgent::join_with(&trial, "one", tasks, held).await;
    trial.put(app("x", 0)).await;
    // An edge this controller has not heard of may still send requests to the task.
    let waiting = |world: &scheduler::World| world.edges.contains_key(crate::leader::UNKNOWN_EDGES);
    until("the task stops", || {
        let waited_for = waiting(&trial.desk.view());
        let stopped = agent.running().is_empty();
        assert!(!(waited_for && stopped && waiting(&trial.desk.view())), "it stopped before the edges could come back");
        stopped
    })
    .await;
}

#[tokio::test]
async fn a_silent_agent_counts_as_away_and_its_tasks_stay() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    agent.fall_silent();
    trial.until("its node is away", |world| world.nodes.values().all(|record| !record.connected)).await;
    assert_eq!(trial.desk.view().tasks.len(), 1);
    assert_eq!(trial.route("app.x").await.unwrap().servers.len(), 1);
}

#[tokio::test]
async fn an_older_controller_can_write_nothing() {
    let data = tempfile::tempdir().unwrap();
    let old = Trial::start(data.path()).await;
    let new = Trial::start_on(old.store.clone(), |_| ()).await;
    let refused = old.desk.ask(crate::desk::Ask::Put { apps: vec![app("x", 1)], force: false }).await;
    assert!(matches!(refused, Err(crate::desk::Refusal::Unanswered)));
    assert!(new.desk.view().apps.is_empty());
    new.put(app("x", 1)).await;
    assert!(new.store.get("/roadstead/apps/x").await.unwrap().is_some());
}

#[tokio::test]
async fn values_that_are_not_the_controllers_are_passed_over_and_kept() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 2)).await;
    trial.until_deployed().await;
    let held = *agent.generations().last().unwrap();
    let store = trial.end().await;
    let tasks = agent.leave();
    // Of another kind, of a later version, and ours in the wrong place.
    let ours = store.get("/roadstead/apps/x").await.unwrap().unwrap().value;
    let kinds = ["apps", "versions", "tasks", "deployments", "nodes"];
    let values: [&[u8]; 3] = [b"\xff", b"{}", &ours];
    let keys =
        || kinds.iter().flat_map(|kind| (0..values.len()).map(move |n| (format!("/roadstead/{kind}/foreign.{n}"), n)));
    let success = keys().map(|(key, n)| Operation::put(key, values[n].to_vec())).collect();
    store.txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() }).await.unwrap();

    let trial = Trial::start_on(store, |_| ()).await;
    let agent = FakeAgent::join_with(&trial, "one", tasks, held).await;
    trial.until("all are reported", |world| world.tasks.values().all(TaskRecord::is_known)).await;
    trial.put(app("y", 1)).await;
    trial.until_deployed().await;
    let view = trial.desk.view();
    assert_eq!((view.apps.len(), view.tasks.len(), view.nodes.len(), agent.running().len()), (2, 3, 1, 3));
    for (key, n) in keys() {
        assert_eq!(trial.store.get(&key).await.unwrap().unwrap().value, values[n], "{key}");
    }
}
