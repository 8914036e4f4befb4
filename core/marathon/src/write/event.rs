//! Events, as `/v2/events` streams them: the same JSON that Marathon posted to its callbacks.

use super::deployment::{plan, step};
use model::{App, AppId, Deployment, Observation, Task, Timestamp};
use serde_json::{Value, json};

fn event(kind: &str, at: Timestamp, fields: Value) -> Value {
    let mut event = json!({ "eventType": kind, "timestamp": at.to_string() });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    event
}

pub fn status_update(at: Timestamp, task: &Task, seen: &Observation) -> Value {
    let fields = json!({
        "slaveId": task.node.as_str(),
        "taskId": task.id.as_str(),
        "taskStatus": seen.state.mesos_name(),
        "message": seen.message,
        "appId": task.app.as_str(),
        "host": task.host,
        "ports": task.ports,
        "ipAddresses": [],
        "version": task.version.to_string(),
    });
    event("status_update_event", at, fields)
}

pub fn health_status_changed(at: Timestamp, task: &Task, alive: bool) -> Value {
    let fields = json!({
        "appId": task.app.as_str(),
        "taskId": task.id.as_str(),
        "version": task.version.to_string(),
        "alive": alive,
    });
    event("health_status_changed_event", at, fields)
}

pub fn unhealthy_task_kill(at: Timestamp, task: &Task, reason: &str) -> Value {
    let fields = json!({
        "appId": task.app.as_str(),
        "taskId": task.id.as_str(),
        "version": task.version.to_string(),
        "reason": reason,
        "host": task.host,
        "slaveId": task.node.as_str(),
    });
    event("unhealthy_task_kill_event", at, fields)
}

pub fn app_terminated(at: Timestamp, app: &AppId) -> Value {
    event("app_terminated_event", at, json!({ "appId": app.as_str() }))
}

/// Someone posted or changed an app.
pub fn post_event(at: Timestamp, client_ip: &str, uri: &str, app: &App) -> Value {
    let fields = json!({ "clientIp": client_ip, "uri": uri, "appDefinition": super::app(app) });
    event("api_post_event", at, fields)
}

/// A change was accepted; its deployment begins.
pub fn group_change_success(at: Timestamp, deployment: &Deployment) -> Value {
    event("group_change_success", at, json!({ "groupId": "/", "version": deployment.version.to_string() }))
}

/// A step of a deployment begins.
pub fn deployment_info(at: Timestamp, deployment: &Deployment, index: usize) -> Value {
    let fields = json!({ "plan": plan(deployment), "currentStep": step(deployment, index) });
    event("deployment_info", at, fields)
}

/// A step ended well.
pub fn deployment_step(at: Timestamp, deployment: &Deployment, index: usize) -> Value {
    let fields = json!({ "plan": plan(deployment), "currentStep": step(deployment, index) });
    event("deployment_step_success", at, fields)
}

pub fn deployment_success(at: Timestamp, deployment: &Deployment) -> Value {
    event("deployment_success", at, json!({ "id": deployment.id.as_str(), "plan": plan(deployment) }))
}

pub fn deployment_failed(at: Timestamp, deployment: &Deployment, reason: &str) -> Value {
    let fields = json!({ "id": deployment.id.as_str(), "plan": plan(deployment), "reason": reason });
    event("deployment_failed", at, fields)
}
