//! What agents report, as observations; and the events that tell of what changed.

use crate::desk::EventKind;
use model::{CheckResult, NodeId, Observation, TaskId, TaskState, Timestamp};
use protocol::{CheckReport, TaskReport};
use scheduler::{TaskRecord, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Takes a node's complete report into the world. `held` says of tasks nobody has reported yet whether the agent has been
/// told of them: those, and those it reported before, are lost when they are missing.
pub(super) fn observe(
    world: &mut World,
    node: &NodeId,
    reports: Vec<TaskReport>,
    now: Timestamp,
    held: impl Fn(&TaskId) -> bool,
) -> Vec<EventKind> {
    let reported: BTreeMap<TaskId, TaskReport> =
        reports.into_iter().map(|report| (TaskId::new(report.task_id.clone()), report)).collect();
    let mut events = Vec::new();
    let of_node: Vec<TaskId> =
        world.tasks.values().filter(|record| record.task.node == *node).map(|record| record.task.id.clone()).collect();
    for id in of_node {
        let Some(record) = world.tasks.get(&id) else { continue };
        let seen = match reported.get(&id) {
            Some(report) => match observation(report, record, now) {
                Some(seen) => seen,
                None => continue,
            },
            None if is_reported(record) || held(&id) => gone(record, now),
            // The agent has not been told of it yet.
            None => continue,
        };
        let was_healthy = world.is_healthy(record);
        let had_checks = !record.seen.checks.is_empty();
        let changed = record.seen.state != seen.state || !record.is_known();
        let Some(record) = world.tasks.get_mut(&id) else { continue };
        // An end is final.
        if record.seen.state.is_terminal() {
            continue;
        }
        record.seen = seen;
        let record = record.clone();
        if changed {
            events.push(EventKind::TaskStatus { task: record.task.clone(), seen: record.seen.clone() });
        }
        let alive = world.is_healthy(&record);
        let checked = had_checks || !record.seen.checks.is_empty();
        if checked && alive != was_healthy && record.seen.state == TaskState::Running {
            events.push(EventKind::TaskHealth { task: record.task.clone(), alive });
        }
    }
    events
}

/// Tasks of a node that are to stop, of which its agent says nothing: it never had them, or has forgotten them.
pub(super) fn stopped_unseen(
    world: &World,
    node: &NodeId,
    reported: &BTreeSet<TaskId>,
    now: Timestamp,
    patience: Duration,
) -> Vec<TaskId> {
    let unseen = |record: &&TaskRecord| match &record.task.intent {
        model::Intent::Stop { since, .. } => {
            record.task.node == *node
                && !record.seen.state.is_terminal()
                && !reported.contains(&record.task.id)
                && now.since(*since) >= patience
        }
        _ => false,
    };
    world.tasks.values().filter(unseen).map(|record| record.task.id.clone()).collect()
}

/// What an agent that does not know a task says of it: it has ended.
pub(super) fn gone(record: &TaskRecord, now: Timestamp) -> Observation {
    let (state, message) = if record.task.intent.is_run() {
        (TaskState::Lost, "its agent does not know it any more")
    } else {
        (TaskState::Killed, "")
    };
    Observation { state, message: message.to_owned(), observed_at: later(record, now), ..record.seen.clone() }
}

/// Launched tasks are "observed" when they are staged; what an agent says is always later.
fn is_reported(record: &TaskRecord) -> bool {
    record.seen.observed_at > record.task.staged_at
}

fn later(record: &TaskRecord, now: Timestamp) -> Timestamp {
    now.max(record.task.staged_at.after(Duration::from_millis(1)))
}

/// `None` for a state of a later version.
fn observation(report: &TaskReport, record: &TaskRecord, now: Timestamp) -> Option<Observation> {
    let state = match report.state() {
        protocol::TaskState::TaskUnknown => return None,
        protocol::TaskState::TaskStaging => TaskState::Staging,
        protocol::TaskState::TaskRunning => TaskState::Running,
        protocol::TaskState::TaskKilling => TaskState::Killing,
        protocol::TaskState::TaskFinished => TaskState::Finished,
        protocol::TaskState::TaskFailed => TaskState::Failed,
        protocol::TaskState::TaskKilled => TaskState::Killed,
        protocol::TaskState::TaskError => TaskState::Error,
        protocol::TaskState::TaskLost => TaskState::Lost,
    };
    let is_repeated = is_reported(record) && record.seen.state == state;
    Some(Observation {
        state,
        message: report.message.clone(),
        started_at: time(report.started_at_ms),
        observed_at: if is_repeated { record.seen.observed_at } else { later(record, now) },
        checks: report.checks.iter().map(check).collect(),
        exit_code: state.is_terminal().then_some(report.exit_code),
    })
}

fn check(report: &CheckReport) -> CheckResult {
    CheckResult {
        alive: report.alive,
        consecutive_failures: report.consecutive_failures,
        first_success: time(report.first_success_ms),
        last_success: time(report.last_success_ms),
        last_failure: time(report.last_failure_ms),
        last_failure_cause: (!report.last_failure_cause.is_empty()).then(|| report.last_failure_cause.clone()),
        gave_up: report.gave_up,
    }
}

fn time(milliseconds: i64) -> Option<Timestamp> {
    (milliseconds > 0).then(|| Timestamp::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;

    const NOW: Timestamp = Timestamp::from_millis(1_420_980_300_000);

    /// Two tasks: their ids.
    fn two() -> (World, NodeId, TaskId, TaskId) {
        let mut world = World::default();
        test_world::insert(&mut world, &test_world::app("x", 2), &[1, 2]);
        let ids: Vec<TaskId> = world.tasks.keys().cloned().collect();
        (world, NodeId::new("node"), ids[0].clone(), ids[1].clone())
    }

    fn report(task: &TaskId, state: protocol::TaskState) -> TaskReport {
        let check = CheckReport { alive: true, ..CheckReport::default() };
        TaskReport { task_id: task.to_string(), state: state.into(), checks: vec![check], ..TaskReport::default() }
    }

    #[test]
    fn what_was_reported_and_is_missing_is_lost_and_what_was_never_told_waits() {
        let (mut world, node, first, second) = two();
        let running = report(&first, protocol::TaskState::TaskRunning);
        let events = observe(&mut world, &node, vec![running], NOW, |_| false);
        assert!(matches!(events[..], [EventKind::TaskStatus { .. }, EventKind::TaskHealth { alive: true, .. }]));
        assert_eq!(world.tasks[&second].seen.state, TaskState::Staging);
        observe(&mut world, &node, Vec::new(), NOW, |_| false);
        assert_eq!(world.tasks[&first].seen.state, TaskState::Lost);
        assert_eq!(world.tasks[&second].seen.state, TaskState::Staging);
        observe(&mut world, &node, Vec::new(), NOW, |task| *task == second);
        assert_eq!(world.tasks[&second].seen.state, TaskState::Lost);
    }

    #[test]
    fn an_end_is_final_and_what_is_not_understood_changes_nothing() {
        let (mut world, node, first, second) = two();
        let both = |state| vec![report(&first, state), report(&second, protocol::TaskState::TaskUnknown)];
        observe(&mut world, &node, both(protocol::TaskState::TaskFailed), NOW, |_| false);
        let events = observe(&mut world, &node, both(protocol::TaskState::TaskRunning), NOW, |_| false);
        assert!(events.is_empty());
        assert_eq!(world.tasks[&first].seen.state, TaskState::Failed);
        assert_eq!(world.tasks[&second].seen.state, TaskState::Staging);
        let mut strange = report(&second, protocol::TaskState::TaskRunning);
        strange.state = 99;
        observe(&mut world, &node, vec![strange], NOW, |_| false);
        assert_eq!(world.tasks[&second].seen.state, TaskState::Staging);
    }

    #[test]
    fn a_state_that_is_repeated_was_observed_when_it_began() {
        let (mut world, node, first, _) = two();
        let mut see = |state, at: Timestamp| {
            observe(&mut world, &node, vec![report(&first, state)], at, |_| false);
            world.tasks[&first].seen.observed_at
        };
        let after = |seconds| NOW.after(Duration::from_secs(seconds));
        assert_eq!(see(protocol::TaskState::TaskStaging, NOW), NOW);
        assert_eq!(see(protocol::TaskState::TaskStaging, after(1)), NOW);
        assert_eq!(see(protocol::TaskState::TaskRunning, after(2)), after(2));
        assert_eq!(see(protocol::TaskState::TaskStaging, after(3)), after(3), "its machine was rebooted");
        assert_eq!(see(protocol::TaskState::TaskStaging, after(4)), after(3));
    }

    #[test]
    fn another_nodes_report_says_nothing_of_these_tasks() {
        let (mut world, _, first, _) = two();
        let running = report(&first, protocol::TaskState::TaskRunning);
        assert!(observe(&mut world, &NodeId::new("other"), vec![running], NOW, |_| true).is_empty());
    }
}
