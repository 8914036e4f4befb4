//! What a plan or a request changes, as data. The controller makes each durable before it applies it.

use crate::{AppRecord, Backoff, Failure, TaskRecord, World};
use model::{App, AppId, Deployment, Node, NodeId, Observation, Task, TaskId, Timestamp};
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Change {
    /// The app's current definition; also kept as a version.
    Define(Arc<App>),
    Remove(AppId),
    ForgetVersions {
        app: AppId,
        versions: Vec<Timestamp>,
    },
    StartDeployment(Arc<Deployment>),
    /// One step has ended and the next has begun.
    AdvanceDeployment(Arc<Deployment>),
    /// With a reason, it was given up.
    EndDeployment {
        deployment: Arc<Deployment>,
        failure: Option<String>,
    },
    Launch(Arc<Task>),
    /// The task as it is from now on: draining or stopping.
    Retire {
        task: Arc<Task>,
        reason: RetireReason,
    },
    /// An ended task, which nothing asks for any more.
    Forget(TaskId),
    /// A task of a node that was given up. Its agent stops it when it is back and finds it in no desired set.
    Lose {
        task: TaskId,
        reason: String,
    },
    /// A node as the cluster wants it from now on.
    DefineNode(Arc<Node>),
    RemoveNode(NodeId),
    /// Kept in memory only.
    Shun {
        node: NodeId,
        ports: Vec<u16>,
        since: Timestamp,
        until: Timestamp,
    },
    /// Kept in memory only: a controller that restarts tries at once.
    Delay {
        app: AppId,
        backoff: Backoff,
        failure: Option<Failure>,
    },
}

/// Why a task is drained or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireReason {
    ScaledDown,
    Replaced,
    AppRemoved,
    Killed,
    Unhealthy,
    NeverStarted,
    NodeDraining,
    Drained,
}

impl fmt::Display for RetireReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScaledDown => "scaled down",
            Self::Replaced => "replaced by a newer version",
            Self::AppRemoved => "its app was removed",
            Self::Killed => "killed on request",
            Self::Unhealthy => "a health check gave up",
            Self::NeverStarted => "it did not start in time",
            Self::NodeDraining => "its node is being drained",
            Self::Drained => "drained",
        })
    }
}

impl World {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Define(app) => {
                self.versions.entry(app.id.clone()).or_default().insert(app.version, app.clone());
                let record = self.apps.entry(app.id.clone()).or_insert_with(|| AppRecord::new(app.clone()));
                if record.app.version != app.version {
                    record.backoff = Backoff::default();
                }
                record.app = app.clone();
            }
            Change::Remove(app) => {
                self.apps.remove(app);
            }
            Change::ForgetVersions { app, versions } => {
                if let Some(kept) = self.versions.get_mut(app) {
                    kept.retain(|version, _| !versions.contains(version));
                    if kept.is_empty() {
                        self.versions.remove(app);
                    }
                }
            }
            Change::StartDeployment(deployment) | Change::AdvanceDeployment(deployment) => {
                self.deployments.insert(deployment.id.clone(), deployment.clone());
            }
            Change::EndDeployment { deployment, .. } => {
                self.deployments.remove(&deployment.id);
            }
            Change::Launch(task) => {
                let seen = Observation::staging(task.staged_at);
                self.tasks.insert(task.id.clone(), TaskRecord { task: task.clone(), seen, unrouted_at: None });
            }
            Change::Retire { task, .. } => {
                if let Some(record) = self.tasks.get_mut(&task.id) {
                    record.task = task.clone();
                }
            }
            Change::Forget(task) | Change::Lose { task, .. } => {
                self.tasks.remove(task);
            }
            Change::DefineNode(node) => {
                if let Some(record) = self.nodes.get_mut(&node.id) {
                    record.node = node.clone();
                }
            }
            Change::RemoveNode(node) => {
                self.nodes.remove(node);
            }
            Change::Shun { node, ports, since, until } => {
                self.shunned_ports.retain(|_, until| since < until);
                self.shunned_ports.extend(ports.iter().map(|port| ((node.clone(), *port), *until)));
            }
            Change::Delay { app, backoff, failure } => {
                if let Some(record) = self.apps.get_mut(app) {
                    record.backoff = *backoff;
                    if let Some(failure) = failure {
                        record.last_failure = Some(failure.clone());
                    }
                }
            }
        }
    }
}
