//! What is true of this process and of those before it, which may still drain.

use super::message::Told;
use super::predecessors::{Known, Predecessors};
use crate::current::{Current, Report};
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// What is reported to the controller, and to the process after this one.
#[derive(Clone)]
pub(crate) struct Reports {
    current: Arc<Current>,
    tables: watch::Receiver<u64>,
    before: watch::Receiver<Known>,
    /// By which others know this process.
    name: String,
}

impl Reports {
    pub fn new(current: Arc<Current>, before: &Predecessors, name: String) -> Self {
        Self { tables: current.changes(), current, before: before.watch(), name }
    }

    pub fn now(&self) -> Report {
        self.told().report
    }

    pub(super) fn told(&self) -> Told {
        // The older processes' word first: what is true of this one later is as true then.
        let before = self.before.borrow().reports();
        let own = self.current.report();
        let report = before.values().cloned().fold(own, Report::and);
        Told { report, name: self.name.clone(), before }
    }

    /// Until those before this one have ended; their own drain bounds that.
    pub async fn alone(&mut self) {
        // Nobody is left to say otherwise where this fails.
        let _ended = self.before.wait_for(Known::is_empty).await;
    }

    /// When it may have become another.
    pub async fn changed(&mut self) {
        let Self { current, tables, before, .. } = self;
        tokio::select! {
            Ok(()) = tables.changed() => {}
            Ok(()) = before.changed() => {}
            () = current.servers.drained.notified() => {}
            else => pending().await,
        }
    }
}

/// A name that no other process has.
pub(crate) fn name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_be_bytes(random)))
}

impl Report {
    /// What is true of both.
    fn and(self, other: Self) -> Self {
        // Revisions of two clusters have nothing in common.
        let revision = if self.cluster_id == other.cluster_id { self.revision.min(other.revision) } else { 0 };
        let mut busy: BTreeMap<String, u64> = BTreeMap::new();
        for (url, in_flight) in self.busy.into_iter().chain(other.busy) {
            *busy.entry(url).or_default() += in_flight;
        }
        Self { cluster_id: self.cluster_id, revision, busy: busy.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_promise_what_both_of_them_do() {
        let report = |cluster_id, revision, busy: &[(&str, u64)]| Report {
            cluster_id,
            revision,
            busy: busy.iter().map(|(url, in_flight)| ((*url).to_owned(), *in_flight)).collect(),
        };
        let (new, old) = (report(7, 9, &[("a", 1), ("b", 2)]), report(7, 8, &[("a", 1), ("c", 3)]));
        assert_eq!(new.clone().and(old), report(7, 8, &[("a", 2), ("b", 2), ("c", 3)]));
        assert_eq!(new.and(report(6, 100, &[])).revision, 0, "of another cluster: nothing is promised");
    }
}
