//! Roadstead's own route documents, each with its last good route.

use lifecycle::ErrorChain;
use routing::document::{ROUTES_PREFIX, RouteDocument};
use routing::{Route, RouteSpec, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vulcand::Problem;

#[derive(Default)]
pub(super) struct Documents {
    entries: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    /// As it was read last; the same bytes are not compiled again.
    value: Vec<u8>,
    good: Option<Arc<Route>>,
    problem: Option<String>,
}

impl Documents {
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let id = id_of(key);
        let entry = self.entries.entry(id.clone()).or_default();
        if entry.value == value && !value.is_empty() {
            return;
        }
        entry.value = value.to_vec();
        match read(&id, value) {
            Ok(route) => (entry.good, entry.problem) = (Some(Arc::new(route)), None),
            Err(message) => {
                tracing::warn!(route = id, message, "invalid route document");
                entry.problem = Some(message);
            }
        }
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.entries.remove(&id_of(key));
    }

    /// Takes everything there is; last good routes of documents that are still there stay.
    pub fn replace<'a>(&mut self, all: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let mut present = BTreeSet::new();
        for (key, value) in all {
            self.put(key, value);
            present.insert(id_of(key));
        }
        self.entries.retain(|id, _| present.contains(id));
    }

    pub fn routes(&self) -> impl Iterator<Item = Arc<Route>> {
        self.entries.values().filter_map(|entry| entry.good.clone())
    }

    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (id, entry) in &self.entries {
            let key = || format!("{ROUTES_PREFIX}{id}");
            if let Some(message) = &entry.problem {
                let kept = if entry.good.is_some() { " (the last good value serves on)" } else { "" };
                problems.push(Problem { key: key(), message: format!("{message}{kept}") });
            }
            if let Some(Service::Refuse(reason)) = entry.good.as_ref().map(|route| &route.service) {
                problems.push(Problem { key: key(), message: format!("{reason}; requests are refused with 503") });
            }
        }
        problems
    }
}

fn id_of(key: &[u8]) -> String {
    String::from_utf8_lossy(key.strip_prefix(ROUTES_PREFIX.as_bytes()).unwrap_or(key)).into_owned()
}

fn read(id: &str, value: &[u8]) -> Result<Route, String> {
    if id.is_empty() || id.contains('@') {
        return Err("a route's id is not empty and has no `@`, which names other sources".to_owned());
    }
    let document: RouteDocument = serde_json::from_slice(value).map_err(|error| format!("invalid JSON: {error}"))?;
    let spec = RouteSpec::of_document(id, document);
    spec.and_then(Route::compile).map_err(|error| ErrorChain(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = br#"{"v":0,"rule":"Host(`a`)","servers":[{"id":"1","url":"http://127.0.0.1:1"}]}"#;

    #[test]
    fn an_invalid_document_keeps_the_last_good_route() {
        let mut documents = Documents::default();
        documents.put(b"/roadstead/routes/a", GOOD);
        documents.put(b"/roadstead/routes/b", b"{}");
        assert_eq!(documents.routes().count(), 1);
        documents.put(b"/roadstead/routes/a", br#"{"v":0,"rule":"nonsense","servers":[]}"#);
        assert_eq!(documents.routes().next().unwrap().expression.as_str(), "Host(`a`)");
        assert_eq!(documents.problems().len(), 2);
        documents.put(b"/roadstead/routes/a", GOOD);
        assert_eq!(documents.problems().len(), 1);
        documents.delete(b"/roadstead/routes/a");
        assert_eq!(documents.routes().count(), 0);
    }

    #[test]
    fn other_sources_names_are_refused() {
        let mut documents = Documents::default();
        documents.put(b"/roadstead/routes/f1@vulcand", GOOD);
        assert_eq!((documents.routes().count(), documents.problems().len()), (0, 1));
    }
}
