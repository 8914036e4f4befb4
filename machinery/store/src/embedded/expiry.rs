//! The task that revokes leases whose time has run out.

use super::Shared;
use lifecycle::{ErrorChain, Stop};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Leases revoked before the others are looked at again.
const REVOKED_AT_ONCE_MAX: usize = 100;
/// With no lease at all, the clock is looked at this rarely.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);
/// After a revocation failed (the disk did) it is tried again no sooner.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub async fn run(shared: Arc<Shared>, stop: Stop) {
    loop {
        let wait = shared.read().engine.lease_wait(Instant::now()).unwrap_or(IDLE_INTERVAL);
        tokio::select! {
            () = stop.requested() => return,
            () = shared.leases_changed.notified() => continue,
            () = tokio::time::sleep(wait) => {}
        }
        let expired = shared.read().engine.leases_expired(Instant::now(), REVOKED_AT_ONCE_MAX);
        for id in expired {
            let Some(Err(error)) = stop.or(shared.lease_revoke(id)).await else { continue };
            tracing::warn!(error = %ErrorChain(&error), lease = id, "revoke an expired lease");
            stop.or(tokio::time::sleep(FAILURE_PAUSE)).await;
        }
    }
}
