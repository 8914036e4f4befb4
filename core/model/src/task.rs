//! A task: one instance of an app on a node. What is wanted of it ([`Intent`]) and what was seen of it ([`Observation`])
//! are separate, with one writer each: the controller and the agent.

use crate::{AppId, NodeId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

/// The controller's record, stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub app: AppId,
    pub version: Timestamp,
    pub node: NodeId,
    /// The node's host name, as Marathon shows it.
    pub host: String,
    /// What an edge dials.
    pub address: String,
    /// Host ports, in the order of the app's port mappings.
    pub ports: Vec<u16>,
    pub staged_at: Timestamp,
    /// The host name inside the container: short, unique, valid in DNS.
    pub container_name: String,
    pub intent: Intent,
}

/// What is wanted of a task. It only moves forward: run, drain, stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "lowercase")]
pub enum Intent {
    Run,
    /// It left its route; it stops once every edge has said that nothing is in flight, or the grace has ended.
    Drain {
        since: Timestamp,
        reason: String,
    },
    Stop {
        since: Timestamp,
        reason: String,
    },
}

impl Intent {
    pub fn is_run(&self) -> bool {
        matches!(self, Self::Run)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    Staging,
    Running,
    Killing,
    Finished,
    Failed,
    Killed,
    Error,
    Lost,
}

impl TaskState {
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed | Self::Error | Self::Lost)
    }

    /// Mesos' name: `TASK_RUNNING`.
    pub fn mesos_name(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
        }
    }
}

/// The agent's report, kept in memory: a session repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub state: TaskState,
    pub message: String,
    pub started_at: Option<Timestamp>,
    /// When it was first seen in this state.
    pub observed_at: Timestamp,
    /// One per health check of the app, in its order.
    pub checks: Vec<CheckResult>,
    pub exit_code: Option<i32>,
}

impl Observation {
    /// What is known of a task nobody has reported yet.
    pub fn staging(now: Timestamp) -> Self {
        let message = String::new();
        Self { state: TaskState::Staging, message, started_at: None, observed_at: now, checks: vec![], exit_code: None }
    }

    /// Running, and every check (if there are any) alive.
    pub fn is_healthy(&self, checks_expected: usize) -> bool {
        self.state == TaskState::Running
            && self.checks.len() >= checks_expected
            && self.checks.iter().all(|check| check.alive)
    }

    /// A check failed more often than its app allows.
    pub fn is_given_up(&self) -> bool {
        self.checks.iter().any(|check| check.gave_up)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckResult {
    pub alive: bool,
    pub consecutive_failures: u32,
    pub first_success: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    pub last_failure: Option<Timestamp>,
    pub last_failure_cause: Option<String>,
    pub gave_up: bool,
}
