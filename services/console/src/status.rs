//! What the numbers mean: an app's status in one word, and the health of its tasks as a bar. Pure.

use crate::controller::{App, QueueItem, Task};

/// An app's status, in Marathon's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Running,
    Deploying,
    Suspended,
    /// Ready to launch, but no node has room.
    Waiting,
    /// Its tasks failed; the next launch is put off.
    Delayed,
}

impl Status {
    pub fn of(app: &App, queue: &[QueueItem]) -> Self {
        let deploying = !app.deployments.is_empty();
        if app.instances == 0 && app.tasks_running == 0 && !deploying {
            return Self::Suspended;
        }
        if app.tasks_running < app.instances
            && let Some(item) = queue.iter().find(|item| item.app.id == app.id)
        {
            return if item.delay.overdue { Self::Waiting } else { Self::Delayed };
        }
        if deploying { Self::Deploying } else { Self::Running }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Deploying => "Deploying",
            Self::Suspended => "Suspended",
            Self::Waiting => "Waiting",
            Self::Delayed => "Delayed",
        }
    }
}

/// What is known of a task's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Unhealthy,
    /// No check, or no result yet.
    Unknown,
}

impl Health {
    pub fn of(task: &Task) -> Self {
        let results: Vec<bool> = task.health_check_results.iter().flatten().map(|result| result.alive).collect();
        match (results.is_empty(), results.into_iter().all(|alive| alive)) {
            (true, _) => Self::Unknown,
            (false, true) => Self::Healthy,
            (false, false) => Self::Unhealthy,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
            Self::Unknown => "Unknown",
        }
    }
}

/// How many of an app's tasks are in which state. What lacks to the instances wanted is `missing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthBar {
    pub healthy: u64,
    pub unhealthy: u64,
    /// Running, with no check or no result yet.
    pub running: u64,
    pub staged: u64,
    pub missing: u64,
}

impl HealthBar {
    pub fn of(app: &App) -> Self {
        let counted = |health| app.tasks.iter().filter(|task| Health::of(task) == health).count() as u64;
        let healthy = app.tasks_healthy.unwrap_or_else(|| counted(Health::Healthy)).min(app.tasks_running);
        let unhealthy = app.tasks_unhealthy.unwrap_or_else(|| counted(Health::Unhealthy));
        let unhealthy = unhealthy.min(app.tasks_running - healthy);
        let running = app.tasks_running - healthy - unhealthy;
        let missing = app.instances.saturating_sub(app.tasks_running.saturating_add(app.tasks_staged));
        Self { healthy, unhealthy, running, staged: app.tasks_staged, missing }
    }

    /// Each part's name and count, in the order drawn.
    pub fn parts(self) -> [(&'static str, u64); 5] {
        [
            ("healthy", self.healthy),
            ("unhealthy", self.unhealthy),
            ("running", self.running),
            ("staged", self.staged),
            ("missing", self.missing),
        ]
    }

    /// For people who do not see the bar: `19 healthy, 1 staged`.
    pub fn describe(self) -> String {
        let parts: Vec<String> = self
            .parts()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if parts.is_empty() { String::from("no tasks") } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(fields: serde_json::Value) -> App {
        let mut document = json!({"id": "/a"});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    fn queue(overdue: bool) -> Vec<QueueItem> {
        vec![serde_json::from_value(json!({"app": {"id": "/a"}, "delay": {"overdue": overdue}})).unwrap()]
    }

    #[test]
    fn each_status_has_its_cause() {
        let running = app(json!({"instances": 1, "tasksRunning": 1}));
        assert_eq!(Status::of(&running, &[]), Status::Running);
        assert_eq!(Status::of(&running, &queue(true)), Status::Running, "what is queued is not missing");
        let deploying = app(json!({"instances": 2, "tasksRunning": 1, "deployments": [{"id": "d"}]}));
        assert_eq!(Status::of(&deploying, &[]), Status::Deploying);
        assert_eq!(Status::of(&deploying, &queue(true)), Status::Waiting);
        assert_eq!(Status::of(&deploying, &queue(false)), Status::Delayed);
        let suspended = app(json!({"instances": 0}));
        assert_eq!(Status::of(&suspended, &[]), Status::Suspended);
        let suspending = app(json!({"instances": 0, "tasksRunning": 3, "deployments": [{"id": "d"}]}));
        assert_eq!(Status::of(&suspending, &[]), Status::Deploying);
    }

    #[test]
    fn the_bar_adds_up_even_where_the_numbers_do_not() {
        let bar = HealthBar::of(&app(
            json!({"instances": 20, "tasksRunning": 12, "tasksStaged": 3, "tasksHealthy": 10, "tasksUnhealthy": 1}),
        ));
        assert_eq!(bar, HealthBar { healthy: 10, unhealthy: 1, running: 1, staged: 3, missing: 5 });
        assert_eq!(bar.describe(), "10 healthy, 1 unhealthy, 1 running, 3 staged, 5 missing");
        let bar =
            HealthBar::of(&app(json!({"instances": 1, "tasksRunning": 1, "tasksHealthy": 9, "tasksUnhealthy": 9})));
        assert_eq!(bar, HealthBar { healthy: 1, ..HealthBar::default() });
        assert_eq!(HealthBar::of(&app(json!({}))).describe(), "no tasks");
    }

    #[test]
    fn without_counts_the_tasks_results_are_counted() {
        let task = |alive: bool| json!({"id": "t", "healthCheckResults": [{"alive": alive}]});
        let bar = HealthBar::of(&app(json!({"instances": 2, "tasksRunning": 2, "tasks": [task(true), task(false)]})));
        assert_eq!((bar.healthy, bar.unhealthy, bar.running), (1, 1, 0));
    }

    #[test]
    fn a_task_is_healthy_when_every_check_says_so() {
        let health = |results: serde_json::Value| {
            Health::of(&serde_json::from_value(json!({"id": "t", "healthCheckResults": results})).unwrap())
        };
        assert_eq!(health(json!([])), Health::Unknown);
        assert_eq!(health(json!([null])), Health::Unknown);
        assert_eq!(health(json!([{"alive": true}, null])), Health::Healthy);
        assert_eq!(health(json!([{"alive": true}, {"alive": false}])), Health::Unhealthy);
    }
}
