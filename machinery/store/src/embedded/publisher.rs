//! The task that waits for flushes, in order, and then lets the world see.

use super::{Shared, closed};
use crate::{Revision, StoreError};
use durable::{LogError, Position};
use futures::FutureExt;
use futures::future::BoxFuture;
use lifecycle::{ErrorChain, Stop};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

pub type Answer = oneshot::Sender<Result<(), StoreError>>;
type Flushed = BoxFuture<'static, Result<Position, LogError>>;

/// A change that waits for its flush, or a read that has seen one.
pub struct Pending {
    /// The store's revision once it is durable.
    pub revision: Revision,
    /// `None` for a read: it waits for what is before it.
    pub flushed: Option<Flushed>,
    /// Whether it is a compaction, whose memory may be freed then.
    pub prunes: bool,
    pub answer: Option<Answer>,
    pub _room: Option<OwnedSemaphorePermit>,
}

pub fn flushed(append: impl Future<Output = Result<Position, LogError>> + Send + 'static) -> Flushed {
    append.boxed()
}

pub async fn run(shared: Arc<Shared>, mut pending: mpsc::Receiver<Pending>, stop: Stop) {
    let mut first = None;
    loop {
        let mut next = match first.take() {
            Some(next) => next,
            None => match stop.or(pending.recv()).await {
                Some(Some(next)) => next,
                Some(None) => return,
                None => {
                    // No more is taken in; what was is still flushed and answered.
                    pending.close();
                    match pending.recv().await {
                        Some(next) => next,
                        None => return,
                    }
                }
            },
        };
        let mut result = match &mut next.flushed {
            Some(flushed) => flushed.await.map(drop),
            None => Ok(()),
        };
        // One flush covers many: take all that it has covered.
        let mut group = vec![next];
        while result.is_ok() {
            let Ok(mut next) = pending.try_recv() else { break };
            match next.flushed.as_mut().map(|flushed| flushed.now_or_never()) {
                None | Some(Some(Ok(_))) => group.push(next),
                Some(None) => {
                    first = Some(next);
                    break;
                }
                Some(Some(Err(error))) => {
                    result = Err(error);
                    first = Some(Pending { flushed: None, ..next });
                }
            }
        }
        match result {
            Ok(()) => publish(&shared, group),
            Err(error) => {
                // Those before the one that failed were flushed.
                let failed = first.take().or_else(|| group.pop());
                publish(&shared, group);
                fail(&shared, &error);
                refuse(&error, failed);
            }
        }
    }
}

fn publish(shared: &Shared, group: Vec<Pending>) {
    {
        let mut state = shared.write_state();
        if state.failure.is_none() {
            for done in &group {
                for revision in state.durable + 1..=done.revision {
                    state.watchers.tell(revision, state.engine.keys_changed_at(revision));
                }
                state.durable = state.durable.max(done.revision);
            }
            if group.iter().any(|done| done.prunes) {
                state.engine.prune();
            }
            compact_overgrown(shared, &mut state);
            if state.log_bytes_since_snapshot > shared.options.snapshot_log_bytes_min.max(state.snapshot_bytes) {
                shared.snapshot_wanted.notify_one();
            }
        }
    }
    let failure = shared.read().failure.clone();
    for done in group {
        if let Some(answer) = done.answer {
            let result = match &failure {
                None => Ok(()),
                Some(failure) => Err(StoreError::Disk { source: std::io::Error::other(failure.clone()) }),
            };
            // A caller that no longer waits needs no answer.
            let _not_waiting = answer.send(result);
        }
    }
}

fn compact_overgrown(shared: &Shared, state: &mut super::State) {
    let Some(revision) = state.engine.overgrown(state.durable) else { return };
    // Without a free slot it is tried again after the next write.
    let Ok(slot) = shared.pending.try_reserve() else { return };
    if let Ok(record) = state.engine.compact(revision) {
        tracing::debug!(revision, "history has outgrown its bounds and is compacted");
        slot.send(shared.pend(state, Some(record), None, None));
    }
}

fn fail(shared: &Shared, error: &LogError) {
    let mut state = shared.write_state();
    if state.failure.is_none() {
        tracing::error!(error = %ErrorChain(error), "the store's log failed: the store is read-only now");
        state.failure = Some(ErrorChain(error).to_string());
        shared.failed.request();
    }
}

fn refuse(error: &LogError, failed: Option<Pending>) {
    if let Some(answer) = failed.and_then(|failed| failed.answer) {
        let error = match error {
            LogError::Closed => closed(),
            error => StoreError::Disk { source: std::io::Error::other(ErrorChain(error).to_string()) },
        };
        let _not_waiting = answer.send(Err(error));
    }
}
