//! What has to change for people's keys to be as they were after a revision. Pure.
//!
//! A key that changed since was, before its first change since, as it was then; any other is as it was. What is not for a
//! rollback to change is left alone, and told with the reason.

use super::record::{Kept, PREFIXES, Record, is_controllers, is_server};
use ::store::{KeyValue, Revision};
use serde::Serialize;
use std::collections::BTreeMap;

/// Keys one transaction can change, beside the leader's own comparison.
const KEYS_MAX: usize = ::store::TXN_OPERATIONS_MAX - 1;
/// Prefixes that one rollback is limited to.
const ONLY_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// vulcand's servers, too, which programs write (`sync`, `vctl`): most of those that were there then are long gone.
    pub servers: bool,
    /// Without a slash at the end; none: everything.
    only: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub steps: Vec<Step>,
    /// Keys that are not as they were, and stay so.
    pub left: Vec<Left>,
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

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    pub key: String,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// The controller writes it.
    App,
    /// It is below none of the prefixes that were asked for.
    NotAsked,
    /// Servers were not asked for.
    Server,
    /// It lives on a lease now: whoever keeps it alive decides.
    OnLease,
    /// It lived on a lease then: whoever kept it alive may have it on purpose without one now.
    WasOnLease,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the history begins behind revision {since}: what was before it is not known")]
    TooOld { since: Revision },
    #[error(
        "of servers the history begins behind revision {since}, since other changes go before theirs: roll back without servers"
    )]
    ServersTooOld { since: Revision },
    #[error("revision {revision} is not there yet: the store is at {now}")]
    NotYet { revision: Revision, now: Revision },
    #[error(
        "changes between the revisions {after} and {until} were not seen, as the store had compacted them, or were too large to be kept"
    )]
    Unseen { after: Revision, until: Revision },
    #[error("the value {key} had then is not kept: it has {bytes} bytes")]
    Omitted { key: String, bytes: usize },
    #[error("{keys} keys differ, more than the {KEYS_MAX} that one transaction takes: limit them by their prefix")]
    TooMany { keys: usize },
    #[error("what was changed last is not kept yet; try again")]
    Behind,
    #[error(
        "somebody changed the same keys meanwhile, each of the {attempts} times this was tried: nothing was done; try again \
         when nobody changes them"
    )]
    Contended { attempts: usize },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadScope {
    #[error("{asked:?} is below none of {}", PREFIXES.join(" "))]
    Elsewhere { asked: String },
    #[error("more than {ONLY_MAX} prefixes")]
    TooMany,
}

impl Scope {
    pub fn new(servers: bool, only: Vec<String>) -> Result<Self, BadScope> {
        if only.len() > ONLY_MAX {
            return Err(BadScope::TooMany);
        }
        let path = |asked: String| {
            let path = asked.trim_end_matches('/');
            match PREFIXES.iter().any(|prefix| format!("{path}/").starts_with(prefix)) {
                true => Ok(path.to_owned()),
                false => Err(BadScope::Elsewhere { asked }),
            }
        };
        Ok(Self { servers, only: only.into_iter().map(path).collect::<Result<_, _>>()? })
    }

    /// By whole segments: `…/f1` is not `…/f10`.
    fn is_asked(&self, key: &str) -> bool {
        let is_below =
            |path: &String| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.only.is_empty() || self.only.iter().any(is_below)
    }

    /// Why a key is left alone that was otherwise then; `held`: as it is now.
    fn leaves(&self, key: &str, then: &Kept, held: Option<&KeyValue>) -> Option<Why> {
        match held {
            _ if is_controllers(key) => Some(Why::App),
            _ if !self.is_asked(key) => Some(Why::NotAsked),
            _ if !self.servers && is_server(key) => Some(Why::Server),
            Some(held) if held.lease != 0 => Some(Why::OnLease),
            Some(_) if matches!(then, Kept::Leased { .. }) => Some(Why::WasOnLease),
            _ => None,
        }
    }
}

impl Plan {
    /// `records`: all that are kept after `revision`, the oldest first; `held`: every key at revision `now`, to which the
    /// records reach at least.
    pub fn new(
        revision: Revision,
        scope: &Scope,
        records: &[Record],
        now: Revision,
        held: &BTreeMap<String, KeyValue>,
    ) -> Result<Self, Refusal> {
        // Of each key: before its first change since, and after its last.
        let mut changed: BTreeMap<&str, (&Kept, &Kept)> = BTreeMap::new();
        for record in records.iter().filter(|record| record.revision > revision) {
            if let Some(after) = record.unseen_after.filter(|after| *after < now) {
                return Err(Refusal::Unseen { after, until: record.revision });
            }
            for change in record.changes.iter().filter(|_| record.revision <= now) {
                changed.entry(&change.key).or_insert((&change.before, &change.after)).1 = &change.after;
            }
        }
        let mut plan = Self::default();
        for (key, (then, last)) in changed {
            let held = held.get(key);
            let is_as_then = then.is_as(last);
            if let Some(why) = scope.leaves(key, then, held) {
                plan.left.extend((!is_as_then).then(|| Left { key: key.to_owned(), why }));
                continue;
            }
            if !is(last, held) {
                return Err(Refusal::Behind);
            }
            if is_as_then {
                continue;
            }
            let before = held.map(|held| String::from_utf8_lossy(&held.value).into_owned());
            let after = match then {
                Kept::Absent | Kept::Leased { .. } => None,
                Kept::Text(text) => Some(text.clone()),
                Kept::Omitted { omitted_bytes } => {
                    return Err(Refusal::Omitted { key: key.to_owned(), bytes: *omitted_bytes });
                }
            };
            let read_at = held.map_or(0, |held| held.mod_revision);
            plan.steps.push(Step { key: key.to_owned(), read_at, before, after });
        }
        match plan.steps.len() {
            keys if keys > KEYS_MAX => Err(Refusal::TooMany { keys }),
            _ => Ok(plan),
        }
    }
}

/// Whether a key is as its last change left it; otherwise a later one is not kept.
fn is(last: &Kept, held: Option<&KeyValue>) -> bool {
    match (last, held.filter(|held| held.lease == 0)) {
        (Kept::Text(text), Some(held)) => text.as_bytes() == held.value,
        (Kept::Omitted { omitted_bytes }, Some(held)) => *omitted_bytes == held.value.len(),
        (Kept::Absent | Kept::Leased { .. }, None) => true,
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

    const SERVER: &str = "/vulcand/backends/b/servers/s";

    /// Of everything, at a revision after all records.
    fn plan(revision: Revision, records: &[Record], held: &BTreeMap<String, KeyValue>) -> Result<Plan, Refusal> {
        Plan::new(revision, &Scope::default(), records, 1_000, held)
    }

    fn left(plan: &Plan) -> Vec<(&str, Why)> {
        plan.left.iter().map(|left| (left.key.as_str(), left.why)).collect()
    }

    #[test]
    fn keys_are_as_they_were_and_the_controllers_stay() {
        let app = "/roadstead/routes/app.web";
        let records = [
            Record::new(4, 0, vec![change("a", None, Some("1"))]),
            Record::new(5, 0, vec![change("a", Some("1"), Some("2")), change("b", Some("x"), None)]),
            Record::new(7, 0, vec![change("a", Some("2"), Some("3")), change(app, Some("r"), Some("q"))]),
        ];
        let planned = plan(4, &records, &held(&[("a", "3"), ("other", "y")])).unwrap();
        let step = |key: &str, read_at, before: Option<&str>, after: Option<&str>| Step {
            key: key.to_owned(),
            read_at,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(planned.steps, [step("a", 9, Some("3"), Some("1")), step("b", 0, None, Some("x"))]);
        assert_eq!(left(&planned), [(app, Why::App)]);
        assert_eq!(plan(7, &records, &held(&[("a", "3")])).unwrap(), Plan::default());
        let gone = plan(3, &records, &held(&[("a", "3")])).unwrap();
        assert_eq!(gone.steps[0], step("a", 9, Some("3"), None));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let records = [Record::new(4, 0, vec![change("a", Some("1"), Some("2"))])];
        assert_eq!(plan(3, &records, &held(&[("a", "newer")])), Err(Refusal::Behind));
        let gap = Record { unseen_after: Some(2), ..Record::new(5, 0, vec![]) };
        assert_eq!(plan(3, &[gap], &held(&[])), Err(Refusal::Unseen { after: 2, until: 5 }));
        let large = Change { before: Kept::Omitted { omitted_bytes: 9 }, ..change("a", None, None) };
        let records = [Record::new(4, 0, vec![large])];
        let omitted = Refusal::Omitted { key: "a".into(), bytes: 9 };
        assert_eq!(plan(3, &records, &held(&[])), Err(omitted));
        let many = (0..=KEYS_MAX).map(|key| change(&format!("{key:03}"), Some("x"), None)).collect();
        let many = plan(3, &[Record::new(4, 0, many)], &held(&[]));
        assert_eq!(many, Err(Refusal::TooMany { keys: KEYS_MAX + 1 }));
    }

    #[test]
    fn servers_are_left_alone_unless_they_are_asked_for() {
        let records = [
            Record::new(4, 0, vec![change(SERVER, Some("1"), Some("2"))]),
            Record::new(5, 0, vec![change("/vulcand/frontends/f1/frontend", Some("x"), Some("y"))]),
        ];
        let now = held(&[(SERVER, "2"), ("/vulcand/frontends/f1/frontend", "y")]);
        let planned = plan(3, &records, &now).unwrap();
        assert_eq!((planned.steps.len(), left(&planned)), (1, vec![(SERVER, Why::Server)]));
        let scope = Scope::new(true, Vec::new()).unwrap();
        let planned = Plan::new(3, &scope, &records, 9, &now).unwrap();
        assert_eq!((planned.steps.len(), planned.left.len()), (2, 0));
    }

    #[test]
    fn a_server_that_had_a_lease_then_or_has_one_now_is_never_deleted() {
        let leased = Kept::Leased { lease: 7 };
        let lost = Change { before: leased.clone(), ..change(SERVER, None, Some("2")) };
        let scope = Scope::new(true, Vec::new()).unwrap();
        let planned = |change: &Change, held: &BTreeMap<String, KeyValue>| {
            Plan::new(3, &scope, &[Record::new(4, 0, vec![change.clone()])], 9, held).unwrap()
        };
        let mut now = held(&[(SERVER, "2")]);
        let one = planned(&lost, &now);
        assert_eq!((one.steps.len(), left(&one)), (0, vec![(SERVER, Why::WasOnLease)]));
        let gained = Change { after: leased, ..change(SERVER, Some("1"), None) };
        now.get_mut(SERVER).unwrap().lease = 7;
        let one = planned(&gained, &now);
        assert_eq!((one.steps.len(), left(&one)), (0, vec![(SERVER, Why::OnLease)]));
        // It has ended since: what a person wrote is there again.
        let one = planned(&gained, &BTreeMap::new());
        assert_eq!(one.steps[0].after.as_deref(), Some("1"));
    }

    #[test]
    fn a_rollback_is_limited_by_whole_segments() {
        let keys = ["/vulcand/frontends/f1/frontend", "/vulcand/frontends/f10/frontend", "/roadstead/routes/f1"];
        let records = [Record::new(4, 0, keys.iter().map(|key| change(key, Some("1"), Some("2"))).collect())];
        let now = held(&keys.map(|key| (key, "2")));
        let of = |only: &[&str]| {
            let scope = Scope::new(false, only.iter().map(|only| (*only).to_owned()).collect()).unwrap();
            let planned = Plan::new(3, &scope, &records, 9, &now).unwrap();
            assert!(planned.left.iter().all(|left| left.why == Why::NotAsked));
            assert_eq!(planned.left.len() + planned.steps.len(), keys.len());
            planned.steps.into_iter().map(|step| step.key).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/vulcand/frontends/f1"]), [keys[0]]);
        assert_eq!(of(&["/vulcand"]), [keys[0], keys[1]]);
        assert_eq!(of(&["/roadstead/routes/f1", "/vulcand/frontends/f10/"]), [keys[2], keys[1]]);
        assert_eq!(Scope::new(false, vec!["/else".into()]).unwrap_err(), BadScope::Elsewhere { asked: "/else".into() });
    }

    #[test]
    fn what_is_younger_than_what_was_read_does_not_count() {
        let records = [
            Record::new(4, 0, vec![change("a", Some("1"), Some("2"))]),
            Record::new(8, 0, vec![change("a", Some("2"), Some("3"))]),
            Record { unseen_after: Some(9), ..Record::new(12, 0, vec![]) },
        ];
        let scope = Scope::default();
        let planned = Plan::new(3, &scope, &records, 7, &held(&[("a", "2")])).unwrap();
        assert_eq!(planned.steps[0].after.as_deref(), Some("1"));
        let refused = Plan::new(3, &scope, &records, 10, &held(&[("a", "3")]));
        assert_eq!(refused, Err(Refusal::Unseen { after: 9, until: 12 }));
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
                let plan = super::tests::plan(revision as i64, &records, &held(&now)).unwrap();
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
