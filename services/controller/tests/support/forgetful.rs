//! Whoever meddles with the store so that it does not take down where an order is: as if the leader had died just before.

use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use store::meddled::Meddler;
use store::{Operation, Store, StoreError, TxnRequest, TxnResponse};

#[derive(Default)]
pub struct Forgetful {
    is_over: AtomicBool,
    forgotten: AtomicUsize,
}

impl Forgetful {
    pub fn has_forgotten(&self) -> bool {
        self.forgotten.load(SeqCst) > 0
    }

    pub fn recover(&self) {
        self.is_over.store(true, SeqCst);
    }
}

fn is_where_an_order_is(operation: &Operation) -> bool {
    let Operation::Put(put) = operation else { return false };
    put.key.starts_with(b"/roadstead/acme/orders/") && String::from_utf8_lossy(&put.value).contains("\"url\"")
}

#[async_trait]
impl Meddler for Forgetful {
    async fn txn(&self, store: &dyn Store, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        if !self.is_over.load(SeqCst) && request.success.iter().any(is_where_an_order_is) {
            self.forgotten.fetch_add(1, SeqCst);
            return Err(StoreError::Unavailable { message: "for the test".into() });
        }
        store.txn(request).await
    }
}
