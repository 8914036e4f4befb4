//! Makes tables of what the watchers tell: a new one is made beside the one that serves, then swapped whole. It costs what
//! changed, not what there is: each source says which of its routes are others.
//!
//! A table from disk serves until every source was read: half of what is known must not replace all of what was.

use super::documents::Documents;
use super::{Change, Source, Update};
use crate::certificates::{Certificate, Certificates, Keeper};
use crate::challenges::Challenges;
use crate::current::{Changed, Current, Draft, Routes};
use crate::limits::RETIRED_INTERVAL;
use crate::metrics::Metrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Event, Revision};
use tokio::sync::mpsc;
use vulcand::{Alias, ListenerSpec, Problem, State};

pub(crate) struct Assembler {
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    challenges: Arc<Challenges>,
    documents: Documents,
    vulcand: State,
    /// Of the store the route documents are read from.
    cluster_id: u64,
    /// Of the route documents, which is what the controller waits for.
    revision: Revision,
    held: [bool; Source::ALL.len()],
    told: [bool; Source::ALL.len()],
    /// Whether the table that serves is of this making.
    published: bool,
    listeners: Arc<[ListenerSpec]>,
    keeper: Keeper,
    /// What handshakes ask.
    certificates: Arc<Certificates>,
    shown: Arc<[Arc<Certificate>]>,
    /// Since they were published.
    certificates_changed: bool,
    problems: Arc<[Problem]>,
}

impl Assembler {
    /// `keeper` has the certificates of the table on disk, if there are.
    pub fn new(
        current: Arc<Current>,
        metrics: Arc<Metrics>,
        keeper: Keeper,
        certificates: Arc<Certificates>,
        challenges: Arc<Challenges>,
    ) -> Self {
        Self {
            current,
            metrics,
            challenges,
            documents: Documents::default(),
            vulcand: State::default(),
            cluster_id: 0,
            revision: 0,
            held: [false; Source::ALL.len()],
            told: [false; Source::ALL.len()],
            published: false,
            listeners: Arc::default(),
            keeper,
            certificates,
            shown: Arc::default(),
            certificates_changed: true,
            problems: Arc::default(),
        }
    }

    /// Frontends are reachable by these, too.
    pub fn with_aliases(self, aliases: Vec<Alias>) -> Self {
        Self { vulcand: State::with_aliases(aliases), ..self }
    }

    /// Works until every watcher is gone.
    pub async fn run(mut self, mut updates: mpsc::Receiver<Update>) {
        let mut has_retired = false;
        loop {
            let update = tokio::select! {
                biased;
                update = updates.recv() => update,
                () = tokio::time::sleep(RETIRED_INTERVAL), if has_retired => {
                    has_retired = self.current.forget_retired();
                    continue;
                }
            };
            let Some(update) = update else { return };
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
                has_retired = true;
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
        if source == Source::Challenges {
            let is_first = !std::mem::replace(&mut self.told[source as usize], true);
            self.challenges.apply(change);
            self.certificates.publish_challenges(self.challenges.certificates());
            // Said only now, when both kinds are answered; not while one of them is not.
            if self.challenges.is_complete() {
                self.challenges.acknowledge(revision);
            }
            // They are in no table; but what was read first may be the last that a table waited for.
            return is_first;
        }
        if matches!(&change, Change::Events(events) if events.is_empty()) {
            return false;
        }
        self.told[source as usize] |= matches!(change, Change::All(_));
        match (source, change) {
            (Source::Documents, Change::All(keys)) => self.documents.replace(pairs(&keys)),
            (Source::Documents, Change::Events(events)) => {
                for event in events {
                    match event {
                        Event::Put { kv, .. } => self.documents.put(&kv.key, &kv.value),
                        Event::Delete { key, .. } => self.documents.delete(&key),
                    }
                }
            }
            (Source::Certificates, change) => {
                self.certificates_changed = true;
                match change {
                    Change::All(keys) => self.keeper.replace(pairs(&keys)),
                    Change::Events(events) => {
                        for event in events {
                            match event {
                                Event::Put { kv, .. } => self.keeper.put(&kv.key, &kv.value),
                                Event::Delete { key, .. } => self.keeper.delete(&key),
                            }
                        }
                    }
                }
            }
            (_, Change::All(keys)) => self.vulcand.replace(source.prefix(), pairs(&keys)),
            (_, Change::Events(events)) => {
                for event in events {
                    match event {
                        Event::Put { kv, .. } => self.vulcand.put(&kv.key, &kv.value),
                        Event::Delete { key, .. } => self.vulcand.delete(&key),
                    }
                }
            }
        }
        true
    }

    /// Whether every source was read.
    fn is_complete(&self) -> bool {
        self.told.iter().all(|told| *told)
    }

    fn publish(&mut self) {
        let (documents, vulcand) = (self.documents.take_changes(), self.vulcand.take_changes());
        if vulcand.listeners {
            self.listeners = self.vulcand.listeners().cloned().collect();
        }
        if vulcand.hosts {
            self.keeper.replace_hosts(self.vulcand.hosts());
            self.certificates_changed = true;
        }
        let certificates_changed = std::mem::take(&mut self.certificates_changed);
        if certificates_changed {
            self.shown = self.keeper.certificates().cloned().collect();
            self.certificates.publish(self.keeper.names());
        }
        if documents.problems || vulcand.problems || certificates_changed {
            self.name_problems();
        }
        let routes = if self.published {
            Routes::Changed(documents.routes.into_iter().chain(vulcand.routes).collect::<Changed>())
        } else {
            Routes::All(self.documents.routes().chain(self.vulcand.routes()).cloned().collect())
        };
        let draft = Draft {
            loaded: self.is_complete(),
            stale: false,
            cluster_id: self.cluster_id,
            held: self.held,
            revision: self.revision,
            routes,
            listeners: self.listeners.clone(),
            certificates: self.shown.clone(),
            problems: self.problems.clone(),
        };
        let gone = self.current.publish(draft, |route| self.metrics.of_route(route));
        self.published = true;
        self.metrics.table(self.revision, self.problems.len(), self.current.load().table.routes().len(), &gone);
    }

    fn name_problems(&mut self) {
        let known: BTreeSet<&Problem> = self.problems.iter().collect();
        let problems = self.documents.problems().chain(self.vulcand.problems()).cloned();
        let problems: Arc<[Problem]> = problems.chain(self.keeper.problems()).collect();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(key = problem.key, message = problem.message, "not served as asked");
        }
        self.problems = problems;
    }
}

fn pairs(keys: &[store::KeyValue]) -> impl Iterator<Item = (&[u8], &[u8])> {
    keys.iter().map(|kv| (&kv.key[..], &kv.value[..]))
}
