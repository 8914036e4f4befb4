//! What has to change for people's keys to be as they were after a revision. Pure.
//!
//! A key that changed since was, before its first change since, as it was then; any other is as it was.

use super::record::{Kept, Record, is_controllers};
use ::store::{KeyValue, Revision};
use std::collections::BTreeMap;

/// Keys one transaction can change, beside the leader's own comparison.
const KEYS_MAX: usize = ::store::TXN_OPERATIONS_MAX - 1;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub steps: Vec<Step>,
    /// Keys that changed since and are the controller's own: they stay.
    pub controllers: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub key: String,
    /// As it was read; 0: not there.
    pub read_at: Revision,
    pub before: Option<String>,
    /// What it will be.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the history begins behind revision {since}: what was before it is not known")]
    TooOld { since: Revision },
    #[error("revision {revision} is not there yet: the store is at {now}")]
    NotYet { revision: Revision, now: Revision },
    #[error(
        "changes between the revisions {after} and {until} were not seen, as the store had compacted them, or were too large to be kept"
    )]
    Unseen { after: Revision, until: Revision },
    #[error("the value {key} had then is not kept: it has {bytes} bytes")]
    Omitted { key: String, bytes: usize },
    #[error("{keys} keys differ, more than the {KEYS_MAX} that one transaction takes")]
    TooMany { keys: usize },
    #[error("what was changed last is not kept yet; try again")]
    Behind,
    #[error("somebody changed the same keys meanwhile; nothing was done")]
    Changed,
}

impl Plan {
    /// `records`: all that are kept after `revision`, the oldest first; `held`: people's keys as they are.
    pub fn new(revision: Revision, records: &[Record], held: &BTreeMap<String, KeyValue>) -> Result<Self, Refusal> {
        let mut plan = Self::default();
        let mut then: BTreeMap<&str, &Kept> = BTreeMap::new();
        let mut last: BTreeMap<&str, &Kept> = BTreeMap::new();
        for record in records.iter().filter(|record| record.revision > revision) {
            if let Some(after) = record.unseen_after {
                return Err(Refusal::Unseen { after, until: record.revision });
            }
            for change in &record.changes {
                if is_controllers(&change.key) {
                    if !plan.controllers.contains(&change.key) {
                        plan.controllers.push(change.key.clone());
                    }
                    continue;
                }
                then.entry(&change.key).or_insert(&change.before);
                last.insert(&change.key, &change.after);
            }
        }
        for (key, kept) in then {
            let held = held.get(key);
            if held.is_some_and(|held| held.lease != 0) {
                continue;
            }
            let now = held.map(|held| String::from_utf8_lossy(&held.value).into_owned());
            if !is(last.get(key).copied(), now.as_deref()) {
                return Err(Refusal::Behind);
            }
            let after = match kept {
                Kept::Absent => None,
                Kept::Text(text) => Some(text.clone()),
                Kept::Omitted { omitted_bytes } => {
                    return Err(Refusal::Omitted { key: key.to_owned(), bytes: *omitted_bytes });
                }
            };
            if now != after {
                let read_at = held.map_or(0, |held| held.mod_revision);
                plan.steps.push(Step { key: key.to_owned(), read_at, before: now, after });
            }
        }
        match plan.steps.len() {
            keys if keys > KEYS_MAX => Err(Refusal::TooMany { keys }),
            _ => Ok(plan),
        }
    }
}

/// Whether a key is as its last change left it; otherwise a later one is not kept yet.
fn is(last: Option<&Kept>, now: Option<&str>) -> bool {
    match (last, now) {
        (Some(Kept::Text(text)), Some(now)) => text == now,
        (Some(Kept::Omitted { omitted_bytes }), Some(now)) => *omitted_bytes == now.len(),
        (Some(Kept::Absent), None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Change;
    use proptest::prelude::*;

    fn kept(value: Option<&str>) -> Kept {
        value.map_or(Kept::Absent, |value| Kept::Text(value.to_owned()))
    }

    fn change(key: &str, before: Option<&str>, after: Option<&str>) -> Change {
        Change { key: key.to_owned(), before: kept(before), after: kept(after) }
    }

    fn held(values: &[(&str, &str)]) -> BTreeMap<String, KeyValue> {
        let kv = |value: &str| KeyValue { value: value.to_owned().into(), mod_revision: 9, ..KeyValue::default() };
        values.iter().map(|(key, value)| ((*key).to_owned(), kv(value))).collect()
    }

    #[test]
    fn keys_are_as_they_were_and_the_controllers_stay() {
        let app = "/roadstead/routes/app.web";
        let records = [
            Record::new(4, 0, vec![change("a", None, Some("1"))]),
            Record::new(5, 0, vec![change("a", Some("1"), Some("2")), change("b", Some("x"), None)]),
            Record::new(7, 0, vec![change("a", Some("2"), Some("3")), change(app, Some("r"), Some("q"))]),
        ];
        let plan = Plan::new(4, &records, &held(&[("a", "3"), ("other", "y")])).unwrap();
        let step = |key: &str, read_at, before: Option<&str>, after: Option<&str>| Step {
            key: key.to_owned(),
            read_at,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(plan.steps, [step("a", 9, Some("3"), Some("1")), step("b", 0, None, Some("x"))]);
        assert_eq!(plan.controllers, [app]);
        assert_eq!(Plan::new(7, &records, &held(&[("a", "3")])).unwrap(), Plan::default());
        let gone = Plan::new(3, &records, &held(&[("a", "3")])).unwrap();
        assert_eq!(gone.steps[0], step("a", 9, Some("3"), None));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let records = [Record::new(4, 0, vec![change("a", Some("1"), Some("2"))])];
        assert_eq!(Plan::new(3, &records, &held(&[("a", "newer")])), Err(Refusal::Behind));
        let gap = Record { unseen_after: Some(2), ..Record::new(5, 0, vec![]) };
        assert_eq!(Plan::new(3, &[gap], &held(&[])), Err(Refusal::Unseen { after: 2, until: 5 }));
        let large = Change { before: Kept::Omitted { omitted_bytes: 9 }, ..change("a", None, None) };
        let records = [Record::new(4, 0, vec![large])];
        let omitted = Refusal::Omitted { key: "a".into(), bytes: 9 };
        assert_eq!(Plan::new(3, &records, &held(&[])), Err(omitted));
        let many = (0..=KEYS_MAX).map(|key| change(&format!("{key:03}"), Some("x"), None)).collect();
        let many = Plan::new(3, &[Record::new(4, 0, many)], &held(&[]));
        assert_eq!(many, Err(Refusal::TooMany { keys: KEYS_MAX + 1 }));
    }

    proptest! {
        /// Whatever was changed in whatever order: the plan leads back to each state there was.
        #[test]
        fn every_past_can_be_had_again(
            writes in prop::collection::vec(prop::collection::btree_map(0_u8..6, prop::option::of(0_u8..4), 1..3), 1..20),
        ) {
            let mut states: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
            let mut records = Vec::new();
            for (number, write) in writes.iter().enumerate() {
                let mut state = states[number].clone();
                let mut changes = Vec::new();
                for (key, value) in write {
                    let (key, value) = (key.to_string(), value.map(|value| value.to_string()));
                    let before = state.get(&key).cloned();
                    if before != value {
                        changes.push(change(&key, before.as_deref(), value.as_deref()));
                    }
                    match value {
                        Some(value) => state.insert(key, value),
                        None => state.remove(&key),
                    };
                }
                records.push(Record::new(number as i64 + 1, 0, changes));
                states.push(state);
            }
            let now: Vec<(&str, &str)> = states[writes.len()].iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            for (revision, then) in states.iter().enumerate() {
                let plan = Plan::new(revision as i64, &records, &held(&now)).unwrap();
                let mut state = states[writes.len()].clone();
                for Step { key, after, .. } in plan.steps {
                    match after {
                        Some(value) => state.insert(key, value),
                        None => state.remove(&key),
                    };
                }
                prop_assert_eq!(&state, then);
            }
        }
    }
}
