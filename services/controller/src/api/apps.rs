//! Reading apps.

use super::Api;
use super::answer::{Failure, json_ok};
use super::call::Call;
use super::render::{Embed, Scene};
use super::selector::Selector;
use axum::response::Response;
use http::StatusCode;
use model::{App, AppId, Timestamp};
use serde_json::{Value, json};

/// `GET /v2/apps`: `cmd` and `id` are parts of theirs, `label` is a selector; all that are given must hold (1.x).
pub fn list(api: &Api, call: &Call) -> Result<Response, Failure> {
    let filter = Filter::of(call)?;
    let embed = embed(call);
    let world = api.desk.view();
    let scene = Scene::of(&world);
    let matching = world.apps.values().filter(|record| filter.matches(&record.app));
    let apps: Vec<Value> = matching.map(|record| scene.app(record, embed)).collect();
    Ok(json_ok(&json!({ "apps": apps })))
}

/// `GET /v2/apps/{group}/*`: the apps below a path; an unknown one has none.
pub fn below(api: &Api, group: &str) -> Result<Response, Failure> {
    let prefix = format!("{}/", group.trim_end_matches('/'));
    let world = api.desk.view();
    let scene = Scene::of(&world);
    let inside = world.apps.values().filter(|record| record.app.id.as_str().starts_with(&prefix));
    let apps: Vec<Value> = inside.map(|record| scene.app(record, Embed::ALL)).collect();
    Ok(json_ok(&json!({ "*": apps })))
}

pub fn show(api: &Api, id: &str) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    let record = world.apps.get(&id).ok_or_else(|| Failure::no_app(id.as_str()))?;
    Ok(json_ok(&json!({ "app": Scene::of(&world).app(record, Embed::ALL) })))
}

/// Newest first.
pub fn versions(api: &Api, id: &str) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    let versions = world.versions.get(&id).filter(|versions| !versions.is_empty());
    let versions = versions.filter(|_| world.apps.contains_key(&id)).ok_or_else(|| Failure::no_app(id.as_str()))?;
    let texts: Vec<String> = versions.keys().rev().map(Timestamp::to_string).collect();
    Ok(json_ok(&json!({ "versions": texts })))
}

pub fn version(api: &Api, id: &str, version: &str) -> Result<Response, Failure> {
    let id = known(id)?;
    let version: Timestamp = version.parse().map_err(|_| {
        let message = format!("Invalid timestamp provided '{version}'. Expecting ISO-8601 datetime string.");
        Failure::message(StatusCode::UNPROCESSABLE_ENTITY, message)
    })?;
    let world = api.desk.view();
    if !world.apps.contains_key(&id) {
        return Err(Failure::no_app(id.as_str()));
    }
    let app = world.versions.get(&id).and_then(|versions| versions.get(&version));
    Ok(json_ok(&marathon::write_app(app.ok_or_else(|| Failure::no_version(&id, version))?)))
}

/// An id that no app can have names none.
pub fn known(id: &str) -> Result<AppId, Failure> {
    AppId::parse(id).map_err(|_| Failure::no_app(id))
}

struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    labels: Vec<Selector>,
}

impl Filter {
    fn of(call: &Call) -> Result<Self, Failure> {
        let part = |name| call.value(name).filter(|text| !text.is_empty()).map(str::to_lowercase);
        let selector = |text: &str| {
            let message = format!("'{text}' is not a label selector");
            Selector::parse(text).ok_or_else(|| Failure::message(StatusCode::BAD_REQUEST, message))
        };
        let labels = call.values("label").map(selector).collect::<Result<_, _>>()?;
        Ok(Self { cmd: part("cmd"), id: part("id"), labels })
    }

    fn matches(&self, app: &App) -> bool {
        let contains = |text: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|part| text.to_lowercase().contains(part.as_str()))
        };
        contains(app.cmd.as_deref().unwrap_or_default(), &self.cmd)
            && contains(app.id.as_str(), &self.id)
            && self.labels.iter().all(|selector| selector.matches(&app.labels))
    }
}

/// `embed=apps.tasks`, `embed=app.failures` and so on: the prefixes are interchangeable. Counts and deployments are always
/// there.
fn embed(call: &Call) -> Embed {
    let mut embed = Embed::default();
    for value in call.values("embed") {
        match value.rsplit('.').next().unwrap_or_default() {
            "tasks" => embed.tasks = true,
            "failures" => embed = Embed::ALL,
            "lastTaskFailure" => embed.last_task_failure = true,
            _ => {}
        }
    }
    embed
}
