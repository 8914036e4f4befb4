//! A subscription: one or more watchers of one reader.

use super::{Embedded, Shared};
use crate::engine::{Events, Watcher, WatcherOptions};
use crate::{Revision, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Watchers by the reader's own ids. Dropping it ends them.
pub struct Subscription {
    shared: Arc<Shared>,
    watchers: BTreeMap<i64, Arc<Watcher>>,
    notify: Arc<Notify>,
}

impl Embedded {
    pub fn subscribe(&self) -> Subscription {
        Subscription { shared: Arc::clone(&self.shared), watchers: BTreeMap::new(), notify: Arc::default() }
    }
}

impl Subscription {
    pub fn contains(&self, id: i64) -> bool {
        self.watchers.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Watches from `start_revision` on (0: from now). Returns the store's revision.
    pub fn add(&mut self, id: i64, options: WatcherOptions, start_revision: Revision) -> Revision {
        let mut state = self.shared.write_state();
        let durable = state.durable;
        let start = if start_revision == 0 { durable + 1 } else { start_revision };
        let watcher = state.watchers.add(options, start, durable, Arc::clone(&self.notify));
        drop(state);
        self.watchers.insert(id, watcher);
        durable
    }

    /// Whether there was such a watcher.
    pub fn remove(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        self.shared.write_state().watchers.remove(&watcher);
        true
    }

    /// Resolves when one of the watchers may have something to read. Cancel safe.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }

    /// Some watcher's next events, and the store's revision. A watcher that compaction has overtaken is ended.
    pub fn read(&mut self) -> Option<(i64, Revision, Result<Events, StoreError>)> {
        let (id, revision, result) = self.watchers.iter().find_map(|(id, watcher)| {
            let state = self.shared.read();
            let from = watcher.take_waiting()?;
            let compacted = state.engine.compacted();
            if from < compacted || from < 0 {
                return Some((*id, state.durable, Err(StoreError::Compacted { compact_revision: compacted })));
            }
            let events = state.engine.events(&watcher.options, from, state.durable);
            if events.upto < state.durable {
                watcher.wait_from(events.upto + 1);
            }
            Some((*id, state.durable, Ok(events)))
        })?;
        if result.is_err() {
            self.remove(id);
        }
        Some((id, revision, result))
    }

    /// The store's revision, if every watcher has been told everything up to it.
    pub fn progress(&self) -> Option<Revision> {
        let state = self.shared.read();
        self.watchers.values().all(|watcher| !watcher.is_waiting()).then_some(state.durable)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.write_state();
        for watcher in self.watchers.values() {
            state.watchers.remove(watcher);
        }
    }
}
