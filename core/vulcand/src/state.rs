//! What vulcand's keys amount to, kept as they change: a change translates anew only what it concerns.

mod frontend;
mod keys;

use crate::alias::Alias;
use crate::key::{Key, Kind};
use keys::Keys;
use routing::{ListenerTls, Route, RouteSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// All keys, each with its last good value and what is wrong with its present one, and what they were translated to.
#[derive(Debug, Default)]
pub struct State {
    aliases: Vec<Alias>,
    keys: Keys,
    /// What has to be translated anew.
    changed: BTreeSet<Unit>,
    /// By the frontend's id.
    routes: BTreeMap<String, (RouteSpec, Arc<Route>)>,
    /// By the listener's id.
    listeners: BTreeMap<String, ListenerSpec>,
    /// By the host's name.
    hosts: BTreeMap<String, HostSpec>,
    problems: BTreeMap<Unit, Vec<Problem>>,
}

/// What is translated at once. When both prefixes have a frontend or listener of one id, the one under `/vulcand/` counts;
/// so both belong to one unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    /// With its middlewares.
    Frontend(String),
    Listener(String),
    Host(String),
    /// Any other key, for itself.
    Key(Key),
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
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<ListenerTls>,
}

/// A host with a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// Where it is in the store.
    pub key: String,
    pub name: String,
    /// The sealed key pair.
    pub key_pair: String,
    /// Its certificate is shown to who asks for no name, or for an unknown one.
    pub is_default: bool,
}

/// What other keys changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// By id; `None`: gone.
    pub routes: Vec<(String, Option<Arc<Route>>)>,
    /// Whether [`State::listeners`] are others.
    pub listeners: bool,
    /// Whether [`State::hosts`] are others.
    pub hosts: bool,
    /// Whether [`State::problems`] are others.
    pub problems: bool,
}

impl State {
    /// Without keys; frontends will be reachable by these aliases too.
    pub fn with_aliases(aliases: Vec<Alias>) -> Self {
        Self { aliases, ..Self::default() }
    }

    /// Takes a new value; keys that are not vulcand's are ignored, as vulcand ignores them.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(key) = Key::parse(key)
            && self.keys.put(&key, value)
        {
            self.touch(key);
        }
    }

    pub fn delete(&mut self, key: &[u8]) {
        if let Some(key) = Key::parse(key)
            && self.keys.delete(&key)
        {
            self.touch(key);
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
        for key in self.keys.missing(prefix, &present) {
            self.keys.delete(&key);
            self.touch(key);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Translates what changed since the last time. Routes are named `<frontend>@vulcand`.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for unit in std::mem::take(&mut self.changed) {
            let mut report = Report::default();
            match &unit {
                Unit::Frontend(id) => {
                    let route = self.route(id, &mut report);
                    changes.routes.extend(self.exchange_route(id, route));
                }
                Unit::Listener(id) => {
                    let listener = self.keys.listener(id, &mut report);
                    changes.listeners |= exchange(&mut self.listeners, id, listener);
                }
                Unit::Host(name) => {
                    let host = self.keys.host(name, &mut report);
                    changes.hosts |= exchange(&mut self.hosts, name, host);
                }
                Unit::Key(key) => self.keys.check(key, &mut report),
            }
            let problems = Some(report.0).filter(|problems| !problems.is_empty());
            changes.problems |= exchange(&mut self.problems, &unit, problems);
        }
        changes
    }

    /// As of the last translation, like all that follows.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values().map(|(_, route)| route)
    }

    pub fn listeners(&self) -> impl Iterator<Item = &ListenerSpec> {
        self.listeners.values()
    }

    pub fn hosts(&self) -> impl Iterator<Item = &HostSpec> {
        self.hosts.values()
    }

    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// Marks what a key that changed has a part in.
    fn touch(&mut self, key: Key) {
        let unit = match &key.kind {
            Kind::Frontend { id } | Kind::Middleware { frontend: id, .. } => Unit::Frontend(id.clone()),
            Kind::Listener { id } => Unit::Listener(id.clone()),
            Kind::Backend { id } | Kind::Server { backend: id, .. } => {
                self.changed.extend(self.keys.frontends_of(key.prefix, id).cloned().map(Unit::Frontend));
                Unit::Key(key)
            }
            Kind::Host { name } => Unit::Host(name.clone()),
        };
        self.changed.insert(unit);
    }

    fn route(&self, id: &str, report: &mut Report) -> Option<(RouteSpec, Arc<Route>)> {
        let (prefix, spec) = self.keys.spec(id, &self.aliases, report)?;
        match self.routes.get(id) {
            Some((before, route)) if *before == spec => Some((spec, route.clone())),
            _ => match Route::compile(spec.clone()) {
                Ok(route) => Some((spec, Arc::new(route))),
                Err(error) => {
                    report.add(&Key { prefix, kind: Kind::Frontend { id: id.to_owned() } }, chain(&error));
                    None
                }
            },
        }
    }

    /// What that changes, if anything.
    fn exchange_route(
        &mut self,
        id: &str,
        route: Option<(RouteSpec, Arc<Route>)>,
    ) -> Option<(String, Option<Arc<Route>>)> {
        let after = route.as_ref().map(|(_, route)| route.clone());
        let before = match route {
            Some(route) => self.routes.insert(id.to_owned(), route),
            None => self.routes.remove(id),
        };
        let is_same = match (&before, &after) {
            (Some((_, before)), Some(after)) => Arc::ptr_eq(before, after),
            (before, after) => before.is_none() && after.is_none(),
        };
        (!is_same).then(|| (frontend::route_id(id), after))
    }
}

impl fmt::Debug for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The problems of one unit.
#[derive(Debug, Default)]
struct Report(Vec<Problem>);

impl Report {
    fn add(&mut self, key: &Key, message: impl Into<String>) {
        self.0.push(Problem { key: key.to_string(), message: message.into() });
    }
}

/// Whether what a name stands for changed.
fn exchange<K: Ord + ToOwned<Owned = Owned> + ?Sized, Owned: Ord + std::borrow::Borrow<K>, V: PartialEq>(
    known: &mut BTreeMap<Owned, V>,
    name: &K,
    value: Option<V>,
) -> bool {
    if known.get(name) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => known.insert(name.to_owned(), value),
        None => known.remove(name),
    };
    true
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
