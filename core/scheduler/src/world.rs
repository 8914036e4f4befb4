//! Everything the scheduler knows. The controller keeps one, feeds it with what was stored and what was seen, and plans
//! from it; the API renders from an immutable copy.

use crate::{Brake, Standing};
use model::{App, AppId, Deployment, DeploymentId, Node, NodeId, Observation, Task, TaskId, TaskState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct World {
    /// The current definition of each app, and what has happened to it.
    pub apps: BTreeMap<AppId, AppRecord>,
    /// Every kept version of every app, the current one among them.
    pub versions: BTreeMap<AppId, BTreeMap<Timestamp, Arc<App>>>,
    pub tasks: BTreeMap<TaskId, TaskRecord>,
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    pub deployments: BTreeMap<DeploymentId, Arc<Deployment>>,
    /// Live sessions of edges.
    pub edges: BTreeMap<String, EdgeRecord>,
    /// Host ports that another program was found to hold, until when they are chosen last.
    pub shunned_ports: BTreeMap<(NodeId, u16), Timestamp>,
    /// Set while so many nodes are silent at once that none of them is given up.
    pub brake: Option<Brake>,
    /// When it was seen to hold last.
    pub braked_at: Timestamp,
    /// Why the store refuses an app's changes (`None`: those of no app); they are tried again with every plan.
    pub refused: BTreeMap<Option<AppId>, String>,
}

#[derive(Clone, Debug)]
pub struct AppRecord {
    pub app: Arc<App>,
    pub backoff: Backoff,
    pub last_failure: Option<Failure>,
}

/// Failed launches delay the next one, see [`launch_delay`](crate::launch_delay).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub task: TaskId,
    pub host: String,
    pub state: model::TaskState,
    pub message: String,
    pub version: Timestamp,
    pub at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct TaskRecord {
    pub task: Arc<Task>,
    pub seen: Observation,
    /// The store's revision at which its server left the route; an edge that has applied it sends nothing new.
    pub unrouted_at: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct NodeRecord {
    pub node: Arc<Node>,
    /// A session is open.
    pub connected: bool,
    /// When its agent last said something; the detectors' only input.
    pub last_seen: Timestamp,
    /// The highest desired generation sent to it.
    pub generation: u64,
    /// As judged last.
    pub standing: Standing,
}

#[derive(Clone, Debug, Default)]
pub struct EdgeRecord {
    /// Where it serves requests, `host:port`; empty when it did not say.
    pub address: String,
    /// The node it runs on, where it said so.
    pub node: Option<NodeId>,
    pub applied_revision: i64,
    /// It answers the challenges of certificate authorities as of here; 0: it did not say.
    pub challenges_revision: i64,
    /// URLs of servers that left the table and still have requests in flight.
    pub busy: BTreeSet<String>,
    pub last_seen: Timestamp,
}

impl AppRecord {
    pub fn new(app: Arc<App>) -> Self {
        Self { app, backoff: Backoff::default(), last_failure: None }
    }
}

impl NodeRecord {
    /// A node without a session.
    pub fn new(node: Arc<Node>, last_seen: Timestamp) -> Self {
        let standing = if node.draining { Standing::Draining } else { Standing::Live };
        Self { node, connected: false, last_seen, generation: 0, standing }
    }

    /// `host name (id)`, or the id alone where they are the same.
    pub(crate) fn name(&self) -> String {
        let Node { id, hostname, .. } = &*self.node;
        if id.as_str() == hostname { hostname.clone() } else { format!("{hostname} ({id})") }
    }
}

impl TaskRecord {
    /// A task read from the store by a controller that has not heard of it yet. It counts as running: nothing is started
    /// in its place and nothing stopped, until its agent has spoken.
    pub fn unreported(task: Arc<Task>, unrouted_at: Option<i64>) -> Self {
        Self { task, seen: Observation::staging(Timestamp::EPOCH), unrouted_at }
    }

    /// Launched or reported since this controller started.
    pub fn is_known(&self) -> bool {
        self.seen.observed_at != Timestamp::EPOCH
    }

    /// Wanted, and not seen to have ended.
    pub fn is_active(&self) -> bool {
        self.task.intent.is_run() && !self.seen.state.is_terminal()
    }

    /// Running, and each of its checks has succeeded at least once.
    pub(crate) fn was_healthy(&self) -> bool {
        self.seen.state == TaskState::Running
            && !self.seen.checks.is_empty()
            && self.seen.checks.iter().all(|check| check.first_success.is_some() && !check.gave_up)
    }
}

impl World {
    /// The definition a task was launched from.
    pub fn app_of(&self, task: &Task) -> Option<&Arc<App>> {
        self.versions.get(&task.app).and_then(|versions| versions.get(&task.version))
    }

    /// Wanted, running, and every check alive.
    pub fn is_healthy(&self, record: &TaskRecord) -> bool {
        let checks_expected = self.app_of(&record.task).map_or(0, |app| app.health_checks.len());
        record.is_active() && record.seen.is_healthy(checks_expected)
    }

    /// The deployment that has an app locked.
    pub fn deployment_of(&self, app: &AppId) -> Option<&Arc<Deployment>> {
        self.deployments.values().find(|deployment| deployment.target.contains_key(app))
    }

    /// Healthy, and its node has said so lately.
    pub(crate) fn is_up(&self, record: &TaskRecord) -> bool {
        let standing = self.nodes.get(&record.task.node).map(|node| node.standing);
        self.is_healthy(record) && standing.is_some_and(Standing::is_heard)
    }

    /// Wanted, not seen to have ended, and on a node that was not given up.
    pub fn counts(&self, record: &TaskRecord) -> bool {
        record.is_active() && !self.is_given_up(&record.task.node)
    }

    /// Lost, or removed: its tasks run on elsewhere, as far as there is room.
    pub(crate) fn is_given_up(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_none_or(|record| record.standing.is_lost())
    }

    pub(crate) fn is_connected(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|record| record.connected)
    }

    pub(crate) fn is_draining(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|record| record.node.draining)
    }
}
