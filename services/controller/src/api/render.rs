//! The world as Marathon's JSON: apps with what has become of them, tasks.

use marathon::{AppStatus, TaskCounts};
use model::{App, AppId, DeploymentId, Task};
use scheduler::{AppRecord, TaskRecord, World};
use serde_json::Value;
use std::collections::BTreeMap;

/// A view of the world with its tasks and deployments by app, made once per request.
pub struct Scene<'a> {
    pub world: &'a World,
    tasks: BTreeMap<&'a AppId, Vec<&'a TaskRecord>>,
    deployments: BTreeMap<&'a AppId, Vec<DeploymentId>>,
}

/// What is shown besides counts and deployments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embed {
    pub tasks: bool,
    pub last_task_failure: bool,
}

impl Embed {
    pub const ALL: Self = Self { tasks: true, last_task_failure: true };
}

impl<'a> Scene<'a> {
    pub fn of(world: &'a World) -> Self {
        let mut tasks: BTreeMap<&AppId, Vec<&TaskRecord>> = BTreeMap::new();
        for record in world.tasks.values().filter(|record| is_shown(record)) {
            tasks.entry(&record.task.app).or_default().push(record);
        }
        let mut deployments: BTreeMap<&AppId, Vec<DeploymentId>> = BTreeMap::new();
        for deployment in world.deployments.values() {
            for app in deployment.affected() {
                deployments.entry(app).or_default().push(deployment.id.clone());
            }
        }
        Self { world, tasks, deployments }
    }

    /// The tasks of an app that have not ended.
    pub fn tasks(&self, app: &AppId) -> &[&'a TaskRecord] {
        self.tasks.get(app).map_or(&[], Vec::as_slice)
    }

    pub fn app(&self, record: &AppRecord, embed: Embed) -> Value {
        marathon::write_app_with(&record.app, self.status(record, embed))
    }

    fn status(&self, record: &AppRecord, embed: Embed) -> AppStatus {
        let id = &record.app.id;
        let mut counts = TaskCounts::default();
        for task in self.tasks(id) {
            counts.add(&task.seen, definition_of(self.world, &task.task).map_or(0, |app| app.health_checks.len()));
        }
        let failure = record.last_failure.as_ref().filter(|_| embed.last_task_failure);
        AppStatus {
            counts,
            deployments: self.deployments.get(id).cloned().unwrap_or_default(),
            tasks: embed.tasks.then(|| self.tasks(id).iter().map(|task| self::task(self.world, task)).collect()),
            last_task_failure: failure.map(|failure| {
                let (state, message) = (failure.state, failure.message.as_str());
                marathon::last_task_failure(
                    id,
                    &failure.task,
                    &failure.host,
                    state,
                    message,
                    failure.version,
                    failure.at,
                )
            }),
        }
    }
}

pub fn task(world: &World, record: &TaskRecord) -> Value {
    marathon::task(&record.task, &record.seen, definition_of(world, &record.task))
}

/// Ended tasks are forgotten; until then nobody asks for them.
pub fn is_shown(record: &TaskRecord) -> bool {
    !record.seen.state.is_terminal()
}

fn definition_of<'a>(world: &'a World, task: &Task) -> Option<&'a App> {
    world.app_of(task).map(AsRef::as_ref)
}
