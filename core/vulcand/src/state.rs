//! What vulcand's keys amount to.

use crate::alias::{Alias, with_aliases};
use crate::key::{Key, Kind, Prefix};
use crate::objects::{Backend, Frontend, Listener, Middleware, ObjectError, Server};
use routing::{Expression, Route, RouteSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

/// All keys, each with its last good value and what is wrong with its present one.
#[derive(Debug, Default)]
pub struct State {
    entries: BTreeMap<Key, Entry>,
    /// What the last translation compiled; a change compiles only what it changes.
    compiled: BTreeMap<String, (RouteSpec, Arc<Route>)>,
    aliases: Vec<Alias>,
}

#[derive(Debug, Default)]
struct Entry {
    good: Option<Object>,
    problem: Option<String>,
}

#[derive(Debug)]
enum Object {
    /// Hosts carry certificates only; they are kept so that their problems are seen.
    Host,
    Listener(Listener),
    Backend(Backend),
    Server(Server),
    Frontend(Frontend),
    Middleware(Middleware),
}

/// Something that is not served as it was asked for, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    pub key: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    pub id: String,
    pub address: SocketAddr,
    /// Empty: every request is in scope.
    pub scope: String,
}

#[derive(Debug, Default)]
pub struct Translation {
    pub routes: Vec<Arc<Route>>,
    pub listeners: Vec<ListenerSpec>,
    pub problems: Vec<Problem>,
}

impl State {
    /// Without keys; frontends will be reachable by these aliases too.
    pub fn with_aliases(aliases: Vec<Alias>) -> Self {
        Self { aliases, ..Self::default() }
    }

    /// Takes a new value; keys that are not vulcand's are ignored, as vulcand ignores them.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let Some(key) = Key::parse(key) else { return };
        let read = Object::read(&key.kind, value);
        let entry = self.entries.entry(key).or_default();
        match read {
            Ok(object) => *entry = Entry { good: Some(object), problem: None },
            Err(error) => entry.problem = Some(chain(&error)),
        }
    }

    pub fn delete(&mut self, key: &[u8]) {
        if let Some(key) = Key::parse(key) {
            self.entries.remove(&key);
        }
    }

    /// Takes everything there is under a prefix ([`crate::PREFIX`] or [`crate::BARE_PREFIX`]): keys that are not in `all` are
    /// gone, last good values of those that are stay.
    pub fn replace<'a>(&mut self, prefix: &str, all: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let mut present = BTreeSet::new();
        for (key, value) in all {
            self.put(key, value);
            present.extend(Key::parse(key));
        }
        self.entries.retain(|key, _| key.prefix.as_str() != prefix || present.contains(key));
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Routes are named `<frontend>@vulcand`. When both prefixes have a frontend or listener of one id, the one under
    /// `/vulcand/` counts.
    pub fn translate(&mut self) -> Translation {
        let mut translation = Translation::default();
        let compiled_before = std::mem::take(&mut self.compiled);
        let mut specs = Vec::new();
        let mut taken = BTreeSet::new();
        for (key, entry) in &self.entries {
            if let Some(message) = &entry.problem {
                let kept = if entry.good.is_some() { " (the last good value serves on)" } else { "" };
                translation.report(key, format!("{message}{kept}"));
            }
            match (&key.kind, &entry.good) {
                (Kind::Frontend { .. } | Kind::Listener { .. }, Some(_)) if !taken.insert(&key.kind) => {
                    translation.report(key, "the same id exists under /vulcand/, which counts");
                }
                (_, Some(Object::Frontend(frontend))) => {
                    specs.push((key.clone(), self.spec(key, frontend, &mut translation)));
                }
                (_, Some(Object::Listener(listener))) => match listener.socket_address() {
                    Ok(address) => translation.listeners.push(ListenerSpec {
                        id: listener.id.clone(),
                        address,
                        scope: listener.scope.clone(),
                    }),
                    Err(error) => translation.report(key, chain(&error)),
                },
                (Kind::Middleware { frontend, .. }, _) if self.frontend(key.prefix, frontend).is_none() => {
                    translation.report(key, format!("there is no frontend {frontend:?}"));
                }
                (_, Some(Object::Backend(backend))) if backend.settings.tls.is_some() => {
                    translation.report(key, "TLS towards servers is not supported: its settings have no effect");
                }
                _ => {}
            }
        }
        for (key, spec) in specs {
            let route = match compiled_before.get(&spec.id) {
                Some((before, route)) if *before == spec => Ok(route.clone()),
                _ => Route::compile(spec.clone()).map(Arc::new),
            };
            match route {
                Ok(route) => {
                    translation.routes.push(route.clone());
                    self.compiled.insert(spec.id.clone(), (spec, route));
                }
                Err(error) => translation.report(&key, chain(&error)),
            }
        }
        translation
    }

    /// What a frontend, its backend and its servers ask for.
    fn spec(&self, key: &Key, frontend: &Frontend, translation: &mut Translation) -> RouteSpec {
        let prefix = key.prefix;
        let servers = self.servers(prefix, &frontend.backend_id);
        let backend = self.backend(prefix, &frontend.backend_id);
        if backend.is_none() && servers.is_empty() {
            translation.report(key, format!("there is no backend {:?}", frontend.backend_id));
        }
        let middlewares = self.middlewares(prefix, &frontend.id);
        let refuse = (!middlewares.is_empty()).then(|| {
            let list = middlewares.join(", ");
            format!("middlewares are asked for that this edge does not have: {list}")
        });
        if let Some(reason) = &refuse {
            translation.report(key, format!("{reason}; requests are refused with 503"));
        }
        RouteSpec {
            id: format!("{}@vulcand", frontend.id),
            rule: self.rule(key, frontend, translation),
            servers: servers.iter().map(|server| (server.id.clone(), server.url.clone(), 1)).collect(),
            pass_host_header: frontend.settings.pass_host_header,
            trust_forward_header: frontend.settings.trust_forward_header,
            forwarded_server: frontend.settings.hostname.clone(),
            failover_predicate: frontend.settings.failover_predicate.clone(),
            body_bytes_max: u64::try_from(frontend.settings.limits.max_body_bytes).unwrap_or(0),
            dial_timeout: backend.and_then(|backend| backend.dial_timeout().ok().flatten()),
            head_timeout: backend.and_then(|backend| backend.read_timeout().ok().flatten()),
            refuse,
            ..RouteSpec::default()
        }
    }

    /// The frontend's rule and its aliases; without them where one makes it no rule any more.
    fn rule(&self, key: &Key, frontend: &Frontend, translation: &mut Translation) -> String {
        let rule = with_aliases(&frontend.route, &self.aliases);
        if rule == frontend.route {
            return rule;
        }
        match Expression::parse(&rule) {
            Ok(_) => rule,
            Err(error) => {
                translation.report(key, format!("it serves without its aliases, which make it {rule:?}: {error}"));
                frontend.route.clone()
            }
        }
    }

    fn frontend(&self, prefix: Prefix, id: &str) -> Option<&Entry> {
        self.entries.get(&Key { prefix, kind: Kind::Frontend { id: id.to_owned() } })
    }

    fn backend(&self, prefix: Prefix, id: &str) -> Option<&Backend> {
        let key = Key { prefix, kind: Kind::Backend { id: id.to_owned() } };
        match &self.entries.get(&key)?.good {
            Some(Object::Backend(backend)) => Some(backend),
            _ => None,
        }
    }

    fn servers(&self, prefix: Prefix, backend: &str) -> Vec<&Server> {
        let first = Key { prefix, kind: Kind::Server { backend: backend.to_owned(), id: String::new() } };
        let mut servers = Vec::new();
        for (key, entry) in self.entries.range(first..) {
            let Kind::Server { backend: of, .. } = &key.kind else { break };
            if key.prefix != prefix || of != backend {
                break;
            }
            if let Some(Object::Server(server)) = &entry.good {
                servers.push(server);
            }
        }
        servers
    }

    /// Type and id of each middleware of a frontend; one that cannot be read was asked for all the same.
    fn middlewares(&self, prefix: Prefix, frontend: &str) -> Vec<String> {
        let first = Key { prefix, kind: Kind::Middleware { frontend: frontend.to_owned(), id: String::new() } };
        let mut found = Vec::new();
        for (key, entry) in self.entries.range(first..) {
            let Kind::Middleware { frontend: of, id } = &key.kind else { break };
            if key.prefix != prefix || of != frontend {
                break;
            }
            let kind = match &entry.good {
                Some(Object::Middleware(middleware)) => middleware.kind.as_str(),
                _ => "unreadable",
            };
            found.push(format!("{kind} {id:?}"));
        }
        found
    }
}

impl Object {
    fn read(kind: &Kind, value: &[u8]) -> Result<Self, ObjectError> {
        Ok(match kind {
            Kind::Host { .. } => {
                let _certificates: serde_json::Value = crate::json::read(value).map_err(ObjectError::Json)?;
                Self::Host
            }
            Kind::Listener { id } => Self::Listener(Listener::parse(id, value)?),
            Kind::Backend { id } => Self::Backend(Backend::parse(id, value)?),
            Kind::Server { id, .. } => Self::Server(Server::parse(id, value)?),
            Kind::Frontend { id } => Self::Frontend(Frontend::parse(id, value)?),
            Kind::Middleware { id, .. } => Self::Middleware(Middleware::parse(id, value)?),
        })
    }
}

impl Translation {
    fn report(&mut self, key: &Key, message: impl Into<String>) {
        self.problems.push(Problem { key: key.to_string(), message: message.into() });
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
