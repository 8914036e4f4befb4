//! One middleware, from vulcand's JSON: `{"Id": "rl1", "Priority": 1, "Type": "ratelimit", "Middleware": {…}}`.
//!
//! Names match whatever their case, and `null` is as good as nothing, as in Go. vulcand's own types ignore names they do
//! not know, as vulcand does; ours refuse them.

mod fields;

pub(crate) use fields::Fields;

use crate::step::Step;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Bytes of text one regexp may have.
pub(crate) const REGEXP_BYTES_MAX: usize = 8 * 1024;
/// Bytes one compiled regexp may take.
const REGEXP_COMPILED_BYTES_MAX: usize = 1 << 20;
/// Nesting of groups in a regexp.
const REGEXP_NESTING_MAX: u32 = 100;

/// What is wrong, and where: `Requests`, or `Fallback.Action.StatusCode`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SpecError {
    pub field: String,
    pub message: String,
}

/// A middleware that was read, with whatever state it keeps.
#[derive(Clone)]
pub struct Middleware {
    pub(crate) id: String,
    pub(crate) priority: i64,
    kind: String,
    settings: Value,
    pub(crate) step: Arc<dyn Step>,
}

impl SpecError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Middleware {
    /// The whole value, as a route document has it.
    pub fn read(value: &Value) -> Result<Self, SpecError> {
        let mut fields = Fields::of(value, "")?;
        let id = fields.text("Id")?;
        let priority = fields.integer("Priority")?.unwrap_or(0);
        let kind = fields.text("Type")?;
        let settings = fields.take("Middleware").unwrap_or_default();
        fields.done()?;
        if id.is_empty() {
            return Err(SpecError::new("Id", "is missing"));
        }
        Self::new(id, priority, kind, settings)
    }

    /// The parts, as vulcand's key and value have them; settings that are not there are `null`.
    pub fn new(id: String, priority: i64, kind: String, settings: Value) -> Result<Self, SpecError> {
        let settings = if settings.is_null() { Value::Object(serde_json::Map::new()) } else { settings };
        let step = read_step(&kind, &settings)?;
        Ok(Self { id, priority, kind, settings, step })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// Its priority may differ: where it stands is not what it is.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.kind == other.kind && self.settings == other.settings
    }
}

/// Without the settings: there are passwords among them.
impl fmt::Debug for Middleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Middleware({} {:?}, priority {})", self.kind, self.id, self.priority)
    }
}

fn read_step(kind: &str, settings: &Value) -> Result<Arc<dyn Step>, SpecError> {
    let fields = Fields::of(settings, "")?;
    Ok(match kind {
        // vulcand's.
        "ratelimit" => Arc::new(crate::ratelimit::RateLimit::read(fields)?),
        "connlimit" => Arc::new(crate::connlimit::ConnLimit::read(fields)?),
        "rewrite" => Arc::new(crate::rewrite::Rewrite::read(fields)?),
        "cbreaker" => Arc::new(crate::cbreaker::CircuitBreaker::read(fields)?),
        "trace" => Arc::new(crate::trace::Trace::read(fields)?),
        "auth" => Arc::new(crate::basicauth::BasicAuth::read_vulcands(fields)?),
        // Ours.
        "basicauth" => Arc::new(crate::basicauth::BasicAuth::read(fields)?),
        "forwardauth" => Arc::new(crate::forwardauth::ForwardAuth::read(fields)?),
        "jwt" => Arc::new(crate::jwt::Jwt::read(fields)?),
        "iplist" => Arc::new(crate::iplist::IpList::read(fields)?),
        "headers" => Arc::new(crate::headers::HeaderEdits::read(fields)?),
        "cors" => Arc::new(crate::cors::Cors::read(fields)?),
        "compress" => Arc::new(crate::compress::Compress::read(fields)?),
        "redirect" => Arc::new(crate::redirect::Redirect::read(fields)?),
        "bodylimit" => Arc::new(crate::bodylimit::BodyLimit::read(fields)?),
        "timeouts" => Arc::new(crate::timeouts::TimeoutOverrides::read(fields)?),
        other => {
            let message = format!("{other:?} is unknown: expected one of {}", KINDS.join(", "));
            return Err(SpecError::new("Type", message));
        }
    })
}

const KINDS: [&str; 16] = [
    "ratelimit",
    "connlimit",
    "rewrite",
    "cbreaker",
    "trace",
    "auth",
    "basicauth",
    "forwardauth",
    "jwt",
    "iplist",
    "headers",
    "cors",
    "compress",
    "redirect",
    "bodylimit",
    "timeouts",
];

/// A regexp that cannot take more than its share of memory; RE2's syntax, not anchored.
pub(crate) fn regexp(field: &str, text: &str) -> Result<regex::Regex, SpecError> {
    if text.len() > REGEXP_BYTES_MAX {
        return Err(SpecError::new(field, format!("more than {REGEXP_BYTES_MAX} bytes")));
    }
    regex::RegexBuilder::new(text)
        .size_limit(REGEXP_COMPILED_BYTES_MAX)
        .dfa_size_limit(REGEXP_COMPILED_BYTES_MAX)
        .nest_limit(REGEXP_NESTING_MAX)
        .build()
        .map_err(|wrong| SpecError::new(field, format!("not a regexp: {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn names_match_whatever_their_case() {
        let value = json!({"ID": "rl1", "priority": null, "tYPE": "ratelimit",
            "MIDDLEWARE": {"periodseconds": 1, "REQUESTS": 1, "Burst": 3, "variable": "client.ip", "Unknown": 1}});
        let middleware = Middleware::read(&value).unwrap();
        assert_eq!((middleware.id(), middleware.priority(), middleware.kind()), ("rl1", 0, "ratelimit"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, expected) in [
            (json!([]), "expected an object"),
            (json!({"Type": "ratelimit"}), "Id: is missing"),
            (json!({"Id": "a", "Type": "nonsense"}), "Type: \"nonsense\" is unknown"),
            (json!({"Id": "a", "Type": "iplist", "Middleware": {"Alow": []}}), "Alow: is unknown"),
            (json!({"Id": "a", "Type": "iplist", "Prio": 1}), "Prio: is unknown"),
            (json!({"Id": 1}), "Id: expected a string"),
        ] {
            let error = Middleware::read(&value).unwrap_err().to_string();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn every_kind_is_known_to_the_reader() {
        for kind in KINDS {
            let error = Middleware::new("a".into(), 0, kind.into(), json!({})).err();
            assert!(error.is_none_or(|error| error.field != "Type"), "{kind}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é]{0,12}".prop_map(Value::from),
            proptest::sample::select(vec!["client.ip", "^/(.*)$", "https://a/", "10.0.0.0/8", "5s", "gzip", "u:{SHA}"])
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let name = proptest::sample::select(vec![
                "Regexp",
                "Keys",
                "Users",
                "Allow",
                "Request",
                "Set",
                "Fallback",
                "Action",
                "Type",
                "Condition",
                "AllowOrigins",
                "Types",
                "Address",
                "Addr",
                "Secret",
                "Algorithm",
                "Claims",
                "Variable",
                "Requests",
            ]);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..6)
                    .prop_map(|fields| fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_never_panics(kind in proptest::sample::select(KINDS.to_vec()), settings in any_json()) {
            let _either = Middleware::new("a".into(), 0, kind.into(), settings);
        }
    }
}
