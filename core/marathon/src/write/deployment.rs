//! Deployments. `steps` has the shape of 1.x, `[{"actions": [{"action", "app"}]}]`, which marathon-python and the later
//! user interfaces read; older ones look only at the numbers of steps and at `currentActions`.

use model::{Action, App, Deployment, DeploymentId, Step, Timestamp};
use serde_json::{Value, json};

/// An entry of `GET /v2/deployments`.
pub fn deployment(deployment: &Deployment) -> Value {
    let current: Vec<Value> = deployment.current().map_or_else(Vec::new, |step| {
        let current = |action: &Action| {
            json!({ "action": action.kind.name(), "app": action.app.as_str(), "readinessCheckResults": [] })
        };
        step.actions.iter().map(current).collect()
    });
    json!({
        "id": deployment.id.as_str(),
        "version": deployment.version.to_string(),
        "affectedApps": deployment.affected().into_iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "affectedPods": [],
        "steps": deployment.steps.iter().map(|step| step_value(step, false)).collect::<Vec<_>>(),
        "currentActions": current,
        "currentStep": current_step(deployment),
        "totalSteps": deployment.steps.len(),
    })
}

/// What a change answers with. An answer without a deployment names none that could be waited for.
pub fn deployment_result(version: Timestamp, deployment: Option<&DeploymentId>) -> Value {
    let id = deployment.map_or(NO_DEPLOYMENT, |id| id.as_str());
    json!({ "version": version.to_string(), "deploymentId": id })
}

/// Clients poll until the id is gone from `/v2/deployments`; this one is never there.
const NO_DEPLOYMENT: &str = "00000000-0000-0000-0000-000000000000";

/// Steps count from one.
fn current_step(deployment: &Deployment) -> usize {
    (deployment.current_step + 1).min(deployment.steps.len())
}

/// Events name the action `type` until 1.7 and `action` later: they carry both.
fn step_value(step: &Step, typed: bool) -> Value {
    let action = |action: &Action| {
        let mut value = json!({ "action": action.kind.name(), "app": action.app.as_str() });
        if typed {
            value["type"] = action.kind.name().into();
        }
        value
    };
    json!({ "actions": step.actions.iter().map(action).collect::<Vec<_>>() })
}

/// `plan` of an event: the apps concerned, before and after, each as a flat group.
pub fn plan(deployment: &Deployment) -> Value {
    let group = |apps: Vec<&App>| {
        json!({
            "id": "/",
            "apps": apps.into_iter().map(super::app).collect::<Vec<_>>(),
            "groups": [],
            "dependencies": [],
            "version": deployment.version.to_string(),
        })
    };
    json!({
        "id": deployment.id.as_str(),
        "version": deployment.version.to_string(),
        "original": group(deployment.original.values().flatten().collect()),
        "target": group(deployment.target.values().flatten().collect()),
        "steps": deployment.steps.iter().map(|step| step_value(step, true)).collect::<Vec<_>>(),
    })
}

/// `currentStep` of an event: the step's actions.
pub fn step(deployment: &Deployment, index: usize) -> Value {
    deployment.steps.get(index).map_or(Value::Null, |step| step_value(step, true))
}
