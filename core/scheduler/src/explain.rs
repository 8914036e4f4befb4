//! Why nothing happens: for each app, in words, what it waits for.

use crate::placement::Placer;
use crate::{Policy, TaskRecord, World, server_url};
use model::{AppId, Intent, TaskState, Timestamp};

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
            let active = tasks.iter().filter(|record| record.is_active()).count();
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
    match Placer::of(world, now).place(world, app) {
        Ok(_) => Vec::new(),
        Err(unplaced) => {
            let hostname = |id| world.nodes.get(id).map_or("", |record| record.node.hostname.as_str());
            unplaced.0.iter().map(|(id, reason)| format!("node {} ({id}): {reason}", hostname(id))).collect()
        }
    }
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
            let seconds = now.since(task.staged_at).as_secs_f64();
            Some(format!("{} is staging since {seconds:.1} s on {} {}", task.id, task.host, record.seen.message))
        }
        Intent::Run if !world.is_healthy(record) => {
            let cause = record.seen.checks.iter().find_map(|check| check.last_failure_cause.as_deref());
            Some(format!("{} runs and is not healthy: {}", task.id, cause.unwrap_or("no check has succeeded yet")))
        }
        Intent::Run => None,
    }
}
