//! The fields vulcand knows of each object: their names as it writes them, what they hold, and what they are when they are
//! left out. By these a value is checked, shown whole, and changed without losing what vulcand does not know.
//!
//! A client of vulcand's API sends all fields it knows: one that is not there has its default. Of the fields it cannot know
//! (ours, a newer version's, notes of people) it sends none: they stay, unless it says `null`.

use crate::key::Kind;
use serde_json::{Map, Value, json};

pub type Object = Map<String, Value>;

/// The fields of one object.
pub type Fields = &'static [Field];

#[derive(Debug)]
pub struct Field {
    /// As vulcand writes it; it is read whatever its case.
    pub name: &'static str,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    Text,
    Flag,
    Number,
    Texts,
    Object(Fields),
    /// An object that may be missing altogether.
    Optional(Fields),
    /// Read by others.
    Opaque,
    /// Said in answers, never kept.
    Told,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct ShapeError {
    /// As in `Settings.Limits.MaxBodyBytes`.
    pub path: String,
    expected: &'static str,
    found: &'static str,
}

const fn field(name: &'static str, holds: Holds) -> Field {
    Field { name, holds }
}

const TLS: Fields = &[
    field("PreferServerCipherSuites", Holds::Flag),
    field("InsecureSkipVerify", Holds::Flag),
    field("SessionTicketsDisabled", Holds::Flag),
    field(
        "SessionCache",
        Holds::Object(&[
            field("Type", Holds::Text),
            field("Settings", Holds::Optional(&[field("Capacity", Holds::Number)])),
        ]),
    ),
    field("CipherSuites", Holds::Texts),
    field("MinVersion", Holds::Text),
    field("MaxVersion", Holds::Text),
];

pub const HOST: Fields = &[
    field("Name", Holds::Text),
    field(
        "Settings",
        Holds::Object(&[
            field("Default", Holds::Flag),
            field("KeyPair", Holds::Opaque),
            field(
                "AutoCert",
                Holds::Optional(&[
                    field("Email", Holds::Text),
                    field("RenewBefore", Holds::Number),
                    field("DirectoryURL", Holds::Text),
                    field("Key", Holds::Text),
                ]),
            ),
            field(
                "OCSP",
                Holds::Object(&[
                    field("Enabled", Holds::Flag),
                    field("Period", Holds::Text),
                    field("Responders", Holds::Texts),
                    field("SkipSignatureCheck", Holds::Flag),
                ]),
            ),
        ]),
    ),
];

pub const LISTENER: Fields = &[
    field("Id", Holds::Text),
    field("Protocol", Holds::Text),
    field("Address", Holds::Object(&[field("Network", Holds::Text), field("Address", Holds::Text)])),
    field("Scope", Holds::Text),
    field("Settings", Holds::Optional(&[field("TLS", Holds::Object(TLS))])),
    field("ProxyProtocol", Holds::Text),
];

pub const BACKEND: Fields = &[
    field("Id", Holds::Text),
    field("Type", Holds::Text),
    field(
        "Settings",
        Holds::Object(&[
            field(
                "Timeouts",
                Holds::Object(&[
                    field("Read", Holds::Text),
                    field("Dial", Holds::Text),
                    field("TLSHandshake", Holds::Text),
                ]),
            ),
            field(
                "KeepAlive",
                Holds::Object(&[field("Period", Holds::Text), field("MaxIdleConnsPerHost", Holds::Number)]),
            ),
            field("TLS", Holds::Optional(TLS)),
        ]),
    ),
    field("Stats", Holds::Told),
];

pub const SERVER: Fields = &[field("Id", Holds::Text), field("URL", Holds::Text), field("Stats", Holds::Told)];

pub const FRONTEND: Fields = &[
    field("Id", Holds::Text),
    field("Route", Holds::Text),
    field("Type", Holds::Text),
    field("BackendId", Holds::Text),
    field(
        "Settings",
        Holds::Object(&[
            field(
                "Limits",
                Holds::Object(&[field("MaxMemBodyBytes", Holds::Number), field("MaxBodyBytes", Holds::Number)]),
            ),
            field("FailoverPredicate", Holds::Text),
            field("Hostname", Holds::Text),
            field("TrustForwardHeader", Holds::Flag),
            field("PassHostHeader", Holds::Flag),
            field("Stream", Holds::Flag),
            field("StreamFlushIntervalNanoSecs", Holds::Number),
        ]),
    ),
    field("Stats", Holds::Told),
];

pub const MIDDLEWARE: Fields = &[
    field("Id", Holds::Text),
    field("Priority", Holds::Number),
    field("Type", Holds::Text),
    field("Middleware", Holds::Opaque),
];

/// The settings of vulcand's own middlewares. Of others vulcand's clients know nothing.
const MIDDLEWARES: &[(&str, &[&str])] = &[
    ("ratelimit", &["PeriodSeconds", "Requests", "Burst", "Variable", "RateVar"]),
    ("connlimit", &["Connections", "Variable"]),
    ("rewrite", &["Regexp", "Replacement", "RewriteBody", "Redirect"]),
    ("trace", &["ReqHeaders", "RespHeaders", "Addr"]),
    (
        "cbreaker",
        &["Condition", "Fallback", "OnTripped", "OnStandby", "FallbackDuration", "RecoveryDuration", "CheckPeriod"],
    ),
];

impl Kind {
    pub fn fields(&self) -> Fields {
        match self {
            Self::Host { .. } => HOST,
            Self::Listener { .. } => LISTENER,
            Self::Backend { .. } => BACKEND,
            Self::Server { .. } => SERVER,
            Self::Frontend { .. } => FRONTEND,
            Self::Middleware { .. } => MIDDLEWARE,
        }
    }

    /// The field that holds the id.
    pub fn id_field(&self) -> &'static str {
        match self {
            Self::Host { .. } => "Name",
            _ => "Id",
        }
    }

    /// The last part of the key.
    pub fn id(&self) -> &str {
        match self {
            Self::Host { name } => name,
            Self::Listener { id }
            | Self::Backend { id }
            | Self::Server { id, .. }
            | Self::Frontend { id }
            | Self::Middleware { id, .. } => id,
        }
    }
}

/// What is kept when `given` is sent for an object that is stored: fields vulcand knows as they were given, others as they
/// were, but for those given too.
pub fn changed(kind: &Kind, stored: Object, given: Object) -> Result<Object, ShapeError> {
    let (stored, given) = (named(kind.fields(), stored), named(kind.fields(), given));
    let settings = match kind {
        Kind::Middleware { .. } => settings(&stored, &given),
        _ => None,
    };
    let mut changed = merged(kind.fields(), stored, given, "")?;
    if let Some(settings) = settings {
        changed.insert("Middleware".to_owned(), Value::Object(settings));
    }
    changed.insert(kind.id_field().to_owned(), json!(kind.id()));
    Ok(changed)
}

/// A stored object as vulcand would show it: names as vulcand writes them, with the defaults of what is left out.
pub fn shown(kind: &Kind, stored: Object) -> Object {
    let mut shown = with_defaults(kind.fields(), stored);
    shown.insert(kind.id_field().to_owned(), json!(kind.id()));
    shown
}

/// Puts known names into vulcand's case.
pub fn named(fields: Fields, object: Object) -> Object {
    let mut named = Object::new();
    for (name, value) in object {
        match fields.iter().find(|field| field.name.eq_ignore_ascii_case(&name)) {
            Some(field) if field.name != name => {
                named.entry(field.name).or_insert(value);
            }
            // The exact name counts.
            _ => {
                named.insert(name, value);
            }
        }
    }
    named
}

fn merged(fields: Fields, stored: Object, given: Object, path: &str) -> Result<Object, ShapeError> {
    let (mut stored, mut given) = (named(fields, stored), named(fields, given));
    let mut merged = Object::new();
    for field in fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let given = given.remove(field.name).filter(|value| !value.is_null());
        if let Some(value) = field.holds.merged(stored.remove(field.name), given, path)? {
            merged.insert(field.name.to_owned(), value);
        }
    }
    merged.extend(stored);
    for (name, value) in given {
        match value {
            Value::Null => merged.remove(&name),
            value => merged.insert(name, value),
        };
    }
    Ok(merged)
}

impl Holds {
    fn merged(&self, stored: Option<Value>, given: Option<Value>, path: String) -> Result<Option<Value>, ShapeError> {
        let wrong = |expected, given: &Value, path| Err(ShapeError { path, expected, found: kind_of(given) });
        let (fields, given) = match (self, given) {
            (Self::Told, _) => return Ok(None),
            (Self::Object(fields), None) => (fields, Object::new()),
            (_, None) => return Ok(None),
            (Self::Object(fields) | Self::Optional(fields), Some(Value::Object(given))) => (fields, given),
            (Self::Object(_) | Self::Optional(_), Some(given)) => return wrong("an object", &given, path),
            (Self::Text, Some(given)) if !given.is_string() => return wrong("a string", &given, path),
            (Self::Flag, Some(given)) if !given.is_boolean() => return wrong("true or false", &given, path),
            (Self::Number, Some(given)) if given.as_i64().is_none() => return wrong("a whole number", &given, path),
            (Self::Texts, Some(given)) if !is_texts(&given) => return wrong("a list of strings", &given, path),
            (_, given) => return Ok(given),
        };
        let stored = match stored {
            Some(Value::Object(stored)) => stored,
            _ => Object::new(),
        };
        let merged = merged(fields, stored, given, &path)?;
        let says_nothing = merged.is_empty() && matches!(self, Self::Object(_));
        Ok((!says_nothing).then_some(Value::Object(merged)))
    }

    fn default(&self) -> Option<Value> {
        match self {
            Self::Text => Some(json!("")),
            Self::Flag => Some(json!(false)),
            Self::Number => Some(json!(0)),
            Self::Texts => Some(json!([])),
            Self::Object(fields) => Some(Value::Object(with_defaults(fields, Object::new()))),
            Self::Optional(_) | Self::Opaque | Self::Told => None,
        }
    }
}

fn with_defaults(fields: Fields, stored: Object) -> Object {
    let mut shown = named(fields, stored);
    for field in fields {
        let shows = match (&field.holds, shown.remove(field.name).filter(|value| !value.is_null())) {
            (Holds::Object(fields) | Holds::Optional(fields), Some(Value::Object(stored))) => {
                Some(Value::Object(with_defaults(fields, stored)))
            }
            (_, Some(stored)) => Some(stored),
            (holds, None) => holds.default(),
        };
        shown.extend(shows.map(|value| (field.name.to_owned(), value)));
    }
    shown
}

/// The settings of a middleware of vulcand's own that keeps its type, with those that vulcand does not know.
fn settings(stored: &Object, given: &Object) -> Option<Object> {
    let (Some(Value::String(kind)), Some(Value::Object(now))) = (given.get("Type"), given.get("Middleware")) else {
        return None;
    };
    let known = MIDDLEWARES.iter().find(|(name, _)| name == kind).map(|(_, known)| *known)?;
    let Some(Value::Object(before)) = stored.get("Middleware").filter(|_| stored.get("Type") == given.get("Type"))
    else {
        return None;
    };
    let is_known = |name: &str| known.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut settings: Object = before.clone().into_iter().filter(|(name, _)| !is_known(name)).collect();
    settings.extend(now.clone());
    settings.retain(|name, value| is_known(name) || !value.is_null());
    Some(settings)
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "another number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
