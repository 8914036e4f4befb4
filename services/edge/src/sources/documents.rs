//! Roadstead's own route documents, each with its last good route.

use crate::secure::servers::Upstream;
use lifecycle::ErrorChain;
use middleware::Chain;
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
    problems: BTreeMap<String, Problem>,
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
    fn problem(&self, id: &str) -> Option<Problem> {
        let refuses = self.good.as_ref().is_some_and(|route| route.service != Service::Serve);
        let kept = match (refuses, self.good.is_some()) {
            (true, _) => "; requests are refused with 503",
            (false, true) => " (the last good value serves on)",
            (false, false) => "",
        };
        let message = self.problem.as_ref().map(|message| format!("{message}{kept}"));
        Some(Problem { key: format!("{ROUTES_PREFIX}{id}"), message: message? })
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
        let read = read(&id, value, entry.good.as_deref());
        if let Ok((_, Some(message))) | Err(message) = &read {
            tracing::warn!(route = id, message, "invalid route document");
        }
        match read {
            Ok((route, problem)) => (entry.good, entry.problem) = (Some(Arc::new(route)), problem),
            Err(message) => entry.problem = Some(message),
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
            let problem = entry.and_then(|entry| entry.problem(&id));
            if problem.as_ref() != self.problems.get(&id) {
                changes.problems = true;
                match problem {
                    Some(problem) => self.problems.insert(id.clone(), problem),
                    None => self.problems.remove(&id),
                };
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
        self.problems.values()
    }
}

fn id_of(key: &[u8]) -> String {
    String::from_utf8_lossy(key.strip_prefix(ROUTES_PREFIX.as_bytes()).unwrap_or(key)).into_owned()
}

/// The route, and what is wrong with its middlewares. Then it is the last good one with the servers that are asked for now:
/// rule and protections belong together, and those that left must not be asked any more. Without a last good one it
/// refuses.
fn read(id: &str, value: &[u8], last: Option<&Route>) -> Result<(Route, Option<String>), String> {
    if id.is_empty() || id.contains('@') {
        return Err("a route's id is not empty and has no `@`, which names other sources".to_owned());
    }
    let document: RouteDocument = serde_json::from_slice(value).map_err(|error| format!("invalid JSON: {error}"))?;
    let compile = |spec| Route::compile(spec).map_err(|error| ErrorChain(&error).to_string());
    let spec = RouteSpec::of_document(id, document).map_err(|error| ErrorChain(&error).to_string())?;
    let compile = |spec| {
        let route = compile(spec)?;
        if !route.server_tls.is_default() {
            Upstream::of(&route.server_tls).map_err(|error| format!("server_tls: {}", ErrorChain(&error)))?;
        }
        Ok::<_, String>(route)
    };
    let Err(error) = Chain::read(&spec.middlewares, None) else { return Ok((compile(spec)?, None)) };
    let message = ErrorChain(&error).to_string();
    let spec = match last {
        Some(last) if last.service == Service::Serve => {
            RouteSpec { servers: spec.servers, balance: spec.balance, ..last.spec() }
        }
        _ => RouteSpec { refuse: Some(message.clone()), middlewares: Vec::new(), ..spec },
    };
    Ok((compile(spec)?, Some(message)))
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

    fn problem(documents: &mut Documents) -> Option<String> {
        documents.take_changes();
        documents.problems().next().map(|problem| problem.message.clone())
    }

    fn document(rule: &str, port: u16, middlewares: &str) -> String {
        let server = format!(r#"{{"id":"1","url":"http://127.0.0.1:{port}"}}"#);
        format!(r#"{{"v":0,"rule":"Host(`{rule}`)","servers":[{server}],"middlewares":[{middlewares}]}}"#)
    }

    #[test]
    fn middlewares_that_cannot_be_read_never_leave_a_route_unprotected() {
        const KEY: &[u8] = b"/roadstead/routes/a";
        const WRONG: &str = r#"{"Id":"a","Type":"iplist"}"#;
        let mut documents = Documents::default();
        documents.put(KEY, document("a", 1, WRONG).as_bytes());
        assert!(matches!(documents.routes().next().unwrap().service, Service::Refuse(_)));
        assert!(problem(&mut documents).unwrap().ends_with("refused with 503"));

        let right = r#"{"Id":"a","Type":"iplist","Middleware":{"Deny":["10.0.0.0/8"]}}"#;
        documents.put(KEY, document("a", 1, right).as_bytes());
        assert_eq!(problem(&mut documents), None);
        documents.put(KEY, document("b", 2, WRONG).as_bytes());
        let route = documents.routes().next().unwrap().clone();
        assert_eq!((route.expression.as_str(), &route.service), ("Host(`a`)", &Service::Serve));
        assert_eq!(route.servers[0].url.as_str(), "http://127.0.0.1:2", "its servers are those of now");
        assert_eq!(route.middlewares[0]["Middleware"]["Deny"][0], "10.0.0.0/8");
        assert!(problem(&mut documents).unwrap().ends_with("(the last good value serves on)"));
    }

    #[test]
    fn other_sources_names_are_refused() {
        let mut documents = Documents::default();
        documents.put(b"/roadstead/routes/f1@vulcand", GOOD);
        documents.take_changes();
        assert_eq!((documents.routes().count(), documents.problems().count()), (0, 1));
    }
}
