//! Reads a prefix, then watches it from the revision that was read, and reads it again now and then, beside the watch: a
//! watch that fell silent is found out, and what it missed is told. After any failure it begins anew; the assembler keeps the
//! last good table until then.

use super::{Change, Contact, Source, Update};
use crate::limits::{EMPTY_CONFIRM, RECONCILE_INTERVAL, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::metrics::Metrics;
use futures::StreamExt;
use lifecycle::ErrorChain;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use store::{Event, KeyValue, Revision, Store, StoreError};
use tokio::sync::mpsc;

/// Why following the store came to an end.
enum Ended {
    /// The assembler is gone: the edge stops.
    Closed,
    Failed(StoreError),
    /// The stream ended without an error.
    Watch,
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

pub(super) struct Watcher {
    source: Source,
    store: Arc<dyn Store>,
    updates: mpsc::Sender<Update>,
    reconcile: Duration,
    /// Of the store that was read last. Another one, a restored one too, counts its revisions anew.
    cluster_id: u64,
    /// The revision up to which everything was told.
    told: Revision,
    /// What was told: each key and the revision that wrote it.
    keys: HashMap<Vec<u8>, Revision>,
    /// Whether there may be keys, by what was told last.
    held_keys: bool,
}

impl Watcher {
    pub fn new(source: Source, store: Arc<dyn Store>, updates: mpsc::Sender<Update>, held_keys: bool) -> Self {
        let keys = HashMap::new();
        Self { source, store, updates, reconcile: RECONCILE_INTERVAL, cluster_id: 0, told: 0, keys, held_keys }
    }

    /// Until the assembler is gone.
    pub async fn run(mut self, metrics: Arc<Metrics>, contact: Arc<Contact>) {
        let prefix = self.source.prefix();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let before = self.told;
            match self.follow(&contact).await {
                Ended::Closed => return,
                Ended::Failed(error) => {
                    tracing::warn!(prefix, error = %ErrorChain(&error), "reading routes from the store");
                }
                Ended::Watch => tracing::warn!(prefix, "the store ended the watch of routes"),
            }
            metrics.store_reads_failed.inc();
            contact.lost(self.source);
            if self.told != before {
                pause = RETRY_PAUSE_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn follow(&mut self, contact: &Contact) -> Ended {
        match self.try_follow(contact).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn try_follow(&mut self, contact: &Contact) -> Result<Infallible, Ended> {
        self.cluster_id = self.store.cluster_id().await?;
        let (revision, keys) = self.read_believably().await?;
        let mut stream = self.store.watch_prefix(self.source.prefix(), revision + 1).await?;
        self.keys = keys.iter().map(|kv| (kv.key.to_vec(), kv.mod_revision)).collect();
        self.tell(revision, Change::All(keys)).await?;
        contact.heard(self.source);
        let mut look = Box::pin(self.look_after(self.reconcile));
        // Whether the look under way is the second one at nothing.
        let mut confirms = false;
        loop {
            tokio::select! {
                batch = stream.next() => {
                    let batch = batch.ok_or(Ended::Watch)??;
                    // A look in between may have told it already.
                    if batch.revision > self.told {
                        self.note(&batch.events);
                        self.tell(batch.revision, Change::Events(batch.events)).await?;
                    }
                }
                read = &mut look => {
                    let (revision, keys) = read?;
                    let doubts = keys.is_empty() && self.held_keys && !confirms;
                    if revision > self.told && !doubts {
                        self.held_keys = !keys.is_empty();
                        let missed = self.missed(keys, revision);
                        self.note(&missed);
                        self.tell(revision, Change::Events(missed)).await?;
                    }
                    if doubts {
                        self.warn_of_nothing();
                    }
                    confirms = doubts;
                    look.set(self.look_after(if doubts { EMPTY_CONFIRM } else { self.reconcile }));
                }
            }
        }
    }

    /// Everything there is, after a pause; the watch is heard meanwhile.
    fn look_after(
        &self,
        pause: Duration,
    ) -> impl Future<Output = Result<(Revision, Vec<KeyValue>), StoreError>> + use<> {
        let (store, prefix) = (self.store.clone(), self.source.prefix());
        async move {
            tokio::time::sleep(pause).await;
            store.read_prefix(prefix, 0).await
        }
    }

    fn note(&mut self, events: &[Event]) {
        self.held_keys |= !events.is_empty();
        for event in events {
            match event {
                Event::Put { kv, .. } => drop(self.keys.insert(kv.key.to_vec(), kv.mod_revision)),
                Event::Delete { key, .. } => drop(self.keys.remove(&key[..])),
            }
        }
    }

    /// How what is there differs from what was told.
    fn missed(&self, there: Vec<KeyValue>, revision: Revision) -> Vec<Event> {
        let present: HashSet<&[u8]> = there.iter().map(|kv| &kv.key[..]).collect();
        let gone = self.keys.keys().filter(|key| !present.contains(key.as_slice()));
        let delete = |key: &Vec<u8>| Event::Delete { key: key.clone().into(), mod_revision: revision, prev_kv: None };
        let mut events: Vec<Event> = gone.map(delete).collect();
        let is_new = |kv: &KeyValue| self.keys.get(&kv.key[..]) != Some(&kv.mod_revision);
        events.extend(there.into_iter().filter(is_new).map(|kv| Event::Put { kv, prev_kv: None }));
        events
    }

    async fn tell(&mut self, revision: Revision, change: Change) -> Result<(), Ended> {
        self.told = revision;
        let Self { source, cluster_id, held_keys: held, .. } = *self;
        let update = Update { source, cluster_id, held, revision, change };
        self.updates.send(update).await.map_err(|_| Ended::Closed)
    }

    /// Reads everything; that there is nothing any more is believed the second time. A store that lost its data, or a
    /// wrong one, looks like this.
    async fn read_believably(&mut self) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let mut read = self.store.read_prefix(self.source.prefix(), 0).await?;
        if read.1.is_empty() && self.held_keys {
            self.warn_of_nothing();
            tokio::time::sleep(EMPTY_CONFIRM).await;
            read = self.store.read_prefix(self.source.prefix(), 0).await?;
        }
        self.held_keys = !read.1.is_empty();
        Ok(read)
    }

    fn warn_of_nothing(&self) {
        tracing::warn!(prefix = self.source.prefix(), "the store suddenly holds nothing: asking again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use store::meddled::{Meddled, Meddler};
    use store::{Embedded, WatchRequest, WatchStream};

    /// Watches never say a word.
    struct Deaf;

    #[async_trait]
    impl Meddler for Deaf {
        async fn watch(&self, _store: &dyn Store, _request: WatchRequest) -> Result<WatchStream, StoreError> {
            Ok(futures::stream::pending().boxed())
        }
    }

    #[tokio::test]
    async fn a_watch_that_fell_silent_is_found_out() {
        let directory = tempfile::tempdir().unwrap();
        let inner = Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap());
        let store: Arc<dyn Store> = Arc::new(Meddled::new(inner, Deaf));
        let (updates, mut told) = mpsc::channel(8);
        let (source, reconcile) = (Source::Documents, Duration::from_millis(5));
        let mut watcher = Watcher { reconcile, ..Watcher::new(source, store.clone(), updates, false) };
        let following = tokio::spawn(async move { watcher.follow(&Contact::new()).await });
        let first = told.recv().await.unwrap();
        assert!(matches!(first.change, Change::All(keys) if keys.is_empty()));
        let revision = store.put("/roadstead/routes/a", "x".into()).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
        assert_eq!(next.revision, revision);
        assert!(matches!(next.change, Change::Events(events) if matches!(events[..], [Event::Put { .. }])));
        store.delete("/roadstead/routes/a").await.unwrap();
        let last = tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
        assert!(matches!(last.change, Change::Events(events) if matches!(events[..], [Event::Delete { .. }])));
        following.abort();
    }
}
