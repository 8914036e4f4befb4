//! Keys in order, each with its versions, and the order in which they changed.
//!
//! Two structures tell the same story: `keys` by key, `history` by revision. History serves watchers who come late, and
//! makes compaction cost what it frees, not what the store holds.

use super::keys::{KeyHistory, Version};
use super::span::Span;
use super::watchers::WatcherOptions;
use crate::Revision;
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use crate::wire::mvccpb::{Event, KeyValue, event::EventType};
use bytes::Bytes;
use pb::range_request::{SortOrder, SortTarget};
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

/// A batch of events ends after the revision with which it reaches this size.
pub const EVENTS_BYTES_MAX: usize = 1 << 20;
/// A batch of events ends after this many revisions, so that a watcher far behind does not hold the store for long.
const EVENTS_REVISIONS_MAX: Revision = 1000;
/// What an event costs on the wire beside key and value, roughly.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// Events of whole revisions.
#[derive(Debug, Default)]
pub struct Events {
    pub events: Vec<Event>,
    /// Everything up to here has been looked at.
    pub upto: Revision,
}

pub struct Mvcc {
    pub(super) keys: BTreeMap<Bytes, KeyHistory>,
    /// Changed keys per revision, from `history_first` without a gap.
    pub(super) history: VecDeque<Vec<Bytes>>,
    pub(super) history_first: Revision,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// A snapshot is being read at this revision: nothing it can see is freed.
    pub(super) pinned: Option<Revision>,
    /// Keys changed by the revision that is being made.
    changing: Vec<Bytes>,
    pub(super) bytes: u64,
    pub(super) superseded_bytes: u64,
}

impl Mvcc {
    /// A fresh store is at revision 1, as in etcd.
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            history_first: 2,
            revision: 1,
            compacted: -1,
            pinned: None,
            changing: Vec::new(),
            bytes: 0,
            superseded_bytes: 0,
        }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn superseded_bytes(&self) -> u64 {
        self.superseded_bytes
    }

    // ---- reading

    /// The revision that a read inside the transaction being made sees and reports.
    pub fn head(&self) -> Revision {
        self.revision + Revision::from(!self.changing.is_empty())
    }

    pub fn live(&self, key: &[u8]) -> Option<&Version> {
        self.keys.get(key)?.live()
    }

    pub fn live_in<'a>(&'a self, span: Span<'a>, revision: Revision) -> impl Iterator<Item = (&'a Bytes, &'a Version)> {
        let bounds = span.bounds();
        let keys = bounds.map(|bounds| self.keys.range::<[u8], _>(bounds)).into_iter().flatten();
        keys.filter_map(move |(key, history)| Some((key, history.live_at(revision)?)))
    }

    /// Whether `revision` can be read by someone who sees the store up to `head`.
    pub fn check_revision(&self, revision: Revision, head: Revision) -> Result<(), Refusal> {
        match revision {
            ..=0 => Ok(()),
            _ if head < revision => Err(Refusal::FutureRevision),
            _ if revision < self.compacted => Err(Refusal::Compacted),
            _ => Ok(()),
        }
    }

    pub fn range(&self, request: &pb::RangeRequest, head: Revision) -> Result<pb::RangeResponse, Refusal> {
        self.check_revision(request.revision, head)?;
        let revision = if request.revision <= 0 { head } else { request.revision };
        let header = Some(pb::ResponseHeader { revision: head, ..pb::ResponseHeader::default() });
        let span = Span::of(&request.key, &request.range_end);
        if request.count_only {
            let count = self.live_in(span, revision).count() as i64;
            return Ok(pb::RangeResponse { header, kvs: Vec::new(), more: false, count });
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let sorted = request.sort_order() != SortOrder::None || request.sort_target() != SortTarget::Key;
        // Without sorting, one more than the limit tells whether there is more.
        let gathered_max = if sorted { usize::MAX } else { limit.saturating_add(1) };
        let mut found: Vec<(&Bytes, &Version)> = Vec::new();
        let mut count = 0;
        for (key, version) in self.live_in(span, revision) {
            count += 1;
            if found.len() < gathered_max && passes_filters(request, version) {
                found.push((key, version));
            }
        }
        sort(&mut found, request.sort_order(), request.sort_target());
        let more = limit < found.len();
        found.truncate(limit);
        let kvs = found.into_iter().map(|(key, version)| match request.keys_only {
            true => KeyValue { value: Bytes::new(), ..version.key_value(key) },
            false => version.key_value(key),
        });
        Ok(pb::RangeResponse { header, kvs: kvs.collect(), more, count })
    }

    pub fn keys_changed_at(&self, revision: Revision) -> &[Bytes] {
        let index = usize::try_from(revision - self.history_first).ok();
        index.and_then(|index| self.history.get(index)).map_or(&[], Vec::as_slice)
    }

    pub fn events(&self, options: &WatcherOptions, from: Revision, to: Revision) -> Events {
        let to = to.min(from.saturating_add(EVENTS_REVISIONS_MAX - 1));
        let mut found = Events { events: Vec::new(), upto: from - 1 };
        let mut bytes = 0;
        for revision in from..=to {
            for key in self.keys_changed_at(revision).iter().filter(|key| options.span().contains(key)) {
                let Some((version, before)) = self.keys.get(key).and_then(|history| history.changed_at(revision))
                else {
                    continue;
                };
                if options.drops(version.is_tombstone()) {
                    continue;
                }
                let event = event(key, version, before.filter(|_| options.prev_kv));
                bytes += event_bytes(&event);
                found.events.push(event);
            }
            found.upto = revision;
            if EVENTS_BYTES_MAX <= bytes {
                break;
            }
        }
        found
    }

    // ---- changing: put and delete collect into one revision until `finish_revision`

    pub fn put(&mut self, key: &[u8], value: Bytes, lease: i64) {
        let (revision, sub) = (self.revision + 1, self.changing.len() as u32);
        let (key, before) = match self.keys.get_key_value(key) {
            Some((key, history)) => (key.clone(), history.live()),
            None => (Bytes::copy_from_slice(key), None), // a copy, as of the value
        };
        let (create_revision, version) =
            before.map_or((revision, 1), |before| (before.create_revision, before.version + 1));
        self.superseded_bytes += before.map_or(0, |before| before.cost_bytes(&key));
        self.change(key, Version { revision, sub, create_revision, version, value, lease });
    }

    /// Whether the key was there.
    pub fn delete(&mut self, key: &Bytes) -> bool {
        let (revision, sub) = (self.revision + 1, self.changing.len() as u32);
        let Some(before) = self.live(key) else { return false };
        let tombstone = Version { revision, sub, create_revision: 0, version: 0, value: Bytes::new(), lease: 0 };
        self.superseded_bytes += before.cost_bytes(key) + tombstone.cost_bytes(key);
        self.change(key.clone(), tombstone);
        true
    }

    fn change(&mut self, key: Bytes, version: Version) {
        self.bytes += version.cost_bytes(&key);
        self.changing.push(key.clone());
        self.keys.entry(key).or_default().push(version);
    }

    /// Ends the revision being made, if anything was changed in it.
    pub fn finish_revision(&mut self) {
        if !self.changing.is_empty() {
            self.revision += 1;
            self.history.push_back(std::mem::take(&mut self.changing));
        }
    }

    // ---- forgetting

    pub fn begin_compaction(&mut self, revision: Revision) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if self.revision < revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }

    /// Frees what the last compaction made unreachable, except what a snapshot still reads.
    pub fn prune(&mut self) {
        let upto = self.pinned.map_or(self.compacted, |pinned| pinned.min(self.compacted));
        while self.history_first < upto {
            let Some(keys) = self.history.pop_front() else { break };
            self.history_first += 1;
            keys.iter().for_each(|key| self.prune_key(key, upto));
        }
        if self.history_first == upto {
            // This revision's entry stays, for a watch that starts there; what its keys superseded goes.
            let keys = self.history.front().cloned().unwrap_or_default();
            keys.iter().for_each(|key| self.prune_key(key, upto));
        }
    }

    fn prune_key(&mut self, key: &Bytes, upto: Revision) {
        let Some(history) = self.keys.get_mut(key) else { return };
        for version in history.prune(upto) {
            let cost = version.cost_bytes(key);
            self.bytes -= cost;
            self.superseded_bytes -= cost;
        }
        if history.is_empty() {
            self.keys.remove(key);
        }
    }
}

fn passes_filters(request: &pb::RangeRequest, version: &Version) -> bool {
    let within = |min: i64, max: i64, revision: i64| min <= revision && (max == 0 || revision <= max);
    within(request.min_mod_revision, request.max_mod_revision, version.revision)
        && within(request.min_create_revision, request.max_create_revision, version.create_revision)
}

fn sort(found: &mut [(&Bytes, &Version)], order: SortOrder, target: SortTarget) {
    let compare = |left: &(&Bytes, &Version), right: &(&Bytes, &Version)| -> Ordering {
        match target {
            SortTarget::Key => left.0.cmp(right.0),
            SortTarget::Version => left.1.version.cmp(&right.1.version),
            SortTarget::Create => left.1.create_revision.cmp(&right.1.create_revision),
            SortTarget::Mod => left.1.revision.cmp(&right.1.revision),
            SortTarget::Value => left.1.value.cmp(&right.1.value),
        }
    };
    match order {
        SortOrder::None if target == SortTarget::Key => {}
        SortOrder::None | SortOrder::Ascend => found.sort_by(compare),
        SortOrder::Descend => found.sort_by(|left, right| compare(right, left)),
    }
}

fn event(key: &Bytes, version: &Version, before: Option<&Version>) -> Event {
    let prev_kv = before.map(|before| before.key_value(key));
    if version.is_tombstone() {
        // A delete tells its key and revision only.
        let kv = KeyValue { key: key.clone(), mod_revision: version.revision, ..KeyValue::default() };
        return Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv };
    }
    Event { r#type: EventType::Put.into(), kv: Some(version.key_value(key)), prev_kv }
}

fn event_bytes(event: &Event) -> usize {
    let size = |kv: &KeyValue| kv.key.len() + kv.value.len();
    EVENT_OVERHEAD_BYTES + event.kv.as_ref().map_or(0, size) + event.prev_kv.as_ref().map_or(0, size)
}
