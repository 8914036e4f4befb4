//! JSON documents into apps.

mod app;
mod constraints;
mod container;
mod fields;
mod health;
mod network;

#[cfg(test)]
mod tests;

use crate::Rejection;
use crate::rejection::Faults;
use fields::Object;
use model::{App, AppId, Timestamp};
use serde_json::Value;

pub use fields::SECONDS_MAX;

/// Bytes into a JSON document.
pub fn document(bytes: &[u8]) -> Result<Value, Rejection> {
    serde_json::from_slice(bytes).map_err(|error| Rejection::json("/", error.to_string()))
}

/// A whole definition. `id`: the one of the URL, for a body without one. The version is left for the controller to set.
pub fn app(document: &Value, id: Option<&AppId>) -> Result<App, Rejection> {
    let object = Object::root(document)?;
    let id = match (id_of(&object)?, id) {
        (Some(id), _) => id,
        (None, Some(id)) => id.clone(),
        (None, None) => return Err(Rejection::json("/id", "error.path.missing")),
    };
    filled(app::defaults(id), None, &object)
}

/// What a PUT or PATCH asks for.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Back to a kept version.
    Rollback { id: AppId, version: Timestamp },
    /// The fields that are given; the others stay.
    Fields { id: AppId, object: &'a Value },
}

/// Reads one update; the `id` of the body wins over the one of the URL.
pub fn change<'a>(document: &'a Value, id: Option<&AppId>) -> Result<Change<'a>, Rejection> {
    let object = Object::root(document)?;
    let id = match (id_of(&object)?, id) {
        (Some(id), _) => id,
        (None, Some(id)) => id.clone(),
        (None, None) => return Err(Rejection::json("/id", "error.path.missing")),
    };
    let mut faults = Faults::default();
    let version = object.text("version", &mut faults);
    faults.result()?;
    let Some(version) = version else { return Ok(Change::Fields { id, object: document }) };
    if object.names().any(|name| name != "id" && name != "version") {
        return Err(Rejection::invalid("/version", "The 'version' field may only be combined with the 'id' field."));
    }
    let version = version.parse().map_err(|_| {
        let error = format!("Invalid timestamp provided '{version}'. Expecting ISO-8601 datetime string.");
        Rejection::invalid("/version", error)
    })?;
    Ok(Change::Rollback { id, version })
}

/// Reads a list of updates, each with its id.
pub fn changes(document: &Value) -> Result<Vec<Change<'_>>, Rejection> {
    let list = document.as_array().ok_or_else(|| Rejection::json("/", "error.expected.jsarray"))?;
    list.iter().map(|item| change(item, None)).collect()
}

impl Change<'_> {
    pub fn id(&self) -> &AppId {
        match self {
            Self::Rollback { id, .. } | Self::Fields { id, .. } => id,
        }
    }
}

/// Applies the given fields to an app, or to the defaults where there is none yet.
impl Change<'_> {
    pub fn onto(&self, existing: Option<&App>) -> Result<App, Rejection> {
        match self {
            Self::Fields { id, object } => {
                let base = existing.cloned().unwrap_or_else(|| app::defaults(id.clone()));
                filled(base, existing, &Object::root(object)?)
            }
            Self::Rollback { .. } => Err(Rejection::invalid("/version", "names a kept version, which is not a field")),
        }
    }
}

fn filled(mut app: App, existing: Option<&App>, object: &Object<'_>) -> Result<App, Rejection> {
    let mut faults = Faults::default();
    app::fill(&mut app, existing, object, &mut faults);
    faults.result()?;
    Ok(app)
}

/// The last segments that name children of an app in the API; no app may end so (Marathon 1.8).
const RESERVED_SEGMENTS: [&str; 3] = ["restart", "tasks", "versions"];

fn id_of(object: &Object<'_>) -> Result<Option<AppId>, Rejection> {
    let mut faults = Faults::default();
    let text = object.text("id", &mut faults);
    faults.result()?;
    let Some(text) = text else { return Ok(None) };
    let id = AppId::parse(&text).map_err(|error| Rejection::invalid("/id", error.to_string()))?;
    if id.segments().next_back().is_some_and(|last| RESERVED_SEGMENTS.contains(&last)) {
        return Err(Rejection::invalid("/id", format!("must not end with any of [{}]", RESERVED_SEGMENTS.join(", "))));
    }
    Ok(Some(id))
}
