//! What the leader tells: a view to readers, desired sets to agents, events to listeners.

use super::Leader;
use crate::desired;
use crate::desk::{Event, EventKind};
use model::{AppId, Observation, TaskState};
use protocol::Desired;
use scheduler::{Change, RetireReason};
use std::sync::Arc;

impl Leader {
    pub(super) fn publish(&mut self) {
        if std::mem::take(&mut self.unpublished) {
            self.inbox.view.store(Arc::new(self.world.clone()));
        }
    }

    /// Hands each agent its whole desired set where it has changed. An agent speaks first: what it has lost while nobody
    /// listened must not be started again under the old name before that is noticed.
    pub(super) fn push_desired(&mut self) {
        for (id, agent) in self.agents.iter_mut().filter(|(_, agent)| agent.reported.is_some()) {
            let tasks = desired::desired(&self.world, id);
            if agent.sent.as_ref() == Some(&tasks) {
                continue;
            }
            // A leader knows of a later revision than any before it: one that knows less was replaced, and has not noticed.
            let generation = u64::try_from(self.revision).unwrap_or(0);
            if generation < agent.held {
                continue;
            }
            agent.link.desired.send_replace(Desired { generation, tasks: tasks.clone(), cluster_id: self.cluster_id });
            agent.sent = Some(tasks);
            if let Some(record) = self.world.nodes.get_mut(id) {
                record.generation = generation;
            }
        }
    }

    pub(super) fn tell(&self, kind: EventKind) {
        // Without listeners there is no one to tell.
        let _listeners = self.inbox.events.send(Arc::new(Event { at: self.clock.now(), kind }));
    }

    /// What a person reads afterwards.
    pub(super) fn log(change: &Change) {
        match change {
            Change::StartDeployment(deployment) => {
                let apps: Vec<&str> = deployment.target.keys().map(AppId::as_str).collect();
                tracing::info!(deployment = %deployment.id, apps = apps.join(" "), "a deployment begins");
            }
            Change::EndDeployment { deployment, failure: None } => {
                tracing::info!(deployment = %deployment.id, "a deployment has ended");
            }
            Change::EndDeployment { deployment, failure: Some(reason) } => {
                tracing::info!(deployment = %deployment.id, reason, "a deployment was given up");
            }
            Change::Launch(task) => tracing::debug!(task = %task.id, node = %task.node, "launch"),
            Change::Retire { task, reason } => tracing::debug!(task = %task.id, %reason, "retire"),
            Change::Lose { task, reason } => tracing::info!(%task, reason, "a task is lost with its node"),
            Change::DefineNode(node) => tracing::info!(node = %node.id, draining = node.draining, "a node is set"),
            Change::RemoveNode(node) => tracing::info!(%node, "a node is removed"),
            Change::Delay { app, backoff, failure: Some(failure) } => {
                let (state, failures) = (failure.state.mesos_name(), backoff.failures);
                tracing::info!(%app, task = %failure.task, state, message = failure.message, failures, "a task failed");
            }
            _ => {}
        }
    }

    /// Asked before the change is applied.
    pub(super) fn events_of(&self, change: &Change) -> Vec<EventKind> {
        match change {
            Change::StartDeployment(deployment) => vec![
                EventKind::DeploymentStarted { deployment: deployment.clone() },
                EventKind::DeploymentStep { deployment: deployment.clone(), step: 0, done: false },
            ],
            Change::AdvanceDeployment(deployment) => {
                let done = deployment.current_step.saturating_sub(1);
                let mut events =
                    vec![EventKind::DeploymentStep { deployment: deployment.clone(), step: done, done: true }];
                if deployment.current().is_some() {
                    let step = deployment.current_step;
                    events.push(EventKind::DeploymentStep { deployment: deployment.clone(), step, done: false });
                }
                events
            }
            Change::EndDeployment { deployment, failure: Some(reason) } => {
                vec![EventKind::DeploymentFailed { deployment: deployment.clone(), reason: reason.clone() }]
            }
            Change::EndDeployment { deployment, failure: None } => {
                let removed = deployment.target.iter().filter(|(_, app)| app.is_none());
                let terminated = removed.map(|(app, _)| EventKind::AppTerminated { app: app.clone() });
                let succeeded = EventKind::DeploymentSucceeded { deployment: deployment.clone() };
                terminated.chain([succeeded]).collect()
            }
            Change::Retire { task, reason: RetireReason::Unhealthy } => {
                let record = self.world.tasks.get(&task.id);
                let checks = record.iter().flat_map(|record| &record.seen.checks);
                let cause = checks.filter_map(|check| check.last_failure_cause.clone()).next();
                vec![EventKind::UnhealthyKill { task: task.clone(), reason: cause.unwrap_or_default() }]
            }
            Change::Lose { task, reason } => {
                let Some(record) = self.world.tasks.get(task) else { return Vec::new() };
                let (state, message, observed_at) = (TaskState::Lost, reason.clone(), self.clock.now());
                let seen = Observation { state, message, observed_at, ..record.seen.clone() };
                vec![EventKind::TaskStatus { task: record.task.clone(), seen }]
            }
            _ => Vec::new(),
        }
    }
}
