//! Makes tables of what the watchers tell: a new one is compiled beside the one that serves, then swapped whole.
//!
//! A table from disk serves until every source was read: half of what is known must not replace all of what was.

use super::documents::Documents;
use super::{Change, Source, Update};
use crate::current::{Current, Draft};
use crate::metrics::Metrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Event, Revision};
use tokio::sync::mpsc;
use vulcand::{Problem, State, Translation};

pub(crate) struct Assembler {
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    documents: Documents,
    vulcand: State,
    /// What `vulcand` amounts to; made anew only when it changed.
    translation: Translation,
    /// Of the store the route documents are read from.
    cluster_id: u64,
    /// Of the route documents, which is what the controller waits for.
    revision: Revision,
    held: [bool; Source::ALL.len()],
    told: [bool; Source::ALL.len()],
    problems_logged: BTreeSet<Problem>,
}

impl Assembler {
    pub fn new(current: Arc<Current>, metrics: Arc<Metrics>) -> Self {
        Self {
            current,
            metrics,
            documents: Documents::default(),
            vulcand: State::default(),
            translation: Translation::default(),
            cluster_id: 0,
            revision: 0,
            held: [false; Source::ALL.len()],
            told: [false; Source::ALL.len()],
            problems_logged: BTreeSet::new(),
        }
    }

    /// Works until every watcher is gone.
    pub async fn run(mut self, mut updates: mpsc::Receiver<Update>) {
        while let Some(update) = updates.recv().await {
            let mut changed = self.apply(update);
            // What piled up meanwhile goes into the same table.
            while let Ok(update) = updates.try_recv() {
                changed |= self.apply(update);
            }
            if self.current.load().stale && !self.is_complete() {
                continue;
            }
            if changed {
                self.publish();
            } else {
                self.metrics.revision(self.revision);
                self.current.advance(self.revision);
            }
        }
    }

    /// Whether it changes what is served.
    fn apply(&mut self, update: Update) -> bool {
        let Update { source, cluster_id, held, revision, change } = update;
        self.held[source as usize] = held;
        if source == Source::Documents {
            self.cluster_id = cluster_id;
            self.revision = revision;
        }
        if matches!(&change, Change::Events(events) if events.is_empty()) {
            return false;
        }
        self.told[source as usize] |= matches!(change, Change::All(_));
        match source {
            Source::Documents => match change {
                Change::All(keys) => self.documents.replace(keys.iter().map(|kv| (&kv.key[..], &kv.value[..]))),
                Change::Events(events) => {
                    for event in events {
                        match event {
                            Event::Put { kv, .. } => self.documents.put(&kv.key, &kv.value),
                            Event::Delete { key, .. } => self.documents.delete(&key),
                        }
                    }
                }
            },
            Source::Vulcand | Source::VulcandBare => {
                match change {
                    Change::All(keys) => {
                        let keys = keys.iter().map(|kv| (&kv.key[..], &kv.value[..]));
                        self.vulcand.replace(source.prefix(), keys);
                    }
                    Change::Events(events) => {
                        for event in events {
                            match event {
                                Event::Put { kv, .. } => self.vulcand.put(&kv.key, &kv.value),
                                Event::Delete { key, .. } => self.vulcand.delete(&key),
                            }
                        }
                    }
                }
                self.translation = self.vulcand.translate();
            }
        }
        true
    }

    /// Whether every source was read.
    fn is_complete(&self) -> bool {
        self.told.iter().all(|told| *told)
    }

    fn publish(&mut self) {
        let mut problems = self.documents.problems();
        problems.extend(self.translation.problems.iter().cloned());
        for problem in problems.iter().filter(|problem| !self.problems_logged.contains(problem)) {
            tracing::warn!(key = problem.key, message = problem.message, "not served as asked");
        }
        self.problems_logged = problems.iter().cloned().collect();
        let draft = Draft {
            loaded: self.is_complete(),
            stale: false,
            cluster_id: self.cluster_id,
            held: self.held,
            revision: self.revision,
            routes: self.documents.routes().chain(self.translation.routes.iter().cloned()).collect(),
            listeners: self.translation.listeners.clone(),
            problems,
        };
        self.metrics.table(draft.revision, draft.problems.len(), &draft.routes);
        self.current.publish(draft, |route| self.metrics.of_route(route));
    }
}
