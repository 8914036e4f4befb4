//! The Store trait: etcd's v3 key-value model as the platform uses it. Semantics and limits are etcd's
//! (revisions, leases, watch guarantees: etcd API reference v3.4); one contract suite runs against every implementation.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::time::Duration;

pub type Revision = i64;
pub type LeaseId = i64;

/// Operations one transaction may hold (etcd's `--max-txn-ops`).
pub const TXN_OPERATIONS_MAX: usize = 128;
/// Bytes one request may hold (etcd's `--max-request-bytes`).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// 1 on creation, counting up; 0 in the tombstone of a delete event.
    pub version: i64,
    /// 0 without a lease.
    pub lease: LeaseId,
}

/// A range of keys, `[key, end)`; etcd's reading of an empty end (one key) and of `\0` (no end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub key: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    pub fn one(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Bytes::new() }
    }

    /// Every key with this prefix; the empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key: Bytes = prefix.into();
        let mut end = key.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => {
                *last += 1;
                Self { key, end: end.into() }
            }
            None => Self { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    pub range: KeyRange,
    /// 0: no limit.
    pub limit: i64,
    /// 0: now.
    pub revision: Revision,
    pub keys_only: bool,
    pub count_only: bool,
}

impl RangeRequest {
    pub fn of(range: KeyRange) -> Self {
        Self { range, limit: 0, revision: 0, keys_only: false, count_only: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResponse {
    /// The store's revision at the time of the answer.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    pub count: i64,
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Equal,
    Greater,
    Less,
    NotEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Version(i64),
    CreateRevision(Revision),
    ModRevision(Revision),
    Value(Bytes),
    Lease(LeaseId),
}

/// A condition of a transaction: `target(key) order value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub order: Order,
    pub target: Target,
}

impl Compare {
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::one(key), order: Order::Equal, target: Target::CreateRevision(0) }
    }

    pub fn exists(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::one(key), order: Order::Greater, target: Target::CreateRevision(0) }
    }

    pub fn unchanged(key: impl Into<Bytes>, mod_revision: Revision) -> Self {
        Self { range: KeyRange::one(key), order: Order::Equal, target: Target::ModRevision(mod_revision) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Range(RangeRequest),
    Put(PutRequest),
    Delete { range: KeyRange, prev_kv: bool },
}

impl Operation {
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put(PutRequest { key: key.into(), value: value.into(), lease: 0, prev_kv: false })
    }

    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { range: KeyRange::one(key), prev_kv: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    pub success: Vec<Operation>,
    pub failure: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResponse {
    Range(RangeResponse),
    Put { prev_kv: Option<KeyValue> },
    Delete { deleted: i64, prev_kvs: Vec<KeyValue> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResponse {
    pub revision: Revision,
    pub succeeded: bool,
    pub responses: Vec<OperationResponse>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    pub range: KeyRange,
    /// First revision to report, inclusive; 0: from now.
    pub start_revision: Revision,
    pub prev_kv: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Put { kv: KeyValue, prev_kv: Option<KeyValue> },
    Delete { key: Bytes, mod_revision: Revision, prev_kv: Option<KeyValue> },
}

impl Event {
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { kv, .. } => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// Whole revisions of events, in order; never part of a revision. Events may be empty (progress).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// Nothing at or below this revision will follow.
    pub revision: Revision,
    pub events: Vec<Event>,
}

/// Ends after an error; a watcher that was ended by compaction or a lost connection reads everything and watches anew.
pub type WatchStream = BoxStream<'static, Result<WatchBatch, StoreError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// What was granted, which may be more than was asked (etcd's floor is 2 s).
    pub ttl: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused the request; `message` is etcd's own text, which clients match on.
    #[error("the store refused: {message}")]
    Refused { code: RefusalCode, message: String },
    #[error("the store cannot be reached: {message}")]
    Unavailable { message: String },
    #[error("the watch was ended: revision {compact_revision} is the oldest that is kept")]
    Compacted { compact_revision: Revision },
    #[error("the store's disk failed")]
    Disk { source: std::io::Error },
}

/// gRPC status codes that etcd answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    InvalidArgument,
    NotFound,
    FailedPrecondition,
    OutOfRange,
    ResourceExhausted,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
    Other,
}

/// Keys that [`Store::read_prefix`] asks for at once, so that neither side holds more than it must in one answer.
pub const PAGE_KEYS: i64 = 500;

/// etcd v3's key-value store with leases and watches.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError>;
    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError>;
    /// The stream exists on the server when this returns: changes made from then on are reported.
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError>;
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError>;
    /// `None` when the lease is gone.
    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError>;
    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError>;
    /// Which store this is: another one, a restored one too, has other revisions.
    async fn cluster_id(&self) -> Result<u64, StoreError>;

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let request = RangeRequest::of(KeyRange::one(key.to_owned()));
        Ok(self.range(request).await?.kvs.pop())
    }

    async fn get_prefix(&self, prefix: &str) -> Result<RangeResponse, StoreError> {
        self.range(RangeRequest::of(KeyRange::prefix(prefix.to_owned()))).await
    }

    /// Every key under a prefix at one revision (0: now), and that revision; read [`PAGE_KEYS`] at a time.
    async fn read_prefix(&self, prefix: &str, revision: Revision) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let (mut page, mut rest) = self.read_page(KeyRange::prefix(prefix.to_owned()), revision).await?;
        let revision = if revision == 0 { page.revision } else { revision };
        let mut kvs = page.kvs;
        while let Some(range) = rest {
            (page, rest) = self.read_page(range, revision).await?;
            kvs.extend(page.kvs);
        }
        Ok((revision, kvs))
    }

    /// The first [`PAGE_KEYS`] of a range at a revision (0: now), and what is left of the range behind them.
    async fn read_page(
        &self,
        range: KeyRange,
        revision: Revision,
    ) -> Result<(RangeResponse, Option<KeyRange>), StoreError> {
        let end = range.end.clone();
        let page = self.range(RangeRequest { limit: PAGE_KEYS, revision, ..RangeRequest::of(range) }).await?;
        // Behind the last key is the smallest one that is greater.
        let last = page.kvs.last().filter(|_| page.more);
        let rest = last.map(|last| KeyRange { key: [last.key.as_ref(), b"\0"].concat().into(), end });
        Ok((page, rest))
    }

    /// Returns the revision of the put.
    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, StoreError> {
        let success = vec![Operation::put(key.to_owned(), value)];
        Ok(self.txn(TxnRequest { success, ..TxnRequest::default() }).await?.revision)
    }

    /// Whether the key existed.
    async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let success = vec![Operation::delete(key.to_owned())];
        let response = self.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
        Ok(matches!(response.responses.first(), Some(OperationResponse::Delete { deleted, .. }) if *deleted > 0))
    }

    /// Watches a prefix from a revision on (0: from now).
    async fn watch_prefix(&self, prefix: &str, start_revision: Revision) -> Result<WatchStream, StoreError> {
        let range = KeyRange::prefix(prefix.to_owned());
        self.watch(WatchRequest { range, start_revision, prev_kv: false }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_that_ends_before_the_next_one() {
        assert_eq!(KeyRange::prefix("/a/").end, Bytes::from_static(b"/a0"));
        assert_eq!(KeyRange::prefix(&b"a\xff"[..]).end, Bytes::from_static(b"b"));
        assert_eq!(KeyRange::prefix("").end, Bytes::from_static(b"\0"));
    }
}
