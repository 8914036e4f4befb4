//! Why nothing happens: for each app, in words, what it waits for.

use crate::placement::{Placer, Spread};
use crate::{Policy, Standing, TaskRecord, World, server_url};
use model::{AppId, Intent, NodeId, TaskState, Timestamp};
use std::collections::BTreeMap;

/// One line per thing an app waits for; empty when it is as it should be.
pub fn explain(world: &World, id: &AppId, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let tasks: Vec<&TaskRecord> = world.tasks.values().filter(|record| record.task.app == *id).collect();
    if let Some(deployment) = world.deployment_of(id) {
        let (current, total) = (deployment.current_step + 1, deployment.steps.len());
        lines.push(format!("deployment {} is at step {current} of {total}", deployment.id));
    }
    if let Some(reason) = world.refused.get(&Some(id.clone())) {
        lines.push(format!("what is planned for it cannot be written: {reason}"));
    }
    match world.apps.get(id) {
        None if tasks.is_empty() => lines.push(format!("there is no app {id}")),
        None => lines.push(format!("{id} was removed; {} of its tasks are still there", tasks.len())),
        Some(record) => {
            let app = &record.app;
            let active = tasks.iter().filter(|record| world.counts(record)).count();
            let missing = (app.instances as usize).saturating_sub(active);
            if missing > 0 {
                lines.push(format!("{missing} of {} instances are missing", app.instances));
                if let Some(until) = record.backoff.until.filter(|until| now < *until) {
                    let seconds = until.since(now).as_secs_f64();
                    lines.push(format!(
                        "the next launch waits {seconds:.1} s, after {} failures",
                        record.backoff.failures
                    ));
                }
                lines.extend(why_not_placed(world, app, now));
            }
            lines.extend(what_its_nodes_do(world, app, &tasks, now));
            if let Some(failure) = &record.last_failure {
                lines.push(format!("the last failure was {} on {}: {}", failure.task, failure.host, failure.message));
            }
        }
    }
    lines.extend(tasks.iter().filter_map(|record| what_it_waits_for(world, record, now)));
    lines
}

fn why_not_placed(world: &World, app: &model::App, now: Timestamp) -> Vec<String> {
    if world.nodes.is_empty() {
        return vec!["no node has ever joined".to_owned()];
    }
    match Placer::of(world, now).place(world, app, &Spread::new()) {
        Ok(_) => Vec::new(),
        Err(unplaced) => {
            let hostname = |id| world.nodes.get(id).map_or("", |record| record.node.hostname.as_str());
            unplaced.0.iter().map(|(id, reason)| format!("node {} ({id}): {reason}", hostname(id))).collect()
        }
    }
}

/// Nodes that are silent or being drained, and what that means for the app's tasks on them.
fn what_its_nodes_do(world: &World, app: &model::App, tasks: &[&TaskRecord], now: Timestamp) -> Vec<String> {
    let mut tasks_per_node: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for record in tasks.iter().filter(|record| record.is_active()) {
        *tasks_per_node.entry(&record.task.node).or_default() += 1;
    }
    let mut lines = Vec::new();
    let mut has_leaving = false;
    for (id, count) in tasks_per_node {
        let Some(node) = world.nodes.get(id) else {
            lines.push(format!("{count} of its tasks are on node {id}, which was removed"));
            continue;
        };
        let (name, silence) = (node.name(), now.since(node.last_seen).as_secs_f64());
        match node.standing {
            Standing::Suspected { .. } => lines.push(match &world.brake {
                Some(brake) => format!("node {name}, with {count} of its tasks, is silent since {silence:.1} s; {brake}"),
                None => format!(
                    "node {name} is silent since {silence:.1} s; its {count} tasks are not routed while others serve"
                ),
            }),
            Standing::Lost { .. } => lines.push(format!(
                "node {name} is lost, silent since {silence:.1} s; {count} tasks have no place elsewhere and go on when it \
                 is back"
            )),
            Standing::Draining => {
                has_leaving = true;
                lines.push(format!("node {name} is being drained: {count} tasks are to move off it"));
            }
            Standing::Live => {}
        }
    }
    if has_leaving {
        lines.extend(why_not_placed(world, app, now));
    }
    lines
}

fn what_it_waits_for(world: &World, record: &TaskRecord, now: Timestamp) -> Option<String> {
    let task = &record.task;
    match &task.intent {
        Intent::Drain { since, reason } => {
            let seconds = now.since(*since).as_secs_f64();
            let url = server_url(task).unwrap_or_default();
            let busy: Vec<&str> = world
                .edges
                .iter()
                .filter(|(_, edge)| {
                    now.since(edge.last_seen) < Policy::default().edge_silence_max
                        && (edge.busy.contains(&url) || Some(edge.applied_revision) < record.unrouted_at)
                })
                .map(|(id, _)| id.as_str())
                .collect();
            let edges = busy.join(", ");
            Some(format!("{} drains since {seconds:.1} s ({reason}), waiting for edges: {edges}", task.id))
        }
        Intent::Stop { reason, .. } if !world.is_connected(&task.node) => {
            Some(format!("{} is to stop ({reason}) once the agent of its node is back", task.id))
        }
        Intent::Stop { reason, .. } => Some(format!("{} stops ({reason})", task.id)),
        Intent::Run if !record.is_known() => Some(format!("{} was not reported yet by its agent", task.id)),
        Intent::Run if record.seen.state == TaskState::Staging => {
            let seconds = now.since(record.seen.observed_at).as_secs_f64();
            Some(format!("{} is staging since {seconds:.1} s on {} {}", task.id, task.host, record.seen.message))
        }
        Intent::Run if !world.is_healthy(record) => {
            let cause = record.seen.checks.iter().find_map(|check| check.last_failure_cause.as_deref());
            Some(format!("{} runs and is not healthy: {}", task.id, cause.unwrap_or("no check has succeeded yet")))
        }
        Intent::Run => None,
    }
}
