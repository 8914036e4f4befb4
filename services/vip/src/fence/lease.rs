//! The lease of this node, under which everything it writes goes away when it is gone for good.

use super::Shared;
use lifecycle::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use store::LeaseId;
use tokio::time::{Instant, timeout};

/// How long a dead node's records stay; nobody waits for it, since a challenge is quicker.
const TTL: Duration = Duration::from_secs(5);
/// A third of the lifetime: two heartbeats may be lost.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(1500);
/// How soon a store that did not answer is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// The lease, while it lives as far as we know.
#[derive(Debug, Default)]
pub(crate) struct HeldLease(AtomicI64);

/// No lease: etcd's own way to say so.
const NONE: LeaseId = 0;

impl HeldLease {
    pub fn get(&self) -> Option<LeaseId> {
        Some(self.0.load(Relaxed)).filter(|id| *id != NONE)
    }
}

/// Until the stop is requested; then the lease is revoked, and with it go the records.
pub(super) async fn keep(shared: Arc<Shared>, stop: Stop) {
    let store = &shared.store;
    let mut said = false;
    while !stop.is_requested() {
        let granted = stop.or(timeout(CALL_TIMEOUT, store.lease_grant(TTL))).await;
        match granted {
            None => return,
            Some(Ok(Ok(lease))) => {
                said = false;
                shared.lease.0.store(lease.id, Relaxed);
                keep_alive(&shared, lease.id, &stop).await;
                shared.lease.0.store(NONE, Relaxed);
            }
            Some(Ok(Err(error))) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(error = %lifecycle::ErrorChain(&error), "no lease from the store: VRRP decides alone");
                }
            }
            Some(Err(_)) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("the store does not answer: VRRP decides alone");
                }
            }
        }
        if stop.or(tokio::time::sleep(RETRY_PAUSE)).await.is_none() {
            return;
        }
    }
}

/// Until the lease is gone or given back.
async fn keep_alive(shared: &Shared, id: LeaseId, stop: &Stop) {
    let mut alive_at = Instant::now();
    let mut pause = KEEP_ALIVE_INTERVAL;
    loop {
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            if let Ok(Err(error)) = timeout(CALL_TIMEOUT, shared.store.lease_revoke(id)).await {
                tracing::debug!(error = %lifecycle::ErrorChain(&error), "give the lease back");
            }
            return;
        }
        let asked_at = Instant::now();
        match timeout(CALL_TIMEOUT, shared.store.lease_keep_alive(id)).await {
            Ok(Ok(Some(_))) => (alive_at, pause) = (asked_at, KEEP_ALIVE_INTERVAL),
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => pause = RETRY_PAUSE,
        }
        if alive_at.elapsed() > TTL {
            return;
        }
    }
}
