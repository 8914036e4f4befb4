//! Apps, tasks, deployments and events into JSON.

mod app;
mod deployment;
mod event;
pub mod info;
mod task;

#[cfg(test)]
mod tests;

pub use app::{AppStatus, app, app_with, last_task_failure};
pub use deployment::{deployment, deployment_result};
pub use event::{
    app_terminated, deployment_failed, deployment_info, deployment_step, deployment_success, group_change_success,
    health_status_changed, post_event, status_update, unhealthy_task_kill,
};
pub use info::info;
pub use task::{TaskCounts, task, tasks_as_text};

use serde_json::Value;
use std::time::Duration;

/// Whole seconds as an integer, others as a fraction.
fn seconds(duration: Duration) -> Value {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis.is_multiple_of(1000) { (millis / 1000).into() } else { (millis as f64 / 1000.0).into() }
}
