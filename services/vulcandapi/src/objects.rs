//! Reading, writing and deleting objects.

use crate::ask::Ask;
use crate::failure::Failure;
use crate::storage::{Change, Place, Storage};
use crate::{Config, host, secret};
use identity::SealKey;
use serde_json::Value;
use std::sync::Arc;
use store::KeyValue;
use vulcand::shape::{self, Object};
use vulcand::statistics::Statistics;
use vulcand::{Kind, Prefix, objects};

/// Whoever writes at the same time is given way to so often.
const ATTEMPTS_MAX: usize = 16;
/// Bytes one id may have (as the edge reads them).
const ID_BYTES_MAX: usize = 512;

/// Where an id that is no field comes from.
pub(crate) const IN_PATH: &str = "the path";

pub(crate) struct Objects {
    storage: Storage,
    seal_key: Option<SealKey>,
    pub statistics: Option<Arc<dyn Statistics>>,
}

/// Objects of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Host,
    Listener,
    Backend,
    Server,
    Frontend,
    Middleware,
}

impl Sort {
    /// What it is called in bodies and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Listener => "Listener",
            Self::Backend => "Backend",
            Self::Server => "Server",
            Self::Frontend => "Frontend",
            Self::Middleware => "Middleware",
        }
    }

    /// In a list of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Host => "Hosts",
            Self::Listener => "Listeners",
            Self::Backend => "Backends",
            Self::Server => "Servers",
            Self::Frontend => "Frontends",
            Self::Middleware => "Middlewares",
        }
    }

    /// `parent` is the backend of a server, or the frontend of a middleware.
    pub fn kind(self, parent: &str, id: &str) -> Kind {
        let (parent, id) = (parent.to_owned(), id.to_owned());
        match self {
            Self::Host => Kind::Host { name: id },
            Self::Listener => Kind::Listener { id },
            Self::Backend => Kind::Backend { id },
            Self::Server => Kind::Server { backend: parent, id },
            Self::Frontend => Kind::Frontend { id },
            Self::Middleware => Kind::Middleware { frontend: parent, id },
        }
    }

    pub fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Host { .. } => Self::Host,
            Kind::Listener { .. } => Self::Listener,
            Kind::Backend { .. } => Self::Backend,
            Kind::Server { .. } => Self::Server,
            Kind::Frontend { .. } => Self::Frontend,
            Kind::Middleware { .. } => Self::Middleware,
        }
    }

    /// Below a prefix.
    fn path(self, parent: &str) -> String {
        match self {
            Self::Host => "hosts/".into(),
            Self::Listener => "listeners/".into(),
            Self::Backend => "backends/".into(),
            Self::Frontend => "frontends/".into(),
            Self::Server => format!("backends/{parent}/servers/"),
            Self::Middleware => format!("frontends/{parent}/middlewares/"),
        }
    }
}

impl Objects {
    pub fn new(config: Config) -> Self {
        let Config { store, fence, seal_key, statistics } = config;
        Self { storage: Storage::new(store, fence), seal_key, statistics }
    }

    /// In the order of their ids. A value that is no JSON object is left out: an edge reports it.
    pub async fn list(&self, sort: Sort, parent: &str) -> Result<Vec<(Kind, Object)>, Failure> {
        if !parent.is_empty() {
            let kind = if sort == Sort::Server { Sort::Backend } else { Sort::Frontend }.kind("", parent);
            self.must_exist(&kind).await?;
        }
        let (_, all) = self.storage.all_below(&sort.path(parent)).await?;
        let of_sort = all.into_iter().filter(|(kind, _)| Sort::of(kind) == sort);
        Ok(of_sort.filter_map(|(kind, held)| Some((kind.clone(), self.shown(&kind, &held).ok()?))).collect())
    }

    /// Of every backend.
    pub async fn all_servers(&self) -> Result<Vec<(Kind, Object)>, Failure> {
        let (_, all) = self.storage.all_below("backends/").await?;
        let servers = all.into_iter().filter(|(kind, _)| Sort::of(kind) == Sort::Server);
        Ok(servers.filter_map(|(kind, held)| Some((kind.clone(), self.shown(&kind, &held).ok()?))).collect())
    }

    pub async fn show(&self, kind: &Kind) -> Result<Object, Failure> {
        let places = self.storage.places(std::slice::from_ref(kind)).await?;
        let held = places.iter().flatten().find_map(Place::held).ok_or_else(|| not_found(kind))?;
        self.shown(kind, held)
    }

    /// Writes an object as a client of vulcand's gives it; returns it as it is then.
    pub async fn upsert(&self, sort: Sort, parent: &str, ask: Ask) -> Result<Object, Failure> {
        let fields = sort.kind("", "").fields();
        let given = shape::named(fields, ask.object);
        let id_field = if sort == Sort::Host { "Name" } else { "Id" };
        let id = match given.get(id_field) {
            Some(Value::String(id)) => checked_id(id_field, id)?,
            Some(Value::Null) | None => return Err(Failure::field(id_field, "is missing")),
            Some(_) => return Err(Failure::field(id_field, "expected a string")),
        };
        if !parent.is_empty() {
            checked_id(IN_PATH, parent)?;
        }
        let kind = sort.kind(parent, id);
        for _ in 0..ATTEMPTS_MAX {
            let (change, written) = self.upsert_once(&kind, given.clone()).await?;
            if self.storage.write(change, ask.ttl).await? {
                tracing::info!(object = %sort.name(), id, parent, "written over vulcand's API");
                return Ok(self.present(&kind, written));
            }
        }
        Err(Failure::Contended)
    }

    async fn upsert_once(&self, kind: &Kind, mut given: Object) -> Result<(Change, Object), Failure> {
        let owner = match kind {
            Kind::Server { backend, .. } => Some(Kind::Backend { id: backend.clone() }),
            Kind::Middleware { frontend, .. } => Some(Kind::Frontend { id: frontend.clone() }),
            Kind::Frontend { .. } => match given.get("BackendId") {
                Some(Value::String(backend)) if !backend.is_empty() => Some(Kind::Backend { id: backend.clone() }),
                _ => None,
            },
            _ => None,
        };
        let kinds: Vec<Kind> = [Some(kind.clone()), owner.clone()].into_iter().flatten().collect();
        let places = self.storage.places(&kinds).await?;
        let own = places.first().ok_or_else(|| not_found(kind))?;
        let mut change = Change::default();
        let held_at = own.iter().position(|place| place.held().is_some());
        let at = match (held_at, &owner) {
            // An edge looks for what belongs together under one prefix.
            (held_at, Some(owner)) => {
                let owners = &places[1];
                let at = held_at.or_else(|| owners.iter().position(|place| place.held().is_some())).unwrap_or(0);
                change.if_unchanged(&owners[at]);
                if owners[at].held().is_none() && !self.is_implied(owner, own[at].prefix).await? {
                    return Err(not_found(owner));
                }
                at
            }
            (held_at, None) => held_at.unwrap_or(0),
        };
        let place = &own[at];
        let stored = place.held().map_or_else(Object::new, |held| object_of(held).unwrap_or_default());
        if matches!(kind, Kind::Middleware { .. })
            && let Some(settings) = given.get_mut("Middleware")
        {
            let stored = shape::named(kind.fields(), stored.clone());
            secret::restore(settings, stored.get("Middleware"), "Middleware")?;
        }
        let mut changed = shape::changed(kind, stored.clone(), given.clone())?;
        if matches!(kind, Kind::Host { .. }) {
            host::seal(&mut changed, &given, &shape::named(kind.fields(), stored), self.seal_key.as_ref())?;
        }
        let value = serde_json::to_vec(&changed).map_err(|error| Failure::Invalid(error.to_string()))?;
        check(kind, &value)?;
        change.if_unchanged(place);
        change.put(place, value.into());
        Ok((change, changed))
    }

    /// A server makes its backend, with its defaults.
    async fn is_implied(&self, owner: &Kind, prefix: Prefix) -> Result<bool, Failure> {
        match owner {
            Kind::Backend { id } => Ok(self.storage.is_anything_below(prefix, &Sort::Server.path(id)).await?),
            _ => Ok(false),
        }
    }

    /// With all that belongs to it, in one transaction. A backend that is used stays.
    pub async fn delete(&self, kind: &Kind) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            if self.storage.write(self.delete_once(kind).await?, None).await? {
                tracing::info!(object = %Sort::of(kind).name(), id = kind.id(), "deleted over vulcand's API");
                return Ok(());
            }
        }
        Err(Failure::Contended)
    }

    async fn delete_once(&self, kind: &Kind) -> Result<Change, Failure> {
        let mut change = Change::default();
        if let Kind::Backend { id } = kind {
            let (revision, frontends) = self.storage.all_below("frontends/").await?;
            let users = users(&frontends, id);
            if !users.is_empty() {
                return Err(Failure::InUse { backend: id.clone(), users });
            }
            change.if_unwritten_since("frontends/", revision);
        }
        let places = self.storage.places(std::slice::from_ref(kind)).await?;
        let mut is_there = false;
        for place in places.iter().flatten() {
            is_there |= place.held().is_some() || self.is_implied(kind, place.prefix).await?;
            change.if_unchanged(place);
            change.delete(place);
            match kind {
                Kind::Backend { id } => change.delete_below(place, &format!("backends/{id}/")),
                Kind::Frontend { id } => change.delete_below(place, &format!("frontends/{id}/")),
                _ => {}
            }
        }
        if is_there { Ok(change) } else { Err(not_found(kind)) }
    }

    async fn must_exist(&self, kind: &Kind) -> Result<(), Failure> {
        let places = self.storage.places(std::slice::from_ref(kind)).await?;
        for place in places.iter().flatten() {
            if place.held().is_some() || self.is_implied(kind, place.prefix).await? {
                return Ok(());
            }
        }
        Err(not_found(kind))
    }

    fn shown(&self, kind: &Kind, held: &KeyValue) -> Result<Object, Failure> {
        let key = || String::from_utf8_lossy(&held.key).into_owned();
        Ok(self.present(kind, object_of(held).ok_or_else(|| Failure::Stored { key: key() })?))
    }

    fn present(&self, kind: &Kind, stored: Object) -> Object {
        let mut shown = shape::shown(kind, stored);
        if matches!(kind, Kind::Host { .. }) {
            host::redact(&mut shown, self.seal_key.as_ref());
        }
        if matches!(kind, Kind::Middleware { .. })
            && let Some(settings) = shown.get_mut("Middleware")
        {
            secret::redact(settings);
        }
        shown
    }
}

/// The checks the edge makes of it.
fn check(kind: &Kind, value: &[u8]) -> Result<(), Failure> {
    match kind {
        Kind::Host { name } => drop(objects::Host::parse(name, value)?),
        Kind::Listener { id } => drop(objects::Listener::parse(id, value)?),
        Kind::Backend { id } => drop(objects::Backend::parse(id, value)?),
        Kind::Server { id, .. } => drop(objects::Server::parse(id, value)?),
        Kind::Frontend { id } => drop(objects::Frontend::parse(id, value)?),
        Kind::Middleware { id, .. } => drop(objects::Middleware::parse(id, value)?),
    }
    Ok(())
}

/// What one segment of a key can be.
pub(crate) fn checked_id<'a>(field: &str, id: &'a str) -> Result<&'a str, Failure> {
    match id {
        "" => Err(Failure::field(field, "is empty")),
        id if id.len() > ID_BYTES_MAX => Err(Failure::field(field, format!("longer than {ID_BYTES_MAX} bytes"))),
        id if id.contains('/') => Err(Failure::field(field, format!("{id:?} has a slash, which ends ids in keys"))),
        id if id.chars().any(char::is_control) => Err(Failure::field(field, "has a control character")),
        id => Ok(id),
    }
}

/// The frontends that name a backend.
fn users(frontends: &std::collections::BTreeMap<Kind, KeyValue>, backend: &str) -> Vec<String> {
    let names = |held: &KeyValue| {
        let frontend = shape::named(shape::FRONTEND, object_of(held).unwrap_or_default());
        frontend.get("BackendId").and_then(Value::as_str) == Some(backend)
    };
    let of_kind = |kind: &&Kind| matches!(kind, Kind::Frontend { .. });
    frontends.iter().filter(|(kind, held)| of_kind(kind) && names(held)).map(|(kind, _)| kind.id().to_owned()).collect()
}

fn object_of(held: &KeyValue) -> Option<Object> {
    match serde_json::from_slice(&held.value) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn not_found(kind: &Kind) -> Failure {
    Failure::NotFound { what: Sort::of(kind).name(), id: kind.id().to_owned() }
}
