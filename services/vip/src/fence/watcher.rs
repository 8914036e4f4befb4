//! Hears what happens under the prefix: that records changed, and that our own are challenged.

use super::Shared;
use super::record::{Challenge, PREFIX, challenged_record};
use futures::StreamExt;
use lifecycle::Stop;
use std::sync::Arc;
use std::time::Duration;
use store::{Event, StoreError};
use tokio::time::timeout;

/// How soon a lost watch is begun anew.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long beginning a watch, or answering a challenge, may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Until the stop is requested.
pub(super) async fn watch(shared: Arc<Shared>, stop: Stop) {
    loop {
        match stop.or(follow(&shared)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(error = %lifecycle::ErrorChain(&error), "watch who holds the addresses");
            }
        }
        if stop.or(tokio::time::sleep(RETRY_PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn follow(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let Ok(watch) = timeout(CALL_TIMEOUT, shared.store.watch_prefix(PREFIX, 0)).await else { return Ok(()) };
    let mut batches = watch?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        for event in &batch.events {
            if let Some(record) = challenged_record(event.key()) {
                challenged(shared, record, event);
            } else {
                changed(shared, event, batch.revision);
            }
        }
    }
    Ok(())
}

/// Only keys of our own routers are remembered.
fn changed(shared: &Shared, event: &Event, revision: i64) {
    if let Some(fenced) = shared.routers.iter().find(|fenced| fenced.key.as_bytes() == event.key().as_ref()) {
        shared.changes.send_modify(|changes| {
            changes.insert(fenced.key.clone(), revision);
        });
    }
}

fn challenged(shared: &Arc<Shared>, record: &str, event: &Event) {
    let Event::Put { kv, .. } = event else { return };
    let Some(challenge) = Challenge::read(&kv.value) else { return };
    let Some(router) = shared.routers.iter().position(|fenced| fenced.key == record) else { return };
    let (shared, revision) = (shared.clone(), kv.mod_revision);
    // Beside the watch, which must go on; bounded by what the challengers wait for.
    tokio::spawn(async move {
        let answer = shared.answer(&shared.routers[router], &challenge, revision);
        match timeout(CALL_TIMEOUT, answer).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %lifecycle::ErrorChain(&error), "answer a challenge"),
            Err(_) => tracing::debug!("answer a challenge: the store does not answer"),
        }
    });
}
