//! Tasks: one as JSON, the endpoints of an app as text, and how many there are of each kind.

use model::{App, CheckResult, Observation, Task, TaskState};
use serde_json::{Value, json};

/// `tasksStaged`, `tasksRunning`, `tasksHealthy`, `tasksUnhealthy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    pub staged: u32,
    pub running: u32,
    pub healthy: u32,
    pub unhealthy: u32,
}

impl TaskCounts {
    /// Adds one task; a running one without checks is neither healthy nor unhealthy.
    pub fn add(&mut self, seen: &Observation, checks_expected: usize) {
        match seen.state {
            TaskState::Staging => self.staged += 1,
            TaskState::Running | TaskState::Killing => {
                self.running += 1;
                if checks_expected > 0 && seen.is_healthy(checks_expected) {
                    self.healthy += 1;
                } else if seen.checks.iter().any(|check| !check.alive && check.last_failure.is_some()) {
                    self.unhealthy += 1;
                }
            }
            _ => {}
        }
    }
}

/// One task. `app` is its definition at its version, when that is still kept.
pub fn task(task: &Task, seen: &Observation, app: Option<&App>) -> Value {
    let mut value = json!({
        "id": task.id.as_str(),
        "appId": task.app.as_str(),
        "host": task.host,
        "ports": task.ports,
        "startedAt": seen.started_at.map(|at| at.to_string()),
        "stagedAt": task.staged_at.to_string(),
        "version": task.version.to_string(),
        "state": seen.state.mesos_name(),
        "slaveId": task.node.as_str(),
        "ipAddresses": [],
        "localVolumes": [],
    });
    if let Some(app) = app {
        value["servicePorts"] = app.ports.iter().map(|port| Value::from(port.service_port)).collect();
    }
    // A check that has not been answered yet has no result to show.
    let has_result = |check: &&CheckResult| check.last_success.is_some() || check.last_failure.is_some();
    let results: Vec<Value> = seen.checks.iter().filter(has_result).map(|check| check_result(task, check)).collect();
    if app.is_none_or(|app| !app.health_checks.is_empty()) {
        value["healthCheckResults"] = results.into();
    }
    value
}

fn check_result(task: &Task, check: &CheckResult) -> Value {
    json!({
        "taskId": task.id.as_str(),
        "alive": check.alive,
        "consecutiveFailures": check.consecutive_failures,
        "firstSuccess": check.first_success.map(|at| at.to_string()),
        "lastFailure": check.last_failure.map(|at| at.to_string()),
        "lastSuccess": check.last_success.map(|at| at.to_string()),
        "lastFailureCause": check.last_failure_cause,
    })
}

/// One line per service port: `safeId`, the port, then `host:port` of each running task, each followed by a tab; an app
/// without ports lists its hosts.
pub fn tasks_as_text<'a>(app: &App, tasks: impl Iterator<Item = (&'a Task, &'a Observation)>) -> String {
    let running: Vec<&Task> =
        tasks.filter(|(_, seen)| seen.state == TaskState::Running).map(|(task, _)| task).collect();
    let name = app.id.safe_path();
    let mut text = String::new();
    if app.ports.is_empty() {
        text.push_str(&format!("{name}\t \t"));
        running.iter().for_each(|task| text.push_str(&format!("{}\t", task.host)));
        text.push('\n');
    }
    for (index, port) in app.ports.iter().enumerate() {
        text.push_str(&format!("{name}\t{}\t", port.service_port));
        for task in &running {
            if let Some(host_port) = task.ports.get(index) {
                text.push_str(&format!("{}:{host_port}\t", task.host));
            }
        }
        text.push('\n');
    }
    text
}
