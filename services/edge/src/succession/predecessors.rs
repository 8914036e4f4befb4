//! The processes before this one that still drain, and what each said last.
//!
//! A process speaks to the one that took over from it, which passes its word on with its own. Where that one dies, those
//! before it go on and speak to whoever serves then (see [`super::tell`]). Until they have begun to, what the dead one said of
//! them holds.

use super::message::{Message, Told, read};
use super::{HELD_MAX, PREDECESSORS_MAX};
use crate::current::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;

#[derive(Clone, Debug, Default)]
pub(crate) struct Predecessors(Arc<watch::Sender<Known>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// By connection.
    speaking: BTreeMap<u64, Told>,
    /// By the name of the process: those who are to speak for themselves.
    held: BTreeMap<String, Report>,
    connections: u64,
}

/// One that speaks.
pub(crate) struct Speaker {
    of: Predecessors,
    connection: u64,
}

impl Predecessors {
    pub(super) fn watch(&self) -> watch::Receiver<Known> {
        self.0.subscribe()
    }

    /// `None`: there are too many.
    pub fn speaker(&self, told: Told) -> Option<Speaker> {
        let mut connection = None;
        self.0.send_if_modified(|known| {
            connection = known.begin(told);
            connection.is_some()
        });
        connection.map(|connection| Speaker { of: self.clone(), connection })
    }
}

impl Speaker {
    pub fn hear(&self, told: Told) {
        self.of.0.send_modify(|known| known.hear(self.connection, told));
    }

    /// Until that process has ended, and those that it spoke for speak for themselves.
    pub async fn listen(self, mut stream: UnixStream) {
        while let Ok(Message::Report(told)) = read(&mut stream).await {
            self.hear(told);
        }
        let Self { of, connection } = self;
        let mut held = Vec::new();
        of.0.send_modify(|known| held = known.lose(connection));
        if held.is_empty() {
            return tracing::info!("an edge before this one has ended");
        }
        tracing::warn!(?held, "an edge before this one is gone; those that it spoke for are to speak for themselves");
        sleep(HELD_MAX).await;
        of.0.send_modify(|known| known.held.retain(|name, _| !held.contains(name)));
    }
}

impl Known {
    fn begin(&mut self, told: Told) -> Option<u64> {
        if self.speaking.len() >= PREDECESSORS_MAX {
            return None;
        }
        self.connections += 1;
        self.hear(self.connections, told);
        Some(self.connections)
    }

    fn hear(&mut self, connection: u64, told: Told) {
        self.held.remove(&told.name);
        self.speaking.insert(connection, told);
    }

    /// Returns who is held.
    fn lose(&mut self, connection: u64) -> Vec<String> {
        let Some(lost) = self.speaking.remove(&connection) else { return Vec::new() };
        let speaks = |name: &str| self.speaking.values().any(|told| told.name == name);
        let unheard: BTreeMap<String, Report> = lost.before.into_iter().filter(|(name, _)| !speaks(name)).collect();
        let names = unheard.keys().cloned().collect();
        self.held.extend(unheard);
        names
    }

    pub fn is_empty(&self) -> bool {
        self.speaking.is_empty() && self.held.is_empty()
    }

    /// What each of them said last.
    pub fn reports(&self) -> BTreeMap<String, Report> {
        let said = self.speaking.values().map(|told| (told.name.clone(), told.report.clone()));
        said.chain(self.held.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, revision: i64, before: &[(&str, i64)]) -> Told {
        let report = |revision| Report { cluster_id: 1, revision, busy: Vec::new() };
        let before = before.iter().map(|(name, revision)| ((*name).to_owned(), report(*revision))).collect();
        Told { name: name.to_owned(), report: report(revision), before }
    }

    fn revisions(known: &Known) -> Vec<(String, i64)> {
        known.reports().into_iter().map(|(name, report)| (name, report.revision)).collect()
    }

    fn named(name: &str, revision: i64) -> (String, i64) {
        (name.to_owned(), revision)
    }

    #[test]
    fn what_a_dead_one_said_of_others_holds_until_they_speak() {
        let mut known = Known::default();
        let second = known.begin(told("second", 2, &[("first", 1)])).unwrap();
        assert_eq!(revisions(&known), [named("second", 2)]);
        assert_eq!(known.lose(second), ["first"]);
        assert_eq!(revisions(&known), [named("first", 1)]);
        let first = known.begin(told("first", 3, &[])).unwrap();
        assert_eq!(revisions(&known), [named("first", 3)]);
        assert_eq!(known.lose(first), [""; 0]);
        assert!(known.is_empty());
    }

    #[test]
    fn one_that_speaks_already_is_not_held() {
        let mut known = Known::default();
        let second = known.begin(told("second", 2, &[("first", 1)])).unwrap();
        known.begin(told("first", 3, &[])).unwrap();
        assert_eq!(known.lose(second), [""; 0]);
        assert_eq!(revisions(&known), [named("first", 3)]);
    }

    #[test]
    fn more_than_a_bound_of_them_are_not_heard() {
        let mut known = Known::default();
        let begun: Vec<u64> = std::iter::from_fn(|| known.begin(told("one", 1, &[]))).collect();
        assert_eq!(begun.len(), PREDECESSORS_MAX);
        known.lose(begun[0]);
        assert!(known.begin(told("one", 1, &[])).is_some());
    }
}
