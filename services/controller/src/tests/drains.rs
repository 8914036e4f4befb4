//! The drain handshake: an agent is told to stop a task only after every edge has let go of it.

use super::trial::{FakeAgent, FakeEdge, Trial, until};
use crate::test_world::app;
use model::Intent;
use std::path::Path;

/// An app of one behind an edge that has caught up, then scaled to none: the URL of the task that goes.
async fn scaled_to_none(data: &Path, drain: bool) -> (Trial, FakeAgent, FakeEdge, String) {
    let trial = Trial::start_with(data, |config| config.drain = drain).await;
    let agent = FakeAgent::join(&trial, "one").await;
    let edge = FakeEdge::join(&trial, "edge").await;
    edge.say(1, &[]).await;
    trial.until("the edge is known", |world| world.edges.contains_key("edge")).await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    let url = trial.route("app.x").await.unwrap().servers[0].url.clone();
    trial.put(app("x", 0)).await;
    (trial, agent, edge, url)
}

fn stops(agent: &FakeAgent) -> usize {
    agent.log().iter().filter(|line| line.starts_with("stop")).count()
}

#[tokio::test]
async fn the_agent_is_told_to_stop_only_after_the_edge_has_let_go() {
    let data = tempfile::tempdir().unwrap();
    let (trial, agent, edge, url) = scaled_to_none(data.path(), true).await;
    let drains = |world: &scheduler::World| {
        world.tasks.values().any(|record| matches!(record.task.intent, Intent::Drain { .. }))
    };
    trial.until("the task drains", drains).await;
    assert_eq!(trial.route("app.x").await.unwrap().servers, []);
    // The task's own write and its route's are one transaction.
    let view = trial.desk.view();
    let record = view.tasks.values().next().unwrap();
    let task = trial.store.get(&format!("/roadstead/tasks/{}", record.task.id)).await.unwrap().unwrap();
    let route = trial.store.get("/roadstead/routes/app.x").await.unwrap().unwrap();
    assert_eq!((task.mod_revision, Some(task.mod_revision)), (route.mod_revision, record.unrouted_at));

    edge.say(route.mod_revision - 1, &[]).await;
    edge.say(route.mod_revision, &[&url]).await;
    trial.until("the edge's words arrived", |world| world.edges["edge"].busy.contains(&url)).await;
    let answer = trial.desk.ask(crate::desk::Ask::ResetDelay { app: record.task.app.clone() }).await;
    assert!(answer.is_ok() && drains(&trial.desk.view()));
    assert_eq!(stops(&agent), 0);

    edge.say(route.mod_revision, &[]).await;
    until("the agent stops it", || stops(&agent) == 1).await;
    trial.until_deployed().await;
}

/// The mutant: this is what the handshake is there to prevent.
#[tokio::test]
async fn with_the_handshake_off_the_agent_is_told_at_once() {
    let data = tempfile::tempdir().unwrap();
    let (trial, agent, _edge, _url) = scaled_to_none(data.path(), false).await;
    until("the agent stops it", || stops(&agent) == 1).await;
    trial.until_deployed().await;
    assert!(trial.desk.view().edges["edge"].applied_revision == 1);
}

#[tokio::test]
async fn without_an_edge_nothing_waits() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    trial.put(app("x", 0)).await;
    trial.until_deployed().await;
    assert_eq!(stops(&agent), 1);
}
