//! Routes that people own: documents of their own making, what was changed, and the way back.

use super::answer::{Failure, json_ok};
use super::call::Call;
use super::{Api, message};
use crate::history::{Change, Done, History, Past, Record, Refusal, Scope, WriteError};
use crate::proxy::NOT_LEADING;
use crate::routes::Routes;
use axum::response::Response;
use http::StatusCode;
use http::header::HeaderValue;
use lifecycle::ErrorChain;
use middleware::Chain;
use routing::document::{ROUTES_PREFIX, RouteDocument};
use routing::{Route, RouteSpec};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Compare, Operation, Revision, StoreError};

/// Revisions told when nothing else is asked for.
const LIMIT_DEFAULT: usize = 20;
/// Bytes of a document's name.
const ID_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    revision: Revision,
    #[serde(default)]
    dry_run: bool,
    /// vulcand's servers, too.
    #[serde(default)]
    servers: bool,
    /// Only what is below one of these prefixes; none: everything.
    #[serde(default)]
    only: Vec<String>,
}

/// `?limit=`: the newest first, without values; `?servers=true`: also those of nothing but servers.
pub async fn history(api: &Api, call: &Call) -> Result<Response, Failure> {
    let limit = match call.value("limit") {
        None => LIMIT_DEFAULT,
        Some(text) => {
            let wrong = |_| Failure::message(StatusCode::BAD_REQUEST, format!("limit: {text:?} is no number"));
            text.parse().map_err(wrong)?
        }
    };
    let with_servers = call.flag("servers", false);
    let Past { since, servers_since, records } = of(api)?.read().await.map_err(unreadable)?;
    let told = |change: &Change| json!({ "key": change.key, "change": change.verb() });
    let listed = records.iter().rev().filter(|record| with_servers || !record.servers_only);
    let revisions = listed.take(limit).map(|record| {
        let mut value = json!({
            "revision": record.revision, "at_ms": record.at_ms,
            "changes": record.changes.iter().map(told).collect::<Vec<_>>(),
        });
        if let Some(after) = record.unseen_after {
            value["unseen_after"] = json!(after);
        }
        if record.servers_only {
            value["servers_only"] = json!(true);
        }
        value
    });
    Ok(json_ok(&json!({ "since": since, "servers_since": servers_since, "revisions": revisions.collect::<Vec<_>>() })))
}

pub async fn revision(api: &Api, revision: &str) -> Result<Response, Failure> {
    let not_found = || Failure::not_found(format!("no change of routes is kept under revision {revision}"));
    let number: Revision = revision.parse().map_err(|_| not_found())?;
    let record: Record = of(api)?.one(number).await.map_err(unreadable)?.ok_or_else(not_found)?;
    Ok(json_ok(&json!(record)))
}

/// Brings what people own back to what it was after a revision, in one transaction.
pub async fn rollback(api: &Api, call: &Call) -> Result<Response, Failure> {
    let Rollback { revision, dry_run, servers, only } = call.read_as()?;
    let scope = Scope::new(servers, only).map_err(|error| bad(format!("only: {error}")))?;
    let Done { plan, revision: written } = match of(api)?.roll_back(revision, &scope, dry_run).await {
        Ok(Ok(done)) => done,
        Ok(Err(refusal)) => return Err(refused(&refusal)),
        Err(error) => return unwritten(error),
    };
    let mut answer = json!({
        "to": revision, "dry_run": dry_run, "left": plan.left,
        "changes": plan.steps.iter().map(|step| {
            json!({ "key": step.key, "before": step.before, "after": step.after })
        }).collect::<Vec<_>>(),
    });
    if let Some(written) = written {
        tracing::info!(to = revision, keys = plan.steps.len(), revision = written, "routes are rolled back");
        answer["revision"] = json!(written);
    }
    Ok(json_ok(&answer))
}

/// The documents people wrote, by id.
pub async fn documents(api: &Api) -> Result<Response, Failure> {
    let held = of(api)?.documents().await.map_err(unreadable)?;
    let told = held.into_iter().filter_map(|kv| {
        let id = std::str::from_utf8(&kv.key).ok()?.strip_prefix(ROUTES_PREFIX)?.to_owned();
        let document = serde_json::from_slice::<Value>(&kv.value).ok()?;
        (!Routes::owns(&id)).then(|| json!({ "id": id, "revision": kv.mod_revision, "document": document }))
    });
    Ok(json_ok(&json!({ "documents": told.collect::<Vec<_>>() })))
}

/// `?new=true`: only where there is none yet.
pub async fn put(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let key = own_key(id)?;
    let document: RouteDocument = call.read_as()?;
    check(id, document.clone())?;
    let value = serde_json::to_vec(&document).map_err(|error| bad(error.to_string()))?;
    let is_new = call.flag("new", false);
    let compare = if is_new { vec![Compare::absent(key.clone())] } else { Vec::new() };
    match of(api)?.write(compare, vec![Operation::put(key, value)]).await {
        Ok(revision) => Ok(json_ok(&json!({ "id": id, "revision": revision }))),
        Err(WriteError::Changed) => {
            Err(Failure::message(StatusCode::CONFLICT, format!("there is a route '{id}' already")))
        }
        Err(error) => unwritten(error),
    }
}

pub async fn delete(api: &Api, id: &str) -> Result<Response, Failure> {
    let key = own_key(id)?;
    match of(api)?.write(vec![Compare::exists(key.clone())], vec![Operation::delete(key)]).await {
        Ok(revision) => Ok(json_ok(&json!({ "id": id, "revision": revision }))),
        Err(WriteError::Changed) => Err(Failure::not_found(format!("there is no route '{id}'"))),
        Err(error) => unwritten(error),
    }
}

/// What the edges would refuse is not written.
fn check(id: &str, document: RouteDocument) -> Result<(), Failure> {
    let spec = RouteSpec::of_document(id, document).map_err(|error| bad(ErrorChain(&error).to_string()))?;
    Chain::read(&spec.middlewares, None).map_err(|error| bad(ErrorChain(&error).to_string()))?;
    Route::compile(spec).map(drop).map_err(|error| bad(ErrorChain(&error).to_string()))
}

fn own_key(id: &str) -> Result<String, Failure> {
    let reason = match id {
        id if Routes::owns(id) => "names that begin with app. and platform. are the controller's own",
        id if id.len() > ID_BYTES_MAX => "the name of a route is too long",
        id if id.contains('@') || id.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            "the name of a route has no '@', which names other sources, and no space"
        }
        id => return Ok(format!("{ROUTES_PREFIX}{id}")),
    };
    Err(bad(reason))
}

fn of(api: &Api) -> Result<&History, Failure> {
    let none = || Failure::message(StatusCode::SERVICE_UNAVAILABLE, "no history is kept here");
    api.context.history.as_deref().ok_or_else(none)
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::message(StatusCode::BAD_REQUEST, message)
}

fn refused(refusal: &Refusal) -> Failure {
    let status = match refusal {
        Refusal::NotYet { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    };
    Failure::message(status, refusal.to_string())
}

fn unreadable(error: StoreError) -> Failure {
    let message = format!("the state cannot be read: {}", ErrorChain(&error));
    Failure::message(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn unwritten(error: WriteError) -> Result<Response, Failure> {
    match error {
        // Another leads soon, and may be asked instead.
        WriteError::Superseded => {
            let mut response = message(StatusCode::SERVICE_UNAVAILABLE, "this controller does not lead (any more)");
            response.headers_mut().insert(NOT_LEADING, HeaderValue::from_static("1"));
            Ok(response)
        }
        error => {
            let message = format!("the state cannot be read or written: {}", ErrorChain(&error));
            Err(Failure::message(StatusCode::SERVICE_UNAVAILABLE, message))
        }
    }
}
