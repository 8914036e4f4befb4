//! `roadstead app show`: one app, for a person who wants to know how it is.

use super::Common;
use crate::cli::output::{age, table, text};
use model::AppId;
use serde_json::Value;

pub async fn run(id: &AppId, common: &Common) -> anyhow::Result<()> {
    let api = common.connection.api()?;
    let mut details: Value = api.get(&format!("/v1/apps{id}")).await?;
    let mut explained: Value = api.get(&format!("/v1/apps{id}/explain")).await?;
    let mut app = details["app"].take();
    app["url"] = details["url"].take();
    app["runtimes"] = details["runtimes"].take();
    app["reasons"] = explained["reasons"].take();
    common.output.say(&describe(&app, jiff::Timestamp::now()), &app)
}

pub fn status(app: &Value) -> &'static str {
    if !list(&app["deployments"]).is_empty() {
        "deploying"
    } else if app["instances"] == 0 {
        "suspended"
    } else if app["tasksRunning"].as_u64() < app["instances"].as_u64() {
        "waiting"
    } else {
        "running"
    }
}

/// `app` is Marathon's app with `url`, `runtimes` and `reasons` beside its fields.
fn describe(app: &Value, now: jiff::Timestamp) -> String {
    let mut lines = vec![format!("{}  {}", text(&app["id"]), status(app))];
    // A name stands once, before the first of its values.
    let mut tell = |name: &str, values: Vec<String>| {
        for (index, value) in values.into_iter().filter(|value| !value.is_empty()).enumerate() {
            lines.push(format!("  {:<10}  {value}", if index == 0 { name } else { "" }));
        }
    };
    tell("served at", vec![text(&app["url"])]);
    tell("instances", vec![instances(app)]);
    tell("each", vec![format!("{} cpus, {} MiB", text(&app["cpus"]), text(&app["mem"]))]);
    tell("image", vec![text(&app["container"]["docker"]["image"])]);
    tell("command", vec![text(&app["cmd"])]);
    tell("version", vec![text(&app["version"])]);
    tell("waits for", reasons(app));
    tell("failed", vec![last_failure(app, now)]);
    for (runtime, limits) in app["runtimes"].as_object().into_iter().flatten() {
        tell("runtime", vec![runtime.clone()]);
        tell("limits", list(limits).iter().map(text).collect());
    }
    let tasks = list(&app["tasks"]);
    if !tasks.is_empty() {
        let rows = tasks.iter().map(|task| row(task, now)).collect();
        lines.push(format!("\n{}", table(&["task", "address", "state", "since", "health"], rows)));
    }
    lines.join("\n")
}

fn instances(app: &Value) -> String {
    let running = format!("{} of {} running", text(&app["tasksRunning"]), text(&app["instances"]));
    match list(&app["healthChecks"]) {
        [] => running,
        _ => format!("{running}, {} healthy", text(&app["tasksHealthy"])),
    }
}

/// What the app waits for; the last failure, which has a line of its own, left out.
fn reasons(app: &Value) -> Vec<String> {
    list(&app["reasons"]).iter().map(text).filter(|reason| !reason.starts_with("the last failure was ")).collect()
}

pub fn last_failure(app: &Value, now: jiff::Timestamp) -> String {
    let failure = &app["lastTaskFailure"];
    if !failure.is_object() {
        return String::new();
    }
    let cause = match &failure["message"] {
        Value::String(message) if !message.is_empty() => message.clone(),
        _ => text(&failure["state"]),
    };
    let ago = age(&failure["timestamp"], now);
    format!("{} on {}, {ago} ago: {cause}", text(&failure["taskId"]), text(&failure["host"]))
}

fn row(task: &Value, now: jiff::Timestamp) -> Vec<String> {
    let ports: Vec<String> = list(&task["ports"]).iter().map(text).collect();
    let separator = if ports.is_empty() { "" } else { ":" };
    let state = text(&task["state"]);
    let since = if task["startedAt"].is_string() { &task["startedAt"] } else { &task["stagedAt"] };
    vec![
        text(&task["id"]),
        format!("{}{separator}{}", text(&task["host"]), ports.join(",")),
        state.strip_prefix("TASK_").unwrap_or(&state).to_lowercase(),
        age(since, now),
        health(task),
    ]
}

fn health(task: &Value) -> String {
    let results = list(&task["healthCheckResults"]);
    let sick = results.iter().find(|result| result["alive"] != true);
    match sick {
        None if results.is_empty() => "-".to_owned(),
        None => "healthy".to_owned(),
        Some(result) => match &result["lastFailureCause"] {
            Value::String(cause) => format!("not healthy: {cause}"),
            _ => "not healthy yet".to_owned(),
        },
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_app_that_is_not_placed_says_why() {
        let app = json!({
            "id": "/big", "instances": 1, "tasksRunning": 0, "cpus": 100.0, "mem": 128.0, "cmd": "sleep 9",
            "deployments": [{ "id": "d-1" }], "version": "2026-01-01T00:00:00.000Z", "url": "http://big.localhost/",
            "reasons": ["1 of 1 instances are missing", "node vm (vm-1): needs 100 cpus, 3.9 are free"],
            "runtimes": {}, "tasks": [],
        });
        let expected = "/big  deploying
  served at   http://big.localhost/
  instances   0 of 1 running
  each        100 cpus, 128 MiB
  command     sleep 9
  version     2026-01-01T00:00:00.000Z
  waits for   1 of 1 instances are missing
              node vm (vm-1): needs 100 cpus, 3.9 are free";
        assert_eq!(describe(&app, jiff::Timestamp::UNIX_EPOCH), expected);
    }

    #[test]
    fn a_task_tells_its_address_and_its_health() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let mut task = json!({
            "id": "web.1", "host": "vm", "ports": [31000, 31001], "state": "TASK_RUNNING",
            "startedAt": "2026-01-01T00:00:30.000Z",
        });
        assert_eq!(row(&task, now), ["web.1", "vm:31000,31001", "running", "30 s", "-"]);
        task["healthCheckResults"] = json!([{ "alive": true }]);
        assert_eq!(row(&task, now)[4], "healthy");
        task["healthCheckResults"] = json!([{ "alive": true }, { "alive": false, "lastFailureCause": "refused" }]);
        assert_eq!(row(&task, now)[4], "not healthy: refused");
    }
}
