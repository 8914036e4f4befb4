//! The embedded engine's core: etcd's v3 semantics over ordered keys in memory.
//!
//! Architecture invariant: no file, socket, task, clock or randomness here. A request comes in as etcd's own message, time
//! as an `Instant`; what must become durable leaves as a [`Record`]. The shell (`embedded`) flushes the record before it
//! lets anyone see the answer, and at start hands every record back to [`Engine::replay`].

mod check;
mod keys;
mod leases;
mod mvcc;
mod snapshot;
mod span;
#[cfg(test)]
mod tests;
mod txn;
mod watchers;

pub use mvcc::Events;
pub use snapshot::SnapshotError;
pub use span::Span;
pub use watchers::{Watcher, WatcherOptions, Watchers};

use crate::Revision;
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use crate::wire::storage::record::Change as RecordChange;
use crate::wire::storage::{Born, Compact, Grant, Record, Revoke, Write};
use leases::Leases;
use mvcc::Mvcc;
use std::time::{Duration, Instant};

/// Bounds of one store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of keys and values kept, history included; a put beyond is refused (etcd's `--quota-backend-bytes`).
    pub store_bytes_max: u64,
    /// More revisions of history than this are compacted, down to half.
    pub history_revisions_max: Revision,
    /// More bytes of superseded values than this are compacted, all of them.
    pub history_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { store_bytes_max: 2 << 30, history_revisions_max: 20_000, history_bytes_max: 256 << 20 }
    }
}

/// Why a log does not fit the engine it is replayed into.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the record is not one of ours")]
    Decode { source: prost::DecodeError },
    #[error("the record is empty")]
    Empty,
    #[error("the record leads to revision {recorded}, but the store is at {reached}")]
    Revision { recorded: Revision, reached: Revision },
}

pub struct Engine {
    limits: Limits,
    born: Option<Born>,
    mvcc: Mvcc,
    leases: Leases,
}

impl Engine {
    pub fn new(limits: Limits) -> Self {
        Self { limits, born: None, mvcc: Mvcc::new(), leases: Leases::default() }
    }

    /// Who the store is; `None` until it was born.
    pub fn born(&self) -> Option<&Born> {
        self.born.as_ref()
    }

    /// The revision of the last change, durable or not.
    pub fn revision(&self) -> Revision {
        self.mvcc.revision()
    }

    /// The oldest revision that can be read; -1 before the first compaction, as in etcd.
    pub fn compacted(&self) -> Revision {
        self.mvcc.compacted()
    }

    /// Bytes of keys and values, history included.
    pub fn bytes(&self) -> u64 {
        self.mvcc.bytes()
    }

    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    pub fn be_born(&mut self, cluster_id: u64, member_id: u64) -> Record {
        let born = Born { cluster_id, member_id };
        self.born = Some(born);
        record(RecordChange::Born(born))
    }

    // ---- keys

    /// Reads as of `head`, the newest revision the reader may see.
    pub fn range(&self, request: &pb::RangeRequest, head: Revision) -> Result<pb::RangeResponse, Refusal> {
        check::range(request)?;
        self.mvcc.range(request, head)
    }

    /// A put, a delete or a transaction; without a record nothing changed.
    pub fn txn(&mut self, request: &pb::TxnRequest) -> Result<(pb::TxnResponse, Option<Record>), Refusal> {
        check::txn(request)?;
        let (response, changes) = txn::apply(self, request)?;
        Ok((response, self.write_record(changes)))
    }

    pub fn put(&mut self, request: &pb::PutRequest) -> Result<(pb::PutResponse, Option<Record>), Refusal> {
        check::put(request)?;
        txn::check_lease(self, request)?;
        txn::check_put(self, request)?;
        let mut changes = Vec::new();
        let response = txn::put(self, request, &mut changes);
        Ok((response, self.write_record(changes)))
    }

    pub fn delete_range(
        &mut self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<(pb::DeleteRangeResponse, Option<Record>), Refusal> {
        check::delete_range(request)?;
        let mut changes = Vec::new();
        let response = txn::delete_range(self, request, &mut changes);
        Ok((response, self.write_record(changes)))
    }

    fn write_record(&mut self, changes: Vec<crate::wire::storage::Change>) -> Option<Record> {
        self.mvcc.finish_revision();
        let revision = self.mvcc.revision();
        (!changes.is_empty()).then(|| record(RecordChange::Write(Write { revision, changes })))
    }

    // ---- history

    /// Checks a compaction and marks it as begun; [`Engine::prune`] frees the memory once the record is durable.
    pub fn compact(&mut self, revision: Revision) -> Result<Record, Refusal> {
        self.mvcc.begin_compaction(revision)?;
        Ok(record(RecordChange::Compact(Compact { revision })))
    }

    pub fn prune(&mut self) {
        self.mvcc.prune();
    }

    /// The revision to compact to by itself, when history has outgrown its bounds. Only durable revisions are compacted.
    pub fn overgrown(&self, durable: Revision) -> Option<Revision> {
        let kept = self.revision() - self.compacted().max(1);
        let target = if self.limits.history_bytes_max < self.mvcc.superseded_bytes() {
            durable
        } else if self.limits.history_revisions_max < kept {
            durable.min(self.revision() - self.limits.history_revisions_max / 2)
        } else {
            return None;
        };
        (self.compacted() < target).then_some(target)
    }

    /// Matching events of the revisions `from..=to`, whole revisions only.
    pub fn events(&self, options: &WatcherOptions, from: Revision, to: Revision) -> Events {
        self.mvcc.events(options, from, to)
    }

    /// The keys a revision changed, in order.
    pub fn keys_changed_at(&self, revision: Revision) -> &[bytes::Bytes] {
        self.mvcc.keys_changed_at(revision)
    }

    // ---- leases

    /// `id` must be free; the shell picks a random one for a caller who gave none.
    pub fn lease_grant(&mut self, id: i64, ttl_seconds: i64, now: Instant) -> Result<(i64, Record), Refusal> {
        let ttl_seconds = self.leases.grant(id, ttl_seconds, now)?;
        Ok((ttl_seconds, record(RecordChange::Grant(Grant { id, ttl_seconds }))))
    }

    /// Deletes the lease and its keys, in one revision.
    pub fn lease_revoke(&mut self, id: i64) -> Result<Record, Refusal> {
        let keys = self.leases.remove(id).ok_or(Refusal::LeaseNotFound)?;
        for key in keys {
            self.mvcc.delete(&key);
        }
        self.mvcc.finish_revision();
        Ok(record(RecordChange::Revoke(Revoke { id, revision: self.mvcc.revision() })))
    }

    /// The time the lease has from now on, in seconds; `None` when it is gone.
    pub fn lease_keep_alive(&mut self, id: i64, now: Instant) -> Option<i64> {
        self.leases.keep_alive(id, now)
    }

    /// Remaining and granted seconds.
    pub fn lease_time_to_live(&self, id: i64, now: Instant) -> Option<(i64, i64)> {
        self.leases.time_to_live(id, now)
    }

    /// The keys a lease holds; empty for an unknown one.
    pub fn lease_keys(&self, id: i64) -> impl Iterator<Item = &bytes::Bytes> {
        self.leases.keys(id)
    }

    pub fn lease_ids(&self) -> Vec<i64> {
        self.leases.ids()
    }

    /// How long until the next lease runs out.
    pub fn lease_wait(&self, now: Instant) -> Option<Duration> {
        self.leases.next_deadline().map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Leases that have run out, at most `count_max` of them.
    pub fn leases_expired(&self, now: Instant, count_max: usize) -> Vec<i64> {
        self.leases.expired(now, count_max)
    }

    // ---- restart

    /// Applies a record of the log again. Leases begin anew with their full time.
    pub fn replay(&mut self, payload: &[u8], now: Instant) -> Result<(), ReplayError> {
        let record: Record = prost::Message::decode(payload).map_err(|source| ReplayError::Decode { source })?;
        let recorded = match record.change.ok_or(ReplayError::Empty)? {
            RecordChange::Born(born) => {
                self.born = Some(born);
                return Ok(());
            }
            RecordChange::Grant(grant) => {
                self.leases.restore(grant.id, grant.ttl_seconds, now);
                return Ok(());
            }
            RecordChange::Compact(compact) => {
                // Refused only when a later compaction is already part of the snapshot.
                let _already_compacted = self.mvcc.begin_compaction(compact.revision);
                self.mvcc.prune();
                return Ok(());
            }
            RecordChange::Revoke(revoke) => {
                // A lease that is not there holds no keys; the revision below tells whether that is right.
                let _gone = self.lease_revoke(revoke.id);
                revoke.revision
            }
            RecordChange::Write(write) => {
                txn::replay(self, write.changes);
                self.mvcc.finish_revision();
                write.revision
            }
        };
        let reached = self.mvcc.revision();
        if recorded == reached { Ok(()) } else { Err(ReplayError::Revision { recorded, reached }) }
    }
}

fn record(change: RecordChange) -> Record {
    Record { change: Some(change) }
}
