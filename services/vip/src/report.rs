//! What the real-time threads have to tell, without ever waiting for whoever listens: a bounded queue, and a count of
//! what did not fit.

use crate::vitals::Count;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vrrp::{Cause, Fence, State};

/// Reports that may wait to be logged.
const REPORTS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) enum Report {
    Transition {
        router: usize,
        from: State,
        to: State,
        cause: Cause,
    },
    /// The state did not change, though it was about to.
    Stay {
        router: usize,
        state: State,
        cause: Cause,
    },
    /// How a router stands; told when it changes.
    Standing {
        router: usize,
        standing: Standing,
    },
    /// What keeps a router from working, or `None` when nothing does any more.
    Fault {
        router: usize,
        fault: Option<String>,
    },
    /// Something that was not as it should be. `router`: `None` when all are concerned.
    Problem {
        router: Option<usize>,
        what: String,
    },
}

/// A router, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub state: State,
    pub priority: u8,
    /// The last other holder: its address and priority.
    pub heard: Option<(std::net::IpAddr, u8)>,
    pub fence: Option<Fence>,
    pub failover_typical: Duration,
    pub failover_worst: Duration,
    pub failover_orderly: Duration,
}

#[derive(Clone)]
pub(crate) struct Reporter {
    reports: mpsc::Sender<Report>,
    lost: Arc<Count>,
}

pub(crate) fn reporter(lost: Arc<Count>) -> (Reporter, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel(REPORTS_MAX);
    (Reporter { reports: sender, lost }, receiver)
}

impl Reporter {
    pub fn tell(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.lost.add_one();
        }
    }

    pub fn problem(&self, router: Option<usize>, what: String) {
        self.tell(Report::Problem { router, what });
    }
}

/// Whether this node can serve what an address brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    Ready,
    NotReady(String),
    /// About to leave.
    Draining,
}
