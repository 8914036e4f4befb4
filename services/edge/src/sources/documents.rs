//! Roadstead's own route documents, each with its last good route.

use lifecycle::ErrorChain;
use routing::document::{ROUTES_PREFIX, RouteDocument};
use routing::{Route, RouteSpec, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vulcand::{Changes, Problem};

#[derive(Default)]
pub(super) struct Documents {
    entries: BTreeMap<String, Entry>,
    /// By id: what was written since the changes were taken.
    written: BTreeSet<String>,
    problems: BTreeMap<String, Vec<Problem>>,
}

#[derive(Default)]
struct Entry {
    /// As it was read last; the same bytes are not compiled again.
    value: Vec<u8>,
    good: Option<Arc<Route>>,
    problem: Option<String>,
}

impl Entry {
    /// What is not served as it was asked for.
    fn problems(&self, id: &str) -> Vec<Problem> {
        let key = || format!("{ROUTES_PREFIX}{id}");
        let mut problems = Vec::new();
        if let Some(message) = &self.problem {
            let kept = if self.good.is_some() { " (the last good value serves on)" } else { "" };
            problems.push(Problem { key: key(), message: format!("{message}{kept}") });
        }
        if let Some(Service::Refuse(reason)) = self.good.as_ref().map(|route| &route.service) {
            problems.push(Problem { key: key(), message: format!("{reason}; requests are refused with 503") });
        }
        problems
    }
}

impl Documents {
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let id = id_of(key);
        let entry = self.entries.entry(id.clone()).or_default();
        if entry.value == value && !value.is_empty() {
            return;
        }
        entry.value = value.to_vec();
        self.written.insert(id.clone());
        match read(&id, value) {
            Ok(route) => (entry.good, entry.problem) = (Some(Arc::new(route)), None),
            Err(message) => {
                tracing::warn!(route = id, message, "invalid route document");
                entry.problem = Some(message);
            }
        }
    }

    pub fn delete(&mut self, key: &[u8]) {
        let id = id_of(key);
        if self.entries.remove(&id).is_some() {
            self.written.insert(id);
        }
    }

    /// Takes everything there is; last good routes of documents that are still there stay.
    pub fn replace<'a>(&mut self, all: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let mut present = BTreeSet::new();
        for (key, value) in all {
            self.put(key, value);
            present.insert(id_of(key));
        }
        let gone = self.entries.extract_if(.., |id, _| !present.contains(id));
        self.written.extend(gone.map(|(id, _)| id));
    }

    /// What became another since the last time.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for id in std::mem::take(&mut self.written) {
            let entry = self.entries.get(&id);
            let problems = entry.map(|entry| entry.problems(&id)).unwrap_or_default();
            if problems.as_slice() != self.problems.get(&id).map(Vec::as_slice).unwrap_or_default() {
                changes.problems = true;
                match problems.is_empty() {
                    true => drop(self.problems.remove(&id)),
                    false => drop(self.problems.insert(id.clone(), problems)),
                }
            }
            changes.routes.push((id, entry.and_then(|entry| entry.good.clone())));
        }
        changes
    }

    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries.values().filter_map(|entry| entry.good.as_ref())
    }

    /// As of the last time that changes were taken.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
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
        documents.take_changes();
        assert_eq!(documents.problems().count(), 2);
        documents.put(b"/roadstead/routes/a", GOOD);
        documents.take_changes();
        assert_eq!(documents.problems().count(), 1);
        documents.delete(b"/roadstead/routes/a");
        assert_eq!(documents.routes().count(), 0);
    }

    #[test]
    fn other_sources_names_are_refused() {
        let mut documents = Documents::default();
        documents.put(b"/roadstead/routes/f1@vulcand", GOOD);
        documents.take_changes();
        assert_eq!((documents.routes().count(), documents.problems().count()), (0, 1));
    }
}
