//! Paths and answers, as vulcand has them.

use crate::Config;
use crate::ask::{Ask, bounded_body, json_body};
use crate::failure::{Failure, message};
use crate::objects::{IN_PATH, Objects, Sort, checked_id};
use crate::top::Query;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use lifecycle::logs::{self, Severity};
use serde_json::{Value, json};
use std::sync::Arc;

type Shared = State<Arc<Objects>>;
type Answer = Result<Json<Value>, Failure>;

/// `/v1/status` and everything below `/v2/`, without a gate.
pub fn router(config: Config) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v2/status", get(status))
        .route("/v2/log/severity", get(severity).put(set_severity))
        .route("/v2/top/frontends", get(top_frontends))
        .route("/v2/top/servers", get(top_servers))
        .route("/v2/hosts", many(Sort::Host))
        .route("/v2/hosts/{id}", one(Sort::Host))
        .route("/v2/listeners", many(Sort::Listener))
        .route("/v2/listeners/{id}", one(Sort::Listener))
        .route("/v2/backends", many(Sort::Backend))
        .route("/v2/backends/{id}", one(Sort::Backend))
        .route("/v2/backends/{parent}/servers", many_of(Sort::Server))
        .route("/v2/backends/{parent}/servers/{id}", one_of(Sort::Server))
        .route("/v2/frontends", many(Sort::Frontend))
        .route("/v2/frontends/{id}", one(Sort::Frontend))
        .route("/v2/frontends/{parent}/middlewares", many_of(Sort::Middleware))
        .route("/v2/frontends/{parent}/middlewares/{id}", one_of(Sort::Middleware))
        .fallback(async || message(StatusCode::NOT_FOUND, "Object not found"))
        .method_not_allowed_fallback(async || message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
        .with_state(Arc::new(Objects::new(config)))
}

fn many(sort: Sort) -> MethodRouter<Arc<Objects>> {
    get(async move |State(objects): Shared| list(&objects, sort, "").await).post(
        async move |State(objects): Shared, RawQuery(query): RawQuery, headers: HeaderMap, body: Body| {
            upsert(&objects, sort, "", query.as_deref(), &headers, body).await
        },
    )
}

fn many_of(sort: Sort) -> MethodRouter<Arc<Objects>> {
    get(async move |State(objects): Shared, Path(parent): Path<String>| list(&objects, sort, &parent).await).post(
        async move |State(objects): Shared,
                    Path(parent): Path<String>,
                    RawQuery(query): RawQuery,
                    headers: HeaderMap,
                    body: Body| { upsert(&objects, sort, &parent, query.as_deref(), &headers, body).await },
    )
}

fn one(sort: Sort) -> MethodRouter<Arc<Objects>> {
    get(async move |State(objects): Shared, Path(id): Path<String>| show(&objects, sort, "", &id).await)
        .delete(async move |State(objects): Shared, Path(id): Path<String>| delete(&objects, sort, "", &id).await)
}

fn one_of(sort: Sort) -> MethodRouter<Arc<Objects>> {
    get(async move |State(objects): Shared, Path((parent, id)): Path<(String, String)>| {
        show(&objects, sort, &parent, &id).await
    })
    .delete(async move |State(objects): Shared, Path((parent, id)): Path<(String, String)>| {
        delete(&objects, sort, &parent, &id).await
    })
}

/// A slash that comes as `%2F` would name other keys.
fn checked_parent(parent: &str) -> Result<(), Failure> {
    if parent.is_empty() { Ok(()) } else { checked_id(IN_PATH, parent).map(drop) }
}

async fn list(objects: &Objects, sort: Sort, parent: &str) -> Answer {
    checked_parent(parent)?;
    let all = objects.list(sort, parent).await?.into_iter().map(|(_, object)| object);
    Ok(Json(json!({ sort.plural(): all.collect::<Vec<_>>() })))
}

async fn show(objects: &Objects, sort: Sort, parent: &str, id: &str) -> Answer {
    checked_parent(parent)?;
    checked_id(IN_PATH, id)?;
    Ok(Json(Value::Object(objects.show(&sort.kind(parent, id)).await?)))
}

/// 200 also for what is new: `vctl` takes anything else for a failure.
async fn upsert(
    objects: &Objects,
    sort: Sort,
    parent: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    let body = json_body(headers, body).await?;
    let ask = Ask::read(&body, sort.name(), query)?;
    Ok(Json(Value::Object(objects.upsert(sort, parent, ask).await?)))
}

async fn delete(objects: &Objects, sort: Sort, parent: &str, id: &str) -> Answer {
    checked_parent(parent)?;
    checked_id(IN_PATH, id)?;
    objects.delete(&sort.kind(parent, id)).await?;
    Ok(Json(json!({ "message": match sort {
        Sort::Host => format!("Host '{id}' deleted"),
        sort => format!("{} deleted", sort.name()),
    } })))
}

async fn status() -> Json<Value> {
    Json(json!({ "Status": "ok" }))
}

async fn severity() -> Json<Value> {
    Json(json!({ "severity": logs::severity().name() }))
}

/// `severity=info`, as a form or in the query.
async fn set_severity(RawQuery(query): RawQuery, body: Body) -> Answer {
    let body = bounded_body(body).await?;
    let pairs = form_urlencoded::parse(&body).chain(form_urlencoded::parse(query.as_deref().unwrap_or("").as_bytes()));
    let mut named = pairs.filter(|(name, _)| name == "severity");
    let (_, text) = named.next().ok_or_else(|| Failure::field("severity", "is missing"))?;
    let severity = Severity::parse(&text)
        .ok_or_else(|| Failure::field("severity", format!("{text:?} is not one of {}", Severity::NAMES.join(", "))))?;
    logs::set_severity(severity).map_err(|error| Failure::field("severity", error.to_string()))?;
    tracing::info!(severity = severity.name(), "the log's severity is another");
    Ok(Json(json!({ "message": format!("Severity has been updated to {}", severity.name()) })))
}

async fn top_frontends(State(objects): Shared, RawQuery(query): RawQuery) -> Answer {
    Ok(Json(objects.top_frontends(&Query::read(query.as_deref())?).await?))
}

async fn top_servers(State(objects): Shared, RawQuery(query): RawQuery) -> Answer {
    Ok(Json(objects.top_servers(&Query::read(query.as_deref())?).await?))
}
