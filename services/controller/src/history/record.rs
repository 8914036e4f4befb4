//! One revision's changes, and which of the store's events are changes.

use crate::routes::Routes;
use ::store::{Event, KeyValue, Revision};
use routing::document::ROUTES_PREFIX;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use vulcand::{Key, Kind};

/// Bytes of one value; of a larger one only its size is kept.
const VALUE_BYTES_MAX: usize = 128 << 10;
/// Bytes of all values of one revision; those beyond are kept by size, too. (Quotes in a value double in the record: this
/// stays below what the store takes at once.)
const VALUES_BYTES_MAX: usize = 512 << 10;

/// The prefixes that are watched.
pub(crate) const PREFIXES: [&str; 3] = [ROUTES_PREFIX, "/vulcand/", "vulcand/"];

/// `/roadstead/history/<revision>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The format's version: 0.
    pub v: u32,
    pub revision: Revision,
    /// When the controller saw it.
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Changes after this revision, up to the record's own, were not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_after: Option<Revision>,
    /// Nothing but vulcand's servers, which programs write more often than people: left out of lists, and the first to go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub servers_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub key: String,
    pub before: Kept,
    pub after: Kept,
}

/// A value: none, its text, how large it was, or that it lived on a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Kept {
    Text(String),
    Omitted {
        omitted_bytes: usize,
    },
    /// What goes by itself is not brought back: its text is of no use.
    Leased {
        lease: i64,
    },
    Absent,
}

impl Change {
    /// What an event changes, if it is of those that are kept.
    pub fn of(event: &Event) -> Option<Self> {
        let (before, after) = match event {
            Event::Put { kv, prev_kv } => (prev_kv.as_ref(), Some(kv)),
            Event::Delete { prev_kv, .. } => (prev_kv.as_ref(), None),
        };
        let key = std::str::from_utf8(event.key()).ok()?.to_owned();
        let of_controller = is_controllers(&key);
        let kept = |held: Option<&KeyValue>| match held {
            Some(held) if held.lease != 0 => Kept::Leased { lease: held.lease },
            Some(held) if of_controller => Kept::text(&without_servers(&held.value)),
            Some(held) => Kept::text(&held.value),
            None => Kept::Absent,
        };
        let (before, after) = (kept(before), kept(after));
        (!before.is_as(&after)).then_some(Self { key, before, after })
    }

    /// `made`, `changed` or `deleted`.
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (Kept::Absent, _) => "made",
            (_, Kept::Absent) => "deleted",
            _ => "changed",
        }
    }
}

impl Kept {
    fn text(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) if text.len() <= VALUE_BYTES_MAX => Self::Text(text.to_owned()),
            _ => Self::Omitted { omitted_bytes: value.len() },
        }
    }

    /// Equal, but for what comes and goes by itself.
    pub fn is_as(&self, other: &Self) -> bool {
        let is_own = |kept: &Self| matches!(kept, Self::Leased { .. } | Self::Absent);
        self == other || (is_own(self) && is_own(other))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Omitted { .. } | Self::Leased { .. } | Self::Absent => 0,
        }
    }

    fn omit(&mut self) {
        if let Self::Text(text) = self {
            *self = Self::Omitted { omitted_bytes: text.len() };
        }
    }
}

impl Record {
    pub fn new(revision: Revision, at_ms: i64, changes: Vec<Change>) -> Self {
        Self { v: 0, revision, at_ms, changes, unseen_after: None, servers_only: false }.bounded()
    }

    /// What the watch of another prefix saw of the same revision belongs to it.
    pub fn merge(mut self, changes: Vec<Change>) -> Self {
        let known: HashSet<String> = self.changes.iter().map(|known| known.key.clone()).collect();
        self.changes.extend(changes.into_iter().filter(|change| !known.contains(&change.key)));
        self.bounded()
    }

    /// What changed after a revision, up to this one, was not seen.
    pub fn unseen_after(self, after: Revision) -> Self {
        let after = self.unseen_after.map_or(after, |known| known.min(after));
        Self { unseen_after: Some(after), servers_only: false, ..self }
    }

    /// Without its changes: they are too large to be kept.
    pub fn without_changes(self) -> Self {
        let after = self.revision.saturating_sub(1);
        Self { changes: Vec::new(), ..self }.unseen_after(after)
    }

    fn bounded(mut self) -> Self {
        let mut bytes = 0;
        for change in &mut self.changes {
            for kept in [&mut change.before, &mut change.after] {
                bytes += kept.bytes();
                if bytes > VALUES_BYTES_MAX {
                    kept.omit();
                }
            }
        }
        self.servers_only = self.unseen_after.is_none()
            && !self.changes.is_empty()
            && self.changes.iter().all(|change| is_server(&change.key));
        self
    }
}

/// Whether the controller writes it, and nobody else.
pub(crate) fn is_controllers(key: &str) -> bool {
    key.strip_prefix(ROUTES_PREFIX).is_some_and(Routes::owns)
}

/// A server of a backend of vulcand's.
pub(crate) fn is_server(key: &str) -> bool {
    Key::parse(key.as_bytes()).is_some_and(|key| matches!(key.kind, Kind::Server { .. }))
}

/// A route document but for who serves it.
fn without_servers(value: &[u8]) -> Vec<u8> {
    match serde_json::from_slice(value) {
        Ok(Value::Object(mut document)) => {
            document.remove("servers");
            serde_json::to_vec(&document).unwrap_or_default()
        }
        _ => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(value: &str, lease: i64) -> KeyValue {
        KeyValue { value: value.to_owned().into(), lease, ..KeyValue::default() }
    }

    fn put(key: &str, before: Option<KeyValue>, after: KeyValue) -> Option<Change> {
        Change::of(&Event::Put { kv: KeyValue { key: key.to_owned().into(), ..after }, prev_kv: before })
    }

    #[test]
    fn what_comes_and_goes_by_itself_is_no_change() {
        let server = "/vulcand/backends/b/servers/s";
        assert_eq!(put(server, None, held("{}", 7)), None, "a heartbeat");
        let expired = Event::Delete { key: server.into(), mod_revision: 3, prev_kv: Some(held("{}", 7)) };
        assert_eq!(Change::of(&expired), None);
        assert_eq!(put(server, Some(held("{}", 0)), held("{}", 0)), None, "the same again");
        let app = "/roadstead/routes/app.web";
        let document = |rule: &str, url: &str| held(&format!(r#"{{"v":0,"rule":"{rule}","servers":["{url}"]}}"#), 0);
        assert_eq!(put(app, Some(document("r", "a")), document("r", "b")), None, "another task");
        let change = put(app, Some(document("r", "a")), document("q", "b")).unwrap();
        assert_eq!(change.after, Kept::Text(r#"{"rule":"q","v":0}"#.into()));
        let own = put("/roadstead/routes/own", Some(document("r", "a")), document("r", "b")).unwrap();
        assert_eq!((own.verb(), own.after.bytes() > 30), ("changed", true), "people's documents are kept whole");
        assert_eq!(put("/vulcand/hosts/h/host", None, held("{}", 0)).unwrap().verb(), "made");
    }

    #[test]
    fn a_lease_that_a_key_gets_or_loses_is_told() {
        let server = "/vulcand/backends/b/servers/s";
        assert_eq!(put(server, Some(held("{}", 7)), held("{}", 8)), None, "another heartbeat");
        let kept = put(server, Some(held("{}", 7)), held("{}", 0)).unwrap();
        assert_eq!((kept.verb(), &kept.before), ("changed", &Kept::Leased { lease: 7 }));
        let leased = put(server, Some(held("{}", 0)), held("{}", 7)).unwrap();
        assert_eq!((leased.verb(), &leased.after), ("changed", &Kept::Leased { lease: 7 }));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), kept, "{text}");
    }

    #[test]
    fn a_record_of_nothing_but_servers_is_marked() {
        let made = |key: &str| Change { key: key.into(), before: Kept::Absent, after: Kept::Text("{}".into()) };
        let servers =
            Record::new(5, 0, vec![made("/vulcand/backends/b/servers/s"), made("vulcand/backends/b/servers/s")]);
        assert!(servers.servers_only);
        assert!(!servers.clone().unseen_after(3).servers_only, "a gap stays");
        assert!(!servers.merge(vec![made("/vulcand/backends/b/backend")]).servers_only);
        assert!(!Record::new(5, 0, Vec::new()).servers_only);
    }

    #[test]
    fn large_values_are_named_and_not_kept() {
        let large = put("/vulcand/x", None, held(&"x".repeat(VALUE_BYTES_MAX + 1), 0)).unwrap();
        assert_eq!(large.after, Kept::Omitted { omitted_bytes: VALUE_BYTES_MAX + 1 });
        let each = |number| Change {
            key: format!("/vulcand/{number}"),
            before: Kept::Absent,
            after: Kept::Text("x".repeat(VALUE_BYTES_MAX)),
        };
        let record = Record::new(1, 0, (0..10).map(each).collect());
        assert_eq!(record.changes.len(), 10);
        assert!(serde_json::to_vec(&record).unwrap().len() < VALUES_BYTES_MAX + 2_000);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let changes = vec![
            Change { key: "a".into(), before: Kept::Absent, after: Kept::Text("{\"x\":1}".into()) },
            Change { key: "b".into(), before: Kept::Omitted { omitted_bytes: 9 }, after: Kept::Absent },
        ];
        let record = Record { unseen_after: Some(4), ..Record::new(5, 1, changes) };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        let again = record.clone().merge(record.changes.clone());
        assert_eq!(again, record, "what is known already is not told twice");
    }
}
