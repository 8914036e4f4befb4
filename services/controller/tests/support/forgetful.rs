//! A store that does not take down where an order is: as if the leader had died just before.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use store::{
    Lease, LeaseId, Operation, RangeRequest, RangeResponse, Revision, Store, StoreError, TxnRequest, TxnResponse,
    WatchRequest, WatchStream,
};

pub struct Forgetful {
    inner: Arc<dyn Store>,
    forgets: AtomicBool,
    forgotten: AtomicUsize,
}

impl Forgetful {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, forgets: AtomicBool::new(true), forgotten: AtomicUsize::new(0) }
    }

    pub fn has_forgotten(&self) -> bool {
        self.forgotten.load(SeqCst) > 0
    }

    pub fn recover(&self) {
        self.forgets.store(false, SeqCst);
    }
}

fn is_where_an_order_is(operation: &Operation) -> bool {
    let Operation::Put(put) = operation else { return false };
    put.key.starts_with(b"/roadstead/acme/orders/") && String::from_utf8_lossy(&put.value).contains("\"url\"")
}

#[async_trait]
impl Store for Forgetful {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        self.inner.range(request).await
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        if self.forgets.load(SeqCst) && request.success.iter().any(is_where_an_order_is) {
            self.forgotten.fetch_add(1, SeqCst);
            return Err(StoreError::Unavailable { message: "for the test".into() });
        }
        self.inner.txn(request).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        self.inner.watch(request).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError> {
        self.inner.lease_keep_alive(id).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.inner.lease_revoke(id).await
    }

    async fn cluster_id(&self) -> Result<u64, StoreError> {
        self.inner.cluster_id().await
    }
}
