//! The embedded engine as a running store: one process, one disk.
//!
//! A write is applied in memory and put into the log's queue under one short lock, so the order of revisions is the order
//! of the log; no lock is held while the disk works. One task, the publisher, waits for the flushes in that order and only
//! then answers, moves the *durable revision* on and tells the watchers. Plain reads read at the durable revision, which
//! MVCC gives for free: they never wait, and see everything that was ever acknowledged and nothing that could be lost.

mod expiry;
mod open;
mod publisher;
mod snapshots;
mod store;
#[cfg(test)]
mod tests;
mod watching;

pub use open::OpenError;
pub use watching::Subscription;

use crate::engine::{Engine, Limits, Watchers};
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use crate::wire::storage::{Born, Record, record::Change};
use crate::{LeaseId, REQUEST_BYTES_MAX, Revision, StoreError};
use bytes::Bytes;
use durable::{Disk, Log, LogOptions};
use lifecycle::Stop;
use prost::Message;
use publisher::Pending;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Writes that may wait for their flush; further ones wait before they are applied.
const PENDING_MAX: usize = 4096;
/// Request bytes that may wait for their flush. Records are at most a few times as long as requests, so the log's own
/// bound (`durable::QUEUE_BYTES_MAX`) is never met.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// A record holds one request; see `PENDING_BYTES_MAX`.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// Bounds of a store, and where tests turn its screws.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    pub log: LogOptions,
    /// A snapshot is made when the log has grown by this much, or by as much as the last snapshot holds.
    pub snapshot_log_bytes_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        let log = LogOptions { segment_bytes: 64 << 20, record_bytes_max: RECORD_BYTES_MAX, fsync: true };
        Self { limits: Limits::default(), log, snapshot_log_bytes_min: 64 << 20 }
    }
}

/// A running store. [`Embedded::close`] ends it in order; a drop ends it too, without waiting.
pub struct Embedded {
    shared: Arc<Shared>,
    stop: Stop,
    tasks: TaskTracker,
}

struct Shared {
    state: RwLock<State>,
    log: Log,
    pending: mpsc::Sender<Pending>,
    room: Arc<Semaphore>,
    leases_changed: Notify,
    snapshot_wanted: Notify,
    failed: Stop,
    born: Born,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
}

struct State {
    engine: Engine,
    watchers: Watchers,
    /// The newest revision that others may see.
    durable: Revision,
    /// The log failed: nothing is written any more, what is durable can be read.
    failure: Option<String>,
    log_bytes_since_snapshot: u64,
    snapshot_bytes: u64,
}

/// What the store says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    pub cluster_id: u64,
    pub member_id: u64,
    pub revision: Revision,
    pub compacted: Revision,
    pub bytes: u64,
    pub leases: usize,
    pub watchers: usize,
    pub failure: Option<String>,
}

impl Embedded {
    pub fn status(&self) -> Status {
        let state = self.shared.read();
        Status {
            cluster_id: self.shared.born.cluster_id,
            member_id: self.shared.born.member_id,
            revision: state.durable,
            compacted: state.engine.compacted(),
            bytes: state.engine.bytes(),
            leases: state.engine.lease_count(),
            watchers: state.watchers.len(),
            failure: state.failure.clone(),
        }
    }

    /// Who the store is.
    pub fn identity(&self) -> Born {
        self.shared.born
    }

    /// The newest durable revision.
    pub fn revision(&self) -> Revision {
        self.shared.read().durable
    }

    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, StoreError> {
        let state = self.shared.read();
        Ok(state.engine.range(request, state.durable)?)
    }

    pub async fn put(&self, request: &pb::PutRequest) -> Result<pb::PutResponse, StoreError> {
        self.shared.write(request.encoded_len(), |engine| engine.put(request)).await
    }

    pub async fn delete_range(&self, request: &pb::DeleteRangeRequest) -> Result<pb::DeleteRangeResponse, StoreError> {
        self.shared.write(request.encoded_len(), |engine| engine.delete_range(request)).await
    }

    pub async fn txn(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, StoreError> {
        self.shared.write(request.encoded_len(), |engine| engine.txn(request)).await
    }

    pub async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.shared.write(0, |engine| Ok(((), Some(engine.compact(revision)?)))).await
    }

    /// `id` 0: the store picks one. Returns the id and the granted seconds.
    pub async fn lease_grant(&self, id: LeaseId, ttl_seconds: i64) -> Result<(LeaseId, i64), StoreError> {
        let id = if id == 0 { random_lease_id()? } else { id };
        let now = Instant::now();
        let granted = self.shared.write(0, |engine| {
            let (ttl_seconds, record) = engine.lease_grant(id, ttl_seconds, now)?;
            Ok((ttl_seconds, Some(record)))
        });
        let ttl_seconds = granted.await?;
        self.shared.leases_changed.notify_one();
        Ok((id, ttl_seconds))
    }

    pub async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.shared.lease_revoke(id).await
    }

    /// The seconds the lease has from now on; `None` when it is gone.
    pub fn lease_keep_alive(&self, id: LeaseId) -> Option<i64> {
        self.shared.write_state().engine.lease_keep_alive(id, Instant::now())
    }

    /// Remaining and granted seconds.
    pub fn lease_time_to_live(&self, id: LeaseId) -> Option<(i64, i64)> {
        self.shared.read().engine.lease_time_to_live(id, Instant::now())
    }

    pub fn lease_keys(&self, id: LeaseId) -> Vec<Bytes> {
        self.shared.read().engine.lease_keys(id).cloned().collect()
    }

    pub fn lease_ids(&self) -> Vec<LeaseId> {
        self.shared.read().engine.lease_ids()
    }

    /// Resolves when the log has failed: nothing can be written any more.
    pub async fn failed(&self) {
        self.shared.failed.requested().await;
    }

    /// Answers what is under way and flushes it. The data directory is free once the last subscription is dropped too.
    pub async fn close(&self) {
        self.stop.request();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change and resolves once it, and everything it has seen, is durable.
    async fn write<T>(
        &self,
        request_bytes: usize,
        act: impl FnOnce(&mut Engine) -> Result<(T, Option<Record>), Refusal>,
    ) -> Result<T, StoreError> {
        if REQUEST_BYTES_MAX < request_bytes {
            return Err(Refusal::RequestTooLarge.into());
        }
        let permits = u32::try_from(request_bytes).expect("REQUEST_BYTES_MAX fits");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| closed())?;
        let slot = self.pending.reserve().await.map_err(|_| closed())?;
        let (answer, flushed) = oneshot::channel();
        let response = {
            let mut state = self.write_state();
            if let Some(failure) = &state.failure {
                return Err(StoreError::Disk { source: std::io::Error::other(failure.clone()) });
            }
            let (response, record) = act(&mut state.engine)?;
            if record.is_none() && state.engine.revision() == state.durable {
                return Ok(response);
            }
            slot.send(self.pend(&mut state, record, Some(answer), Some(room)));
            response
        };
        flushed.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(response)
    }

    /// Queues a record under the lock under which it was made, so that the log has the order of the revisions.
    fn pend(
        &self,
        state: &mut State,
        record: Option<Record>,
        answer: Option<publisher::Answer>,
        room: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Pending {
        let prunes = matches!(&record, Some(Record { change: Some(Change::Compact(_)) }));
        let flushed = record.map(|record| {
            let payload = Bytes::from(record.encode_to_vec());
            state.log_bytes_since_snapshot += payload.len() as u64;
            publisher::flushed(self.log.append(payload))
        });
        Pending { revision: state.engine.revision(), flushed, prunes, answer, _room: room }
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.write(0, |engine| Ok(((), Some(engine.lease_revoke(id)?)))).await
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable { message: "the store is closing".into() }
}

/// Positive, since 0 means none; 63 random bits do not meet again.
fn random_lease_id() -> Result<LeaseId, StoreError> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(|error| StoreError::Unavailable { message: error.to_string() })?;
    Ok((LeaseId::from_le_bytes(bits) & LeaseId::MAX).max(1))
}
