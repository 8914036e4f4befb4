//! Reads a prefix, then watches it from the revision that was read. After any failure it reads everything anew: the
//! assembler swaps the whole and keeps the last good table until then.

use super::{Change, Source, Update};
use crate::limits::{EMPTY_CONFIRM, PAGE_KEYS, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::metrics::Metrics;
use bytes::Bytes;
use futures::StreamExt;
use lifecycle::ErrorChain;
use std::sync::Arc;
use store::{KeyRange, RangeRequest, Revision, Store, StoreError};
use tokio::sync::mpsc;

/// The assembler is gone: the edge stops.
struct Closed;

pub(super) async fn run(source: Source, store: Arc<dyn Store>, metrics: Arc<Metrics>, updates: mpsc::Sender<Update>) {
    let mut watcher = Watcher { source, store, updates, held_keys: false };
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        match watcher.read_and_watch(&mut pause).await {
            Err(Closed) => return,
            Ok(error) => {
                metrics.store_reads_failed.inc();
                let prefix = source.prefix();
                match error {
                    Some(error) => tracing::warn!(prefix, error = %ErrorChain(&error), "reading routes from the store"),
                    None => tracing::warn!(prefix, "the store ended the watch of routes"),
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

struct Watcher {
    source: Source,
    store: Arc<dyn Store>,
    updates: mpsc::Sender<Update>,
    /// Whether the last thing told was that there are keys.
    held_keys: bool,
}

impl Watcher {
    /// Returns why it ended; `None` when the stream just did.
    async fn read_and_watch(&mut self, pause: &mut std::time::Duration) -> Result<Option<StoreError>, Closed> {
        let mut read = match self.read().await {
            Ok(read) => read,
            Err(error) => return Ok(Some(error)),
        };
        if read.1.is_empty() && self.held_keys {
            // A store that lost its data, or a wrong one, looks like this; a second look costs little.
            tracing::warn!(prefix = self.source.prefix(), "the store suddenly holds nothing: asking again");
            tokio::time::sleep(EMPTY_CONFIRM).await;
            read = match self.read().await {
                Ok(read) => read,
                Err(error) => return Ok(Some(error)),
            };
        }
        let (revision, keys) = read;
        let mut stream = match self.store.watch_prefix(self.source.prefix(), revision + 1).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Some(error)),
        };
        *pause = RETRY_PAUSE_MIN;
        self.held_keys = !keys.is_empty();
        self.tell(revision, Change::All(keys)).await?;
        while let Some(batch) = stream.next().await {
            match batch {
                Ok(batch) => {
                    self.held_keys |= !batch.events.is_empty();
                    self.tell(batch.revision, Change::Events(batch.events)).await?;
                }
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(None)
    }

    async fn tell(&self, revision: Revision, change: Change) -> Result<(), Closed> {
        let update = Update { source: self.source, revision, change };
        self.updates.send(update).await.map_err(|_| Closed)
    }

    /// Every key of the prefix at one revision, page by page.
    async fn read(&self) -> Result<(Revision, Vec<(Bytes, Bytes)>), StoreError> {
        let mut range = KeyRange::prefix(self.source.prefix());
        let mut keys = Vec::new();
        let mut revision = 0;
        loop {
            let request = RangeRequest { limit: PAGE_KEYS, revision, ..RangeRequest::of(range.clone()) };
            let page = self.store.range(request).await?;
            if revision == 0 {
                revision = page.revision;
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            keys.extend(page.kvs.into_iter().map(|kv| (kv.key, kv.value)));
            match last {
                Some(last) if page.more => {
                    // The smallest key after `last`.
                    let mut next = last.to_vec();
                    next.push(0);
                    range.key = next.into();
                }
                _ => return Ok((revision, keys)),
            }
        }
    }
}
