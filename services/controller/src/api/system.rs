//! What the service says of itself.

use super::Api;
use super::answer::{Failure, json_ok, text};
use super::call::Call;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use marathon::{Info, TaskCounts};
use serde_json::json;

pub fn info(api: &Api) -> Result<Response, Failure> {
    let context = &api.context;
    let info = Info {
        leader: context.leader.clone(),
        framework_id: context.framework_id.clone(),
        hostname: context.hostname.clone(),
        http_port: context.http_port,
    };
    Ok(json_ok(&marathon::info(&info)))
}

pub fn leader(api: &Api) -> Result<Response, Failure> {
    Ok(json_ok(&json!({ "leader": api.context.leader })))
}

/// The spelling is Marathon's; clients compare it.
pub fn abdicate(api: &Api) -> Result<Response, Failure> {
    api.context.stop.request();
    Ok(json_ok(&json!({ "message": "Leadership abdicted" })))
}

pub fn ping() -> Result<Response, Failure> {
    Ok(text("pong".to_owned()))
}

/// Prometheus' text; Marathon's own form, with what its users watched, for those who accept only JSON.
pub fn metrics(api: &Api, call: &Call) -> Result<Response, Failure> {
    if !call.prefers_json() {
        let body = lifecycle::metrics::render(&api.context.registry);
        return Ok(([(CONTENT_TYPE, lifecycle::metrics::CONTENT_TYPE)], body).into_response());
    }
    let world = api.desk.view();
    let mut counts = TaskCounts::default();
    for record in world.tasks.values() {
        counts.add(&record.seen, world.app_of(&record.task).map_or(0, |app| app.health_checks.len()));
    }
    let gauge = |value: usize| json!({ "value": value });
    Ok(json_ok(&json!({
        "version": "3.0.0",
        "gauges": {
            "service.mesosphere.marathon.app.count": gauge(world.apps.len()),
            "service.mesosphere.marathon.task.running.count": gauge(counts.running as usize),
            "service.mesosphere.marathon.task.staged.count": gauge(counts.staged as usize),
            "service.mesosphere.marathon.deployment.count": gauge(world.deployments.len()),
        },
        "counters": {},
        "histograms": {},
        "meters": {},
        "timers": {},
    })))
}
