//! For tests: a store that somebody meddles with, as outages, rivals and lost answers do.

use crate::{
    Lease, LeaseId, RangeRequest, RangeResponse, Revision, Store, StoreError, TxnRequest, TxnResponse, WatchRequest,
    WatchStream,
};
use async_trait::async_trait;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// What it does not meddle with goes to the store as it is.
#[async_trait]
pub trait Meddler: Send + Sync + 'static {
    async fn range(&self, store: &dyn Store, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        store.range(request).await
    }

    async fn txn(&self, store: &dyn Store, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        store.txn(request).await
    }

    async fn watch(&self, store: &dyn Store, request: WatchRequest) -> Result<WatchStream, StoreError> {
        store.watch(request).await
    }
}

/// A store with its meddler, which is at hand.
pub struct Meddled<M> {
    store: Arc<dyn Store>,
    meddler: M,
}

impl<M> Meddled<M> {
    pub fn new(store: Arc<dyn Store>, meddler: M) -> Self {
        Self { store, meddler }
    }
}

impl<M> Deref for Meddled<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.meddler
    }
}

#[async_trait]
impl<M: Meddler> Store for Meddled<M> {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        self.meddler.range(&*self.store, request).await
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        self.meddler.txn(&*self.store, request).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        self.meddler.watch(&*self.store, request).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.store.compact(revision).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError> {
        self.store.lease_keep_alive(id).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.store.lease_revoke(id).await
    }

    async fn cluster_id(&self) -> Result<u64, StoreError> {
        self.store.cluster_id().await
    }
}
