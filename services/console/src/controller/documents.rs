//! The documents of the Marathon API that the pages show. Readers of an API that grew for years: what a version leaves out
//! is empty, what it adds is ignored.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    pub id: String,
    #[serde(default)]
    pub cpus: f64,
    /// MiB
    #[serde(default)]
    pub mem: f64,
    #[serde(default)]
    pub instances: u64,
    #[serde(default)]
    pub tasks_staged: u64,
    #[serde(default)]
    pub tasks_running: u64,
    /// Since 0.8.2.
    pub tasks_healthy: Option<u64>,
    pub tasks_unhealthy: Option<u64>,
    #[serde(default)]
    pub health_checks: Vec<Value>,
    #[serde(default)]
    pub deployments: Vec<DeploymentId>,
    #[serde(default)]
    pub tasks: Vec<Task>,
    pub last_task_failure: Option<TaskFailure>,
    #[serde(default)]
    pub version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DeploymentId {
    pub id: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub id: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub ports: Vec<u16>,
    pub started_at: Option<String>,
    pub staged_at: Option<String>,
    #[serde(default)]
    pub version: String,
    /// An entry is null until its check has a result.
    #[serde(default)]
    pub health_check_results: Vec<Option<HealthCheckResult>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    #[serde(default)]
    pub alive: bool,
    #[serde(default)]
    pub consecutive_failures: u64,
    /// Since 0.11.
    pub last_failure_cause: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub task_id: String,
    #[serde(default)]
    pub timestamp: String,
    #[serde(default)]
    pub version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub id: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub affected_apps: Vec<String>,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// From 1.
    #[serde(default)]
    pub current_step: usize,
}

/// A list of actions until 1.0, an object since.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Step {
    List(Vec<Action>),
    Object { actions: Vec<Action> },
}

impl Step {
    pub fn actions(&self) -> &[Action] {
        match self {
            Self::List(actions) | Self::Object { actions } => actions,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    /// Called `type` in events.
    #[serde(alias = "type")]
    pub action: String,
    #[serde(default)]
    pub app: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct QueueItem {
    pub app: QueuedApp,
    #[serde(default)]
    pub delay: Delay,
}

#[derive(Clone, Debug, Deserialize)]
pub struct QueuedApp {
    pub id: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Delay {
    /// The back-off is over; what is missing is a node with room.
    #[serde(default)]
    pub overdue: bool,
}

/// What the controller's own `/v1/apps/{id}` and `/v1/apps/{id}/explain` tell of an app.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Details {
    /// Where the app is reached; none for an app without ports.
    pub url: Option<String>,
    /// By runtime, what its tasks lack there.
    #[serde(default)]
    pub runtimes: BTreeMap<String, Vec<String>>,
    /// What the app waits for; none when it is as it should be.
    #[serde(default)]
    pub reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_0_7_app_and_its_nulls_are_read() {
        let app = json!({
            "id": "/s3pics", "cmd": "x", "args": null, "container": null, "cpus": 0.1, "mem": 64.0, "instances": 1,
            "tasksStaged": 0, "tasksRunning": 1, "deployments": [], "version": "2015-01-11T12:44:39.000Z",
            "lastTaskFailure": null,
            "tasks": [{
                "id": "s3pics.1", "host": "coreos1.ad.forest", "ports": [31000], "startedAt": null,
                "stagedAt": "2015-01-11T12:44:40.000Z", "version": "v", "healthCheckResults": [null]
            }]
        });
        let app: App = serde_json::from_value(app).unwrap();
        assert_eq!(app.tasks[0].ports, [31000]);
        assert_eq!(app.tasks_healthy, None);
    }

    #[test]
    fn both_shapes_of_a_deployments_steps_are_read() {
        for steps in [
            json!([[{"action": "StartApplication", "app": "/a"}], [{"action": "ScaleApplication", "app": "/a"}]]),
            json!([
                {"actions": [{"action": "StartApplication", "app": "/a"}]},
                {"actions": [{"type": "ScaleApplication", "app": "/a"}]}
            ]),
        ] {
            let deployment: Deployment = serde_json::from_value(json!({"id": "d", "steps": steps})).unwrap();
            let actions: Vec<&str> =
                deployment.steps.iter().flat_map(Step::actions).map(|action| action.action.as_str()).collect();
            assert_eq!(actions, ["StartApplication", "ScaleApplication"]);
        }
    }
}
