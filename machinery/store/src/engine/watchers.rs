//! Watchers: who is told of which keys.
//!
//! Nothing is queued for a watcher. It is told *that* something is there for it and reads the events from history itself,
//! as fast as it can. So a slow watcher costs nothing; when compaction overtakes it, it is ended.

use super::span::Span;
use crate::Revision;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// What a watcher wants.
#[derive(Clone, Debug)]
pub struct WatcherOptions {
    pub key: Bytes,
    pub range_end: Bytes,
    pub prev_kv: bool,
    pub without_puts: bool,
    pub without_deletes: bool,
}

impl WatcherOptions {
    pub fn span(&self) -> Span<'_> {
        Span::of(&self.key, &self.range_end)
    }

    pub fn drops(&self, is_delete: bool) -> bool {
        if is_delete { self.without_deletes } else { self.without_puts }
    }
}

/// One watcher. Several may share one `Notify`.
pub struct Watcher {
    pub options: WatcherOptions,
    /// Nothing before this revision is reported.
    start: Revision,
    /// The first matching revision that was not read yet; 0 when there is none.
    waiting_from: AtomicI64,
    notify: Arc<Notify>,
}

impl Watcher {
    /// The first revision to read, if there is anything to read. The caller holds the store, so none comes meanwhile.
    pub fn take_waiting(&self) -> Option<Revision> {
        Some(self.waiting_from.swap(0, Ordering::Relaxed)).filter(|from| *from != 0)
    }

    pub fn wait_from(&self, revision: Revision) {
        self.waiting_from.store(revision, Ordering::Relaxed);
        self.notify.notify_one();
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting_from.load(Ordering::Relaxed) != 0
    }

    fn tell(&self, revision: Revision) {
        if self.start <= revision && !self.is_waiting() {
            self.wait_from(revision);
        }
    }
}

/// All watchers of a store: those of one key by key, those of a range in a list.
#[derive(Default)]
pub struct Watchers {
    of_one: BTreeMap<Bytes, Vec<Arc<Watcher>>>,
    of_range: Vec<Arc<Watcher>>,
}

impl Watchers {
    /// Watches from `start` on; `durable` is the newest revision that others can see already.
    pub fn add(
        &mut self,
        options: WatcherOptions,
        start: Revision,
        durable: Revision,
        notify: Arc<Notify>,
    ) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher { options, start, waiting_from: AtomicI64::new(0), notify });
        if start <= durable {
            watcher.wait_from(start);
        }
        self.list(&watcher).push(Arc::clone(&watcher));
        watcher
    }

    pub fn remove(&mut self, watcher: &Arc<Watcher>) {
        let list = self.list(watcher);
        list.retain(|other| !Arc::ptr_eq(other, watcher));
        if list.is_empty() {
            self.of_one.remove(&watcher.options.key);
        }
    }

    /// Tells those concerned that a revision has become visible.
    pub fn tell(&self, revision: Revision, keys: &[Bytes]) {
        for key in keys {
            for watcher in self.of_one.get(key).into_iter().flatten() {
                watcher.tell(revision);
            }
            for watcher in self.of_range.iter().filter(|watcher| watcher.options.span().contains(key)) {
                watcher.tell(revision);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.of_range.len() + self.of_one.values().map(Vec::len).sum::<usize>()
    }

    fn list(&mut self, watcher: &Watcher) -> &mut Vec<Arc<Watcher>> {
        match watcher.options.span() {
            Span::One(_) => self.of_one.entry(watcher.options.key.clone()).or_default(),
            Span::Between(..) | Span::From(_) => &mut self.of_range,
        }
    }
}
