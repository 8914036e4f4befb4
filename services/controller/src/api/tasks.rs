//! Tasks: listed and killed.

use super::Api;
use super::answer::{Failure, deployment_result, json_ok, text, with_deployment};
use super::apps::known;
use super::call::Call;
use super::render::{self, Scene};
use crate::desk::{Answer, Ask};
use axum::response::Response;
use http::StatusCode;
use marathon::Rejection;
use model::{TaskId, TaskState};
use scheduler::{TaskRecord, World};
use serde_json::{Value, json};

/// `GET /v2/tasks`: `status` is `running` or `staging`.
pub fn list(api: &Api, call: &Call) -> Result<Response, Failure> {
    let world = api.desk.view();
    let scene = Scene::of(&world);
    if call.prefers_text() {
        let tables = world.apps.values().map(|record| {
            let tasks = scene.tasks(&record.app.id).iter().map(|task| (task.task.as_ref(), &task.seen));
            marathon::tasks_as_text(&record.app, tasks)
        });
        return Ok(text(tables.collect()));
    }
    let wanted: Vec<&str> = call.values("status").chain(call.values("status[]")).collect();
    let is_wanted = |record: &TaskRecord| {
        let name = if record.seen.state == TaskState::Staging { "staging" } else { "running" };
        wanted.is_empty() || wanted.contains(&name)
    };
    let shown = world.tasks.values().filter(|record| render::is_shown(record) && is_wanted(record));
    let tasks: Vec<Value> = shown.map(|record| render::task(&world, record)).collect();
    Ok(json_ok(&json!({ "tasks": tasks })))
}

/// `GET /v2/apps/{id}/tasks`, and `{group}/*/tasks` for all below. An app without tasks has an empty list (≥ 1.0; Marathon
/// 0.7 answered 404, which no client can tell from an app that does not exist).
pub fn of_app(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let world = api.desk.view();
    if let Some(group) = id.strip_suffix('*') {
        let is_below = |record: &&TaskRecord| record.task.app.as_str().starts_with(group) && render::is_shown(record);
        let tasks: Vec<Value> = world.tasks.values().filter(is_below).map(|task| render::task(&world, task)).collect();
        return Ok(json_ok(&json!({ "tasks": tasks })));
    }
    let id = known(id)?;
    let record = world.apps.get(&id).ok_or_else(|| Failure::no_app(id.as_str()))?;
    let scene = Scene::of(&world);
    if call.prefers_text() {
        let tasks = scene.tasks(&id).iter().map(|task| (task.task.as_ref(), &task.seen));
        return Ok(text(marathon::tasks_as_text(&record.app, tasks)));
    }
    let tasks: Vec<Value> = scene.tasks(&id).iter().map(|task| render::task(&world, task)).collect();
    Ok(json_ok(&json!({ "tasks": tasks })))
}

/// `DELETE /v2/apps/{id}/tasks`: those on `host`, or all.
pub async fn kill_of_app(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    if !world.apps.contains_key(&id) {
        return Err(Failure::no_app(id.as_str()));
    }
    let host = call.value("host").filter(|host| !host.is_empty() && *host != "*");
    let on_host = |record: &&TaskRecord| host.is_none_or(|host| record.task.host == host);
    let of_app = world.tasks.values().filter(|record| record.task.app == id && record.is_active());
    let killed: Vec<&TaskRecord> = of_app.filter(on_host).collect();
    let answer = kill(api, &killed, call).await?;
    let tasks: Vec<Value> = killed.iter().map(|record| render::task(&world, record)).collect();
    Ok(killed_answer(&answer, "tasks", tasks.into(), call))
}

/// `DELETE /v2/apps/{id}/tasks/{task}`
pub async fn kill_one(api: &Api, id: &str, task: &str, call: &Call) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    if !world.apps.contains_key(&id) {
        return Err(Failure::no_app(id.as_str()));
    }
    let record = world.tasks.get(&TaskId::new(task)).filter(|record| record.task.app == id);
    let record = record.filter(|record| render::is_shown(record)).ok_or_else(|| Failure::no_task(task))?;
    let answer = kill(api, &[record], call).await?;
    Ok(killed_answer(&answer, "task", render::task(&world, record), call))
}

/// `POST /v2/tasks/delete` with `{"ids": […]}`; tasks that are already gone are passed over.
pub async fn kill_listed(api: &Api, call: &Call) -> Result<Response, Failure> {
    if call.flag("scale", false) && call.flag("wipe", false) {
        return Err(Failure::message(StatusCode::BAD_REQUEST, "You cannot use scale and wipe at the same time."));
    }
    let ids = ids(&call.json()?)?;
    let world = api.desk.view();
    let killed: Vec<&TaskRecord> = ids.iter().filter_map(|id| existing(&world, id)).collect();
    let answer = kill(api, &killed, call).await?;
    if call.flag("scale", false) {
        return Ok(deployment_result(&answer));
    }
    let tasks: Vec<Value> = killed.iter().map(|record| render::task(&world, record)).collect();
    Ok(json_ok(&json!({ "tasks": tasks })))
}

fn existing<'a>(world: &'a World, id: &TaskId) -> Option<&'a TaskRecord> {
    world.tasks.get(id).filter(|record| render::is_shown(record))
}

fn ids(document: &Value) -> Result<Vec<TaskId>, Failure> {
    let list = document.get("ids").ok_or_else(|| Rejection::json("/ids", "error.path.missing"))?;
    let list = list.as_array().ok_or_else(|| Rejection::json("/ids", "error.expected.jsarray"))?;
    let mut ids = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("/ids({index})");
        let text = value.as_str().ok_or_else(|| Rejection::json(&path, "error.expected.jsstring"))?;
        // `<safe path>.<unique>`, as every task id is made.
        if !text.split_once(['.', '_']).is_some_and(|(app, unique)| !app.is_empty() && !unique.is_empty()) {
            return Err(Failure::message(StatusCode::BAD_REQUEST, format!("Invalid task id '{text}'.")));
        }
        ids.push(TaskId::new(text));
    }
    Ok(ids)
}

async fn kill(api: &Api, records: &[&TaskRecord], call: &Call) -> Result<Answer, Failure> {
    let tasks = records.iter().map(|record| record.task.id.clone()).collect();
    let ask = Ask::KillTasks { tasks, scale: call.flag("scale", false), force: call.flag("force", false) };
    api.ask(ask).await
}

/// The killed tasks; with `scale` also the deployment, which 1.x answers in their place.
fn killed_answer(answer: &Answer, name: &str, tasks: Value, call: &Call) -> Response {
    if !call.flag("scale", false) {
        return json_ok(&json!({ name: tasks }));
    }
    let mut body = marathon::deployment_result(answer.version, answer.deployment.as_ref());
    body[name] = tasks;
    with_deployment(json_ok(&body), answer)
}
