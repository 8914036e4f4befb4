//! What vulcand's keys amount to, kept as they change: a change translates anew only what it concerns.

mod frontend;
mod keys;

use crate::alias::Alias;
use crate::key::{Key, Kind, Prefix};
use crate::objects::ProxyHeader;
use keys::Keys;
use routing::certificate::OcspSpec;
use routing::{ListenerTls, Route, RouteError, RouteSpec};
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
    routes: BTreeMap<String, Translated>,
    /// What backends' servers were translated to, for all of their frontends.
    lists: BTreeMap<BackendId, ServerList>,
    /// By the listener's id.
    listeners: BTreeMap<String, ListenerSpec>,
    /// By the host's name.
    hosts: BTreeMap<String, HostSpec>,
    problems: BTreeMap<Unit, Vec<Problem>>,
}

/// A frontend that serves.
#[derive(Debug)]
struct Translated {
    /// Without its servers.
    spec: RouteSpec,
    backend: BackendId,
    route: Arc<Route>,
}

type BackendId = (Prefix, String);
type ServerList = Arc<[routing::Server]>;

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
    /// Of a backend: its frontends get others, and are translated no further. After all frontends that are.
    Servers(Prefix, String),
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
    pub proxy: ProxyHeader,
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
    /// What the authority says of the certificate is stapled.
    pub ocsp: Option<OcspSpec>,
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

impl Changes {
    fn append(&mut self, mut later: Self) {
        self.routes.append(&mut later.routes);
        self.listeners |= later.listeners;
        self.hosts |= later.hosts;
        self.problems |= later.problems;
    }
}

/// The route, or the same one with these servers.
fn with_servers(route: Arc<Route>, servers: ServerList) -> Arc<Route> {
    let is_same = Arc::ptr_eq(&route.servers, &servers) || route.servers == servers;
    if is_same { route } else { Arc::new(route.with_servers(servers)) }
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
                Unit::Servers(prefix, backend) => {
                    self.exchange_servers(&(*prefix, backend.clone()), &mut changes);
                    continue;
                }
            }
            let problems = Some(report.0).filter(|problems| !problems.is_empty());
            changes.problems |= exchange(&mut self.problems, &unit, problems);
        }
        changes
    }

    /// As of the last translation, like all that follows.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values().map(|translated| &translated.route)
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
            Kind::Server { backend: id, .. } if self.keys.backend(key.prefix, id).is_some() => {
                self.lists.remove(&(key.prefix, id.clone()));
                self.changed.insert(Unit::Servers(key.prefix, id.clone()));
                Unit::Key(key)
            }
            // Without the backend's own key its servers say whether there is one.
            Kind::Backend { id } | Kind::Server { backend: id, .. } => {
                self.lists.remove(&(key.prefix, id.clone()));
                self.changed.extend(self.keys.frontends_of(key.prefix, id).cloned().map(Unit::Frontend));
                Unit::Key(key)
            }
            Kind::Host { name } => Unit::Host(name.clone()),
        };
        self.changed.insert(unit);
    }

    fn route(&mut self, id: &str, report: &mut Report) -> Option<Translated> {
        let (prefix, backend, spec) = self.keys.spec(id, &self.aliases, report)?;
        let backend = (prefix, backend);
        let known = self.routes.get(id).filter(|known| known.spec == spec).map(|known| known.route.clone());
        let compiled = known.map_or_else(|| Route::compile(spec.clone()).map(Arc::new), Ok);
        let served = compiled.and_then(|route| Ok(with_servers(route, self.list(&backend)?)));
        match served {
            Ok(route) => Some(Translated { spec, backend, route }),
            Err(error) => {
                report.add(&Key { prefix, kind: Kind::Frontend { id: id.to_owned() } }, chain(&error));
                None
            }
        }
    }

    /// The backend's servers, translated once for all of its frontends.
    fn list(&mut self, backend: &BackendId) -> Result<ServerList, RouteError> {
        if let Some(list) = self.lists.get(backend) {
            return Ok(list.clone());
        }
        let servers = self.keys.servers(backend.0, &backend.1);
        let servers = servers.iter().map(|server| (server.id.clone(), server.url.clone(), 1)).collect();
        let list = routing::Server::list(servers, &[])?;
        self.lists.insert(backend.clone(), list.clone());
        Ok(list)
    }

    /// Gives the frontends of a backend its servers as they are now.
    fn exchange_servers(&mut self, backend: &BackendId, changes: &mut Changes) {
        let frontends: Vec<String> = self.keys.frontends_of(backend.0, &backend.1).cloned().collect();
        let list = match self.list(backend) {
            Ok(list) => list,
            Err(_) => {
                // Each of them says why it is not served.
                self.changed.extend(frontends.into_iter().map(Unit::Frontend));
                return changes.append(self.take_changes());
            }
        };
        for id in frontends {
            match self.routes.get_mut(&id) {
                Some(translated) if translated.backend == *backend => {
                    let route = with_servers(translated.route.clone(), list.clone());
                    if !Arc::ptr_eq(&route, &translated.route) {
                        changes.routes.push((frontend::route_id(&id), Some(route.clone())));
                        translated.route = route;
                    }
                }
                // It is served from the other prefix.
                Some(_) => {}
                // It was not served with the servers of before, which were too many.
                None => {
                    self.changed.insert(Unit::Frontend(id));
                }
            }
        }
        if !self.changed.is_empty() {
            changes.append(self.take_changes());
        }
    }

    /// What that changes, if anything.
    fn exchange_route(&mut self, id: &str, route: Option<Translated>) -> Option<(String, Option<Arc<Route>>)> {
        let after = route.as_ref().map(|translated| translated.route.clone());
        let before = match route {
            Some(route) => self.routes.insert(id.to_owned(), route),
            None => self.routes.remove(id),
        };
        let is_same = match (&before, &after) {
            (Some(before), Some(after)) => Arc::ptr_eq(&before.route, after),
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
