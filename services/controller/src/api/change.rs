//! Changing apps: every request is one deployment.

use super::answer::{Failure, deployment_result, json_with, with_deployment};
use super::apps::known;
use super::call::Call;
use super::render::{Embed, Scene};
use super::{Api, now};
use crate::desk::{Answer, Ask};
use crate::routes::{self, BadLabel};
use axum::response::Response;
use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use marathon::{AppStatus, Change, Rejection};
use model::{App, AppId};
use scheduler::World;
use std::sync::Arc;

/// `POST /v2/apps`
pub async fn create(api: &Api, call: &Call) -> Result<Response, Failure> {
    let app = servable(api, marathon::app(&call.json()?, None)?)?;
    refuse_clash(api.desk.view().apps.keys(), &app.id)?;
    // Whether it exists is for the leader to say, which answers one request after the other.
    let ask = Ask::Create { app: Box::new(app.clone()), force: call.flag("force", false) };
    let answer = api.ask(ask).await?;
    tell_posted(api, call, &answer, vec![app.clone()]);
    Ok(created(api, &app, &answer))
}

/// `PUT` and `PATCH /v2/apps/{id}`: the given fields are merged onto the app (`partialUpdate=false`: onto the defaults). An
/// app that does not exist is created by PUT.
pub async fn update(api: &Api, id: &str, call: &Call, is_patch: bool) -> Result<Response, Failure> {
    let id = AppId::parse(id)?;
    let document = call.json()?;
    let change = marathon::change(&document, Some(&id))?;
    let world = api.desk.view();
    let exists = world.apps.contains_key(change.id());
    if !exists && is_patch {
        return Err(Failure::no_app(change.id().as_str()));
    }
    let app = applied(api, &world, &change, call.flag("partialUpdate", true))?;
    if !exists {
        refuse_clash(world.apps.keys(), &app.id)?;
        let answer = put(api, vec![app.clone()], call).await?;
        return Ok(created(api, &app, &answer));
    }
    let answer = put(api, vec![app], call).await?;
    Ok(deployment_result(&answer))
}

/// `PUT` and `PATCH /v2/apps`: several updates, one deployment.
pub async fn update_all(api: &Api, call: &Call) -> Result<Response, Failure> {
    let document = call.json()?;
    let world = api.desk.view();
    let is_partial = call.flag("partialUpdate", true);
    let mut apps: Vec<App> = Vec::new();
    for change in marathon::changes(&document)? {
        let app = applied(api, &world, &change, is_partial)?;
        if apps.iter().any(|other| other.id == app.id) {
            let error = format!("app {} is given twice", app.id);
            return Err(Rejection::invalid("/", error).into());
        }
        refuse_clash(world.apps.keys().chain(apps.iter().map(|app| &app.id)), &app.id)?;
        apps.push(app);
    }
    let answer = put(api, apps, call).await?;
    Ok(deployment_result(&answer))
}

/// `DELETE /v2/apps/{id}`: forced unless told otherwise.
pub async fn remove(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let ask = Ask::Remove { app: known(id)?, force: call.flag("force", true) };
    Ok(deployment_result(&api.ask(ask).await?))
}

/// `POST /v2/apps/{id}/restart`
pub async fn restart(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let ask = Ask::Restart { app: known(id)?, force: call.flag("force", false) };
    Ok(deployment_result(&api.ask(ask).await?))
}

fn applied(api: &Api, world: &World, change: &Change<'_>, is_partial: bool) -> Result<App, Failure> {
    let existing = world.apps.get(change.id()).map(|record| record.app.as_ref());
    match change {
        Change::Rollback { id, version } => {
            if existing.is_none() {
                return Err(Failure::no_app(id.as_str()));
            }
            let kept = world.versions.get(id).and_then(|versions| versions.get(version));
            kept.map(|app| App::clone(app)).ok_or_else(|| Failure::no_version(id, *version))
        }
        Change::Fields { id, object } if !is_partial => servable(api, marathon::app(object, Some(id))?),
        Change::Fields { .. } => servable(api, change.onto(existing)?),
    }
}

/// Refuses what its edges could not do.
fn servable(api: &Api, app: App) -> Result<App, Failure> {
    match routes::check(&app, &api.context.domain) {
        Ok(()) => Ok(app),
        Err(BadLabel { label, message }) => Err(Rejection::invalid(&format!("/labels/{label}"), message).into()),
    }
}

async fn put(api: &Api, apps: Vec<App>, call: &Call) -> Result<Answer, Failure> {
    let answer = api.ask(Ask::Put { apps: apps.clone(), force: call.flag("force", false) }).await?;
    tell_posted(api, call, &answer, apps);
    Ok(answer)
}

fn tell_posted(api: &Api, call: &Call, answer: &Answer, apps: Vec<App>) {
    for mut app in apps {
        app.version = answer.version;
        // Nobody listens: the event is of no use.
        let _unheard = api.posts.send(Arc::new(marathon::post_event(now(), &call.client, &call.uri, &app)));
    }
}

/// 201, `Location`, and the whole app.
fn created(api: &Api, app: &App, answer: &Answer) -> Response {
    let world = api.desk.view();
    let stored = world.apps.get(&app.id).filter(|record| record.app.version == answer.version);
    let mut body = match stored {
        Some(record) => Scene::of(&world).app(record, Embed::ALL),
        None => {
            let status = AppStatus { tasks: Some(Vec::new()), ..AppStatus::default() };
            marathon::write_app_with(&App { version: answer.version, ..app.clone() }, status)
        }
    };
    if let Some(id) = &answer.deployment {
        body["deployments"] = serde_json::json!([{ "id": id.as_str() }]);
    }
    let mut response = json_with(StatusCode::CREATED, &body);
    if let Ok(location) = HeaderValue::try_from(app.id.as_str()) {
        response.headers_mut().insert(LOCATION, location);
    }
    with_deployment(response, answer)
}

/// A path is an app or a group of apps, never both.
fn refuse_clash<'a>(others: impl Iterator<Item = &'a AppId>, id: &AppId) -> Result<(), Failure> {
    let inside = |inner: &AppId, outer: &AppId| {
        inner.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    for other in others {
        if inside(id, other) || inside(other, id) {
            let group = if inside(id, other) { other } else { id };
            let message = format!("Groups and Applications may not have the same identifier: {group}");
            return Err(Failure::message(StatusCode::UNPROCESSABLE_ENTITY, message));
        }
    }
    Ok(())
}
