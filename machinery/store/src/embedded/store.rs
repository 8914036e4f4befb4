//! The Store trait, in process.

use super::{Embedded, Subscription};
use crate::convert;
use crate::engine::WatcherOptions;
use crate::{
    Lease, LeaseId, RangeRequest, RangeResponse, Revision, Store, StoreError, TxnRequest, TxnResponse, WatchBatch,
    WatchRequest, WatchStream,
};
use async_trait::async_trait;
use futures::StreamExt;
use std::time::Duration;

/// A watch without events tells how far the store is this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

#[async_trait]
impl Store for Embedded {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        Self::range(self, &convert::range_request(request)).map(convert::range_response)
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        Self::txn(self, &convert::txn_request(request)).await.map(convert::txn_response)
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        let options = WatcherOptions {
            key: request.range.key,
            range_end: request.range.end,
            prev_kv: request.prev_kv,
            without_puts: false,
            without_deletes: false,
        };
        let mut subscription = self.subscribe();
        subscription.add(0, options, request.start_revision);
        let batches = futures::stream::unfold(Some((subscription, self.stop.clone())), |watching| async move {
            let (mut subscription, stop) = watching?;
            match next_batch(&mut subscription, &stop).await {
                Ok(batch) => Some((Ok(batch), Some((subscription, stop)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(batches.boxed())
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        Self::compact(self, revision).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let (id, ttl_seconds) = Self::lease_grant(self, 0, convert::seconds(ttl)).await?;
        Ok(Lease { id, ttl: convert::duration(ttl_seconds) })
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError> {
        Ok(Self::lease_keep_alive(self, id).map(convert::duration))
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        Self::lease_revoke(self, id).await
    }

    async fn cluster_id(&self) -> Result<u64, StoreError> {
        Ok(self.identity().cluster_id)
    }
}

async fn next_batch(subscription: &mut Subscription, stop: &lifecycle::Stop) -> Result<WatchBatch, StoreError> {
    loop {
        while let Some((_, _, read)) = subscription.read() {
            let read = read?;
            if !read.events.is_empty() {
                return Ok(WatchBatch { revision: read.upto, events: convert::events(read.events) });
            }
        }
        let changed = tokio::time::timeout(PROGRESS_INTERVAL, subscription.changed());
        let is_quiet = stop.or(changed).await.ok_or_else(super::closed)?.is_err();
        if is_quiet && let Some(revision) = subscription.progress() {
            return Ok(WatchBatch { revision, events: Vec::new() });
        }
    }
}
