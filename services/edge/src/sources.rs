//! Where routes and certificates come from: prefixes of the store (Roadstead's route documents and certificates, what
//! certificate authorities are answered, and vulcand's keys under both of its prefixes), each read and then watched by a task
//! of its own; one assembler makes them into tables.
//!
//! The request path never waits for any of this: when the store is away the last table serves on, and an edge that starts
//! meanwhile serves the one it kept on disk ([`crate::kept`]). Changes of one revision take effect together within a prefix
//! (a watch delivers whole revisions).

mod assembler;
mod contact;
mod documents;
mod watcher;

pub(crate) use assembler::Assembler;
pub(crate) use contact::Contact;

use lifecycle::Stop;
use std::sync::Arc;
use store::{Event, KeyValue, Revision, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::limits::CHANGES_QUEUE_MAX;
use crate::metrics::Metrics;

/// One prefix of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Documents,
    Vulcand,
    VulcandBare,
    Certificates,
    /// What certificate authorities are answered.
    Challenges,
}

impl Source {
    pub const ALL: [Self; 5] =
        [Self::Documents, Self::Vulcand, Self::VulcandBare, Self::Certificates, Self::Challenges];

    pub fn prefix(self) -> &'static str {
        match self {
            Self::Documents => routing::document::ROUTES_PREFIX,
            Self::Vulcand => vulcand::PREFIX,
            Self::VulcandBare => vulcand::BARE_PREFIX,
            Self::Certificates => routing::certificate::CERTIFICATES_PREFIX,
            Self::Challenges => routing::challenge::CHALLENGES_PREFIX,
        }
    }
}

/// What a watcher tells the assembler.
pub(crate) struct Update {
    pub source: Source,
    /// Of the store that was read.
    pub cluster_id: u64,
    /// Whether the source has keys.
    pub held: bool,
    /// Everything up to here is told.
    pub revision: Revision,
    pub change: Change,
}

pub(crate) enum Change {
    /// All keys there are.
    All(Vec<KeyValue>),
    /// Empty: only the revision moved on.
    Events(Vec<Event>),
}

/// Starts one watcher per prefix; `held` says which of them had keys when they were read last, by an earlier process.
pub(crate) fn watch_all(
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
    contact: &Arc<Contact>,
    held: [bool; Source::ALL.len()],
    stop: &Stop,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<Update> {
    let (sender, receiver) = mpsc::channel(CHANGES_QUEUE_MAX);
    for source in Source::ALL {
        let watcher = watcher::Watcher::new(source, store.clone(), sender.clone(), held[source as usize]);
        let (metrics, contact, stop) = (metrics.clone(), contact.clone(), stop.clone());
        tasks.spawn(async move {
            stop.or(watcher.run(metrics, contact)).await;
        });
    }
    receiver
}

#[cfg(test)]
mod tests;
