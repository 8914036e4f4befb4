//! The engine's state as pages, read while the store goes on: a snapshot is of one revision, and the versions it needs are
//! pinned until it is done.

use super::keys::{KeyHistory, Version};
use super::{Engine, Limits};
use crate::Revision;
use crate::wire::storage::frame::Frame as Page;
use crate::wire::storage::{self, Born, End, Grant, Head, Key, Keys};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

/// A page of keys ends with the key at which it reaches one of these.
const PAGE_KEYS_MAX: usize = 1000;
const PAGE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot does not begin with its head")]
    NoHead,
    #[error("the snapshot has no end")]
    NoEnd,
    #[error("the snapshot has {found} keys, its end says {expected}")]
    KeyCount { found: u64, expected: u64 },
}

/// Reads the pages of one snapshot, in order.
pub struct Pages {
    revision: Revision,
    after: Bound<Bytes>,
    keys: u64,
    is_done: bool,
}

impl Engine {
    /// Begins a snapshot of the present state. Until [`Engine::end_snapshot`] nothing it needs is pruned.
    pub fn begin_snapshot(&mut self) -> (Head, Pages) {
        let born = self.born.unwrap_or_default();
        let grant = |(id, ttl_seconds)| Grant { id, ttl_seconds };
        let head = Head {
            log_segment: 0, // the shell's to fill in
            cluster_id: born.cluster_id,
            member_id: born.member_id,
            revision: self.mvcc.revision,
            compacted: self.mvcc.compacted,
            leases: self.leases.granted().map(grant).collect(),
        };
        self.mvcc.pinned = Some(self.mvcc.revision);
        let pages = Pages { revision: self.mvcc.revision, after: Bound::Unbounded, keys: 0, is_done: false };
        (head, pages)
    }

    pub fn end_snapshot(&mut self) {
        self.mvcc.pinned = None;
        self.mvcc.prune();
    }

    /// The engine a snapshot holds, and the first log segment that is not in it.
    pub fn from_pages<E: From<SnapshotError>>(
        limits: Limits,
        mut pages: impl Iterator<Item = Result<Page, E>>,
        now: Instant,
    ) -> Result<(Self, u64), E> {
        let Some(Page::Head(head)) = pages.next().transpose()? else { return Err(SnapshotError::NoHead.into()) };
        let mut engine = Self::new(limits);
        engine.born = Some(Born { cluster_id: head.cluster_id, member_id: head.member_id });
        engine.mvcc.revision = head.revision;
        engine.mvcc.compacted = head.compacted;
        for lease in &head.leases {
            engine.leases.restore(lease.id, lease.ttl_seconds, now);
        }
        let mut found = 0;
        for page in pages {
            match page? {
                Page::Keys(page) => {
                    found += page.keys.len() as u64;
                    page.keys.into_iter().for_each(|key| engine.restore_key(key));
                }
                Page::End(End { keys }) if keys == found => {
                    engine.rebuild_history();
                    return Ok((engine, head.log_segment));
                }
                Page::End(End { keys }) => return Err(SnapshotError::KeyCount { found, expected: keys }.into()),
                Page::Head(_) => return Err(SnapshotError::NoHead.into()),
            }
        }
        Err(SnapshotError::NoEnd.into())
    }

    fn restore_key(&mut self, stored: Key) {
        let key = Bytes::copy_from_slice(&stored.key);
        let mut history = KeyHistory::default();
        let last = stored.versions.len().saturating_sub(1);
        for (index, version) in stored.versions.into_iter().enumerate() {
            let version = Version {
                revision: version.revision,
                sub: version.sub,
                create_revision: version.create_revision,
                version: version.version,
                value: Bytes::copy_from_slice(&version.value),
                lease: version.lease,
            };
            let cost = version.cost_bytes(&key);
            self.mvcc.bytes += cost;
            if index < last || version.is_tombstone() {
                self.mvcc.superseded_bytes += cost;
            } else {
                self.leases.move_key(&key, 0, version.lease);
            }
            history.push(version);
        }
        self.mvcc.keys.insert(key, history);
    }

    /// The changes since the last compaction, by revision.
    fn rebuild_history(&mut self) {
        let first = self.mvcc.compacted.max(2);
        let mut changes: BTreeMap<(Revision, u32), Bytes> = BTreeMap::new();
        for (key, history) in &self.mvcc.keys {
            for version in history.versions().iter().filter(|version| first <= version.revision) {
                changes.insert((version.revision, version.sub), key.clone());
            }
        }
        self.mvcc.history_first = first;
        for revision in first..=self.mvcc.revision {
            let keys = changes.range((revision, 0)..=(revision, u32::MAX)).map(|(_, key)| key.clone());
            self.mvcc.history.push_back(keys.collect());
        }
    }
}

impl Pages {
    /// The next page of keys, then the end, then nothing.
    pub fn next(&mut self, engine: &Engine) -> Option<Page> {
        if self.is_done {
            return None;
        }
        let mut page = Keys::default();
        let mut bytes = 0;
        let after = self.after.as_ref().map(|key| key.as_ref());
        for (key, history) in engine.mvcc.keys.range::<[u8], _>((after, Bound::Unbounded)) {
            let visible = history.versions().iter().filter(|version| version.revision <= self.revision);
            let versions: Vec<storage::Version> = visible.map(stored).collect();
            self.after = Bound::Excluded(key.clone());
            if !versions.is_empty() {
                bytes += versions.iter().map(|version| version.value.len() as u64).sum::<u64>() + key.len() as u64;
                page.keys.push(Key { key: key.clone(), versions });
            }
            if PAGE_BYTES_MAX <= bytes || PAGE_KEYS_MAX <= page.keys.len() {
                break;
            }
        }
        if page.keys.is_empty() {
            self.is_done = true;
            return Some(Page::End(End { keys: self.keys }));
        }
        self.keys += page.keys.len() as u64;
        Some(Page::Keys(page))
    }
}

fn stored(version: &Version) -> storage::Version {
    storage::Version {
        revision: version.revision,
        sub: version.sub,
        create_revision: version.create_revision,
        version: version.version,
        value: version.value.clone(),
        lease: version.lease,
    }
}
