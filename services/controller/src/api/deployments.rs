//! Deployments and the launch queue.

use super::answer::{Failure, deployment_result, json_ok};
use super::apps::known;
use super::call::Call;
use super::{Api, now};
use crate::desk::Ask;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::DeploymentId;
use scheduler::World;
use serde_json::{Value, json};

pub fn list(api: &Api) -> Result<Response, Failure> {
    let world = api.desk.view();
    let deployments: Vec<Value> =
        world.deployments.values().map(|deployment| marathon::deployment(deployment)).collect();
    Ok(json_ok(&deployments.into()))
}

/// Without `force`: 200 and the inverse deployment. With it: 202 and nothing.
pub async fn cancel(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let force = call.flag("force", false);
    let answer = api.ask(Ask::CancelDeployment { id: DeploymentId::new(id), force }).await?;
    if force { Ok(StatusCode::ACCEPTED.into_response()) } else { Ok(deployment_result(&answer)) }
}

/// `GET /v2/queue`: the apps with instances that have no task yet, how many, and what they wait for.
pub fn queue(api: &Api) -> Result<Response, Failure> {
    let world = api.desk.view();
    let now = now();
    let mut queue = Vec::new();
    for record in world.apps.values() {
        let waiting = waiting(&world, record);
        if waiting == 0 {
            continue;
        }
        let left = record.backoff.until.map_or(0, |until| until.since(now).as_millis().div_ceil(1000) as u64);
        queue.push(json!({
            "app": marathon::write_app(&record.app),
            "count": waiting,
            "since": record.app.version.to_string(),
            "delay": { "timeLeftSeconds": left, "overdue": left == 0 },
        }));
    }
    Ok(json_ok(&json!({ "queue": queue })))
}

/// `DELETE /v2/queue/{id}/delay`
pub async fn reset_delay(api: &Api, id: &str) -> Result<Response, Failure> {
    let missing = || Failure::not_found(format!("Application {id} not found in tasks queue."));
    let id = known(id).map_err(|_| missing())?;
    if !api.desk.view().apps.contains_key(&id) {
        return Err(missing());
    }
    api.ask(Ask::ResetDelay { app: id }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn waiting(world: &World, record: &scheduler::AppRecord) -> usize {
    let active = world.tasks.values().filter(|task| task.task.app == record.app.id && task.is_active()).count();
    (record.app.instances as usize).saturating_sub(active)
}
