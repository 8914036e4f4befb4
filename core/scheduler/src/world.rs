//! Everything the scheduler knows. The controller keeps one, feeds it with what was stored and what was seen, and plans
//! from it; the API renders from an immutable copy.

use model::{App, AppId, Deployment, DeploymentId, Node, NodeId, Observation, Task, TaskId, Timestamp};
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
}

#[derive(Clone, Debug)]
pub struct AppRecord {
    pub app: Arc<App>,
    pub backoff: Backoff,
    pub last_failure: Option<Failure>,
}

/// Failed launches delay the next one: `backoff × factor^failures`, bounded by the app's launch_delay_max.
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
    pub last_seen: Timestamp,
    /// The highest desired generation sent to it.
    pub generation: u64,
}

#[derive(Clone, Debug, Default)]
pub struct EdgeRecord {
    pub applied_revision: i64,
    /// URLs of servers that left the table and still have requests in flight.
    pub busy: BTreeSet<String>,
    pub last_seen: Timestamp,
}
