//! What the cluster thinks of a node, told from its silence alone. Two detectors read one clock: a node that was silent for
//! a short while is suspected, which costs nothing to take back (its servers leave the routes and come back); one that was
//! silent for longer is lost, and its tasks are replaced. A broken session says nothing: an agent that is merely being
//! restarted is back before anyone suspects it.
//!
//! When most nodes fall silent at once, the fault is more likely on this side: the controller's own link, its machine that
//! was asleep, its clock that jumped. Then the brake holds: no server leaves a route, nobody is given up. (Kubernetes evicts
//! nobody in small clusters once 55 % of the nodes are not ready; Mesos' limit is off by default.) A node that was given up
//! before counts no more, neither as silent nor as a node: three that fail one by one are three single faults. When the brake
//! is off again, who is still silent has the whole time once more: those that could not be heard come back one by one.

use crate::{NodeRecord, Policy, World};
use model::{NodeId, Timestamp};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    /// Live; it is being emptied.
    Draining,
    /// Silent: its servers leave the routes while others serve.
    Suspected {
        since: Timestamp,
    },
    /// Silent for so long that its tasks are replaced.
    Lost {
        since: Timestamp,
    },
}

/// Why silent nodes are not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    pub silent: usize,
    /// Of so many that are not given up yet.
    pub nodes: usize,
}

/// What a node's silence makes of it, the brake left aside.
pub fn standing(record: &NodeRecord, now: Timestamp, policy: &Policy) -> Standing {
    let silence = now.since(record.last_seen);
    if silence >= policy.lost_after {
        Standing::Lost { since: record.last_seen.after(policy.lost_after) }
    } else if silence >= policy.suspect_after {
        Standing::Suspected { since: record.last_seen.after(policy.suspect_after) }
    } else if record.node.draining {
        Standing::Draining
    } else {
        Standing::Live
    }
}

impl Standing {
    /// It has spoken lately.
    pub fn is_heard(self) -> bool {
        matches!(self, Self::Live | Self::Draining)
    }

    pub fn is_lost(self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Draining => "draining",
            Self::Suspected { .. } => "suspected",
            Self::Lost { .. } => "lost",
        }
    }
}

impl Brake {
    /// All, or at least two and more than half.
    fn of(silent: usize, nodes: usize) -> Option<Self> {
        let most = silent >= 2 && silent * 2 > nodes;
        (silent > 0 && (silent == nodes || most)).then_some(Self { silent, nodes })
    }
}

impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { nodes: 1, .. } => f.write_str("no other node is heard, so nothing is replaced"),
            Self { silent, nodes } => write!(
                f,
                "{silent} of {nodes} nodes are silent at once: the fault is more likely the controller's, so nothing is \
                 replaced"
            ),
        }
    }
}

impl World {
    /// Judges every node anew. Returns those whose standing has changed, with what it was.
    pub fn judge(&mut self, now: Timestamp, policy: &Policy) -> Vec<(NodeId, Standing)> {
        let judged = |record: &NodeRecord| {
            let standing = standing(record, now, policy);
            // Given up once is given up until it is heard again.
            (standing, standing.is_lost() && record.standing.is_lost())
        };
        let undecided = || self.nodes.values().map(judged).filter(|(_, given_up)| !given_up);
        let silent = undecided().filter(|(standing, _)| !standing.is_heard()).count();
        self.brake = Brake::of(silent, undecided().count()).filter(|_| policy.brake);
        if self.brake.is_some() {
            self.braked_at = now;
        }
        let is_braked = now.since(self.braked_at) < policy.lost_after;

        let mut changed = Vec::new();
        for (id, record) in &mut self.nodes {
            let after = match judged(record) {
                (Standing::Lost { .. }, false) if is_braked => {
                    Standing::Suspected { since: record.last_seen.after(policy.suspect_after) }
                }
                (standing, _) => standing,
            };
            let before = std::mem::replace(&mut record.standing, after);
            if before != after {
                changed.push((id.clone(), before));
            }
        }
        changed
    }
}
