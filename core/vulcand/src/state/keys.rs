//! The keys as they are, and which of them belong together.

use super::{HostSpec, ListenerSpec, Report, chain};
use crate::key::{Key, Kind, Prefix};
use crate::objects::{Backend, Frontend, Host, Listener, Middleware, ObjectError, Server};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: BTreeMap<Key, Entry>,
    /// Which frontends name a backend, whether there is one or not.
    frontends: BTreeMap<(Prefix, String), BTreeSet<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// As it was read last; the same bytes change nothing.
    value: Vec<u8>,
    pub good: Option<Object>,
    problem: Option<String>,
}

#[derive(Debug)]
pub(super) enum Object {
    Host(Host),
    Listener(Listener),
    Backend(Backend),
    Server(Server),
    Frontend(Frontend),
    Middleware(Middleware),
}

impl Keys {
    /// Whether it is another value.
    pub fn put(&mut self, key: &Key, value: &[u8]) -> bool {
        let read = match self.entries.get_mut(key) {
            Some(entry) if entry.value == value => return false,
            _ => Object::read(&key.kind, value),
        };
        let backend_before = self.backend_of(key);
        let entry = self.entries.entry(key.clone()).or_default();
        entry.value = value.to_vec();
        match read {
            Ok(object) => (entry.good, entry.problem) = (Some(object), None),
            Err(error) => entry.problem = Some(chain(&error)),
        }
        self.link(key, backend_before);
        true
    }

    /// Whether it was there.
    pub fn delete(&mut self, key: &Key) -> bool {
        let backend_before = self.backend_of(key);
        let was_there = self.entries.remove(key).is_some();
        self.link(key, backend_before);
        was_there
    }

    /// Those under a prefix that are not in `present`.
    pub fn missing(&self, prefix: &str, present: &BTreeSet<Key>) -> Vec<Key> {
        let is_missing = |key: &&Key| key.prefix.as_str() == prefix && !present.contains(key);
        self.entries.keys().filter(is_missing).cloned().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The frontends that name this backend.
    pub fn frontends_of(&self, prefix: Prefix, backend: &str) -> impl Iterator<Item = &String> {
        self.frontends.get(&(prefix, backend.to_owned())).into_iter().flatten()
    }

    pub fn frontend(&self, prefix: Prefix, id: &str) -> Option<&Entry> {
        self.entries.get(&Key { prefix, kind: Kind::Frontend { id: id.to_owned() } })
    }

    pub fn backend(&self, prefix: Prefix, id: &str) -> Option<&Backend> {
        let key = Key { prefix, kind: Kind::Backend { id: id.to_owned() } };
        match &self.entries.get(&key)?.good {
            Some(Object::Backend(backend)) => Some(backend),
            _ => None,
        }
    }

    pub fn servers(&self, prefix: Prefix, backend: &str) -> Vec<&Server> {
        let first = Key { prefix, kind: Kind::Server { backend: backend.to_owned(), id: String::new() } };
        let of_backend = self.entries.range(first..).take_while(
            |(key, _)| matches!(&key.kind, Kind::Server { backend: of, .. } if key.prefix == prefix && of == backend),
        );
        of_backend.filter_map(|(_, entry)| entry.server()).collect()
    }

    pub fn middlewares(&self, prefix: Prefix, frontend: &str) -> impl Iterator<Item = (&Key, &Entry)> {
        let first = Key { prefix, kind: Kind::Middleware { frontend: frontend.to_owned(), id: String::new() } };
        self.entries.range(first..).take_while(
            move |(key, _)| matches!(&key.kind, Kind::Middleware { frontend: of, .. } if key.prefix == prefix && of == frontend),
        )
    }

    /// The listener with this id, if its socket can be named.
    pub fn listener(&self, id: &str, report: &mut Report) -> Option<ListenerSpec> {
        let mut found = None;
        for prefix in [Prefix::Slash, Prefix::Bare] {
            let key = Key { prefix, kind: Kind::Listener { id: id.to_owned() } };
            let Some(entry) = self.entries.get(&key) else { continue };
            entry.report(&key, report);
            let Some(Object::Listener(listener)) = &entry.good else { continue };
            if found.is_some() {
                report.add(&key, SAME_ID);
                continue;
            }
            match listener.socket_address() {
                Ok(address) => {
                    let (id, scope) = (listener.id.clone(), listener.scope.clone());
                    let (tls, notes) = listener.tls().ok().flatten().unzip();
                    notes.into_iter().flatten().for_each(|note| report.add(&key, note));
                    // It was checked when it was read.
                    let proxy = listener.proxy_header().unwrap_or_default();
                    found = Some(ListenerSpec { id, address, scope, tls, proxy });
                }
                Err(error) => report.add(&key, chain(&error)),
            }
        }
        found
    }

    /// The certificate of the host with this name, if it has one.
    pub fn host(&self, name: &str, report: &mut Report) -> Option<HostSpec> {
        let mut found = None;
        for prefix in [Prefix::Slash, Prefix::Bare] {
            let key = Key { prefix, kind: Kind::Host { name: name.to_owned() } };
            let Some(entry) = self.entries.get(&key) else { continue };
            entry.report(&key, report);
            let Some(Object::Host(host)) = &entry.good else { continue };
            if found.is_some() {
                report.add(&key, SAME_ID);
                continue;
            }
            host.notes().into_iter().for_each(|note| report.add(&key, note));
            found = Some(HostSpec {
                key: key.to_string(),
                name: name.to_owned(),
                key_pair: host.settings.key_pair.clone(),
                is_default: host.settings.default,
                ocsp: host.ocsp().ok().flatten(),
            });
        }
        found.filter(|host| !host.key_pair.is_empty())
    }

    /// What is wrong with a key that means something to others only.
    pub fn check(&self, key: &Key, report: &mut Report) {
        let Some(entry) = self.entries.get(key) else { return };
        entry.report(key, report);
        if let Some(Object::Backend(backend)) = &entry.good
            && let Ok((_, notes)) = backend.tls()
        {
            notes.into_iter().for_each(|note| report.add(key, note));
        }
    }

    /// The backend a frontend names.
    fn backend_of(&self, key: &Key) -> Option<String> {
        match &self.entries.get(key)?.good {
            Some(Object::Frontend(frontend)) => Some(frontend.backend_id.clone()),
            _ => None,
        }
    }

    /// Keeps `frontends` in step with a key that changed.
    fn link(&mut self, key: &Key, before: Option<String>) {
        let after = self.backend_of(key);
        let Kind::Frontend { id } = &key.kind else { return };
        if before == after {
            return;
        }
        if let Some(backend) = before {
            let named = (key.prefix, backend);
            if let Some(frontends) = self.frontends.get_mut(&named) {
                frontends.remove(id);
                if frontends.is_empty() {
                    self.frontends.remove(&named);
                }
            }
        }
        if let Some(backend) = after {
            self.frontends.entry((key.prefix, backend)).or_default().insert(id.clone());
        }
    }
}

/// Of what is under both prefixes.
pub(super) const SAME_ID: &str = "the same id exists under /vulcand/, which counts";

impl Entry {
    fn server(&self) -> Option<&Server> {
        match &self.good {
            Some(Object::Server(server)) => Some(server),
            _ => None,
        }
    }

    /// What is wrong with its present value.
    pub fn report(&self, key: &Key, report: &mut Report) {
        if let Some(message) = &self.problem {
            let kept = if self.good.is_some() { " (the last good value serves on)" } else { "" };
            report.add(key, format!("{message}{kept}"));
        }
    }
}

impl Object {
    fn read(kind: &Kind, value: &[u8]) -> Result<Self, ObjectError> {
        Ok(match kind {
            Kind::Host { name } => Self::Host(Host::parse(name, value)?),
            Kind::Listener { id } => Self::Listener(Listener::parse(id, value)?),
            Kind::Backend { id } => Self::Backend(Backend::parse(id, value)?),
            Kind::Server { id, .. } => Self::Server(Server::parse(id, value)?),
            Kind::Frontend { id } => Self::Frontend(Frontend::parse(id, value)?),
            Kind::Middleware { id, .. } => Self::Middleware(Middleware::parse(id, value)?),
        })
    }
}
