//! Who leads: the decisions, apart from the store, the network and the clock.
//!
//! Whoever leads holds the record (`/roadstead/controller`) on a lease and keeps the lease alive. The others look at the
//! record. One of them stands for election when there is no record, when the record cannot expire (a controller without
//! a cluster left it), when it is of the candidate's own node (whose earlier process is dead), or when most of the
//! candidates cannot reach the one it names: then nobody waits for the lease. A campaign is one transaction that compares
//! the record with what was seen, so that of several campaigns one wins.
//!
//! Two controllers may *believe* for a moment that they lead: clocks differ, a process may sleep. Only one can *write*:
//! every transaction of a leader compares the record's revision with that of its own campaign (`leader::Fence`).
//! Therefore the election is about being quick, never about being safe, and the rule for taking over early needs no
//! proof that the leader is dead.
//!
//! [`Election`] says what to do next ([`Command`]) and is told what came of it ([`Outcome`]). The process drives it in
//! `office`; the simulation in the tests drives three of them against a store that fails.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::Revision;

/// The lease asked for. Real etcd grants no less than one and a half of its election timeouts, rounded up to a second; our
/// embedded engine, as etcd's default, 2 s.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(1);
/// A leader renews its lease this often: three times in its life.
pub(crate) const RENEW_INTERVAL: Duration = Duration::from_millis(300);
/// A candidate looks at the record this often, besides when a watch says that it changed or the leader is missed...
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// ... this soon after the store did not answer...
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// ... and this often where the leader cannot be reached: others may find the same in a moment.
const MISSED_INTERVAL: Duration = Duration::from_millis(125);
/// Who gave the lead away stands again after this time, when nobody else wanted it.
pub(crate) const ABSTENTION: Duration = Duration::from_secs(2);

const _: () = assert!(RENEW_INTERVAL.as_millis() * 3 < LEASE_TTL.as_millis(), "two renewals may be lost");

/// The leader's record, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The platform's name of itself towards Marathon's clients.
    pub framework_id: String,
    /// Of one start of a controller.
    pub incarnation: String,
    /// Empty without a cluster, like the next two.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// `host:port` where it serves the other controllers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peers: String,
    /// `host:port` of its API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api: String,
}

/// A record with what the store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub record: Record,
    pub revision: Revision,
    /// It vanishes when its leader does.
    pub is_leased: bool,
}

/// How many of the candidates cannot reach the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Votes {
    /// The asking candidate counts.
    pub against: usize,
    /// All there are, the leader among them.
    pub candidates: usize,
}

impl Votes {
    fn are_enough(self) -> bool {
        self.against * 2 > self.candidates
    }
}

/// Why a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody leads.
    Vacant,
    /// The record is of a controller without a cluster.
    Unleased,
    /// The record is of an earlier process of this node.
    OwnPredecessor,
    /// Most candidates cannot reach the leader.
    Unreachable,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Read the record, and count the votes when it names another.
    Look,
    /// Write the record, if it is still the one of this revision (`None`: if there still is none).
    Campaign {
        against: Option<Revision>,
        cause: Cause,
    },
    /// Keep the lease alive, and where the record may have changed, see that it still is this controller's; an answer after
    /// `good_until` is too late.
    Renew {
        good_until: Duration,
        looks: bool,
    },
    Rest {
        until: Duration,
    },
    /// A newer process of this node leads: this one has no business any more.
    End,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `at`: the store's revision when the record was read.
    Saw {
        at: Revision,
        seen: Option<Seen>,
        votes: Votes,
    },
    Won {
        ttl: Duration,
    },
    /// Another was faster.
    Lost,
    Renewed {
        ttl: Duration,
    },
    /// The lease is gone, or the record is another's.
    Deposed,
    NoAnswer,
}

/// One controller's part in the election. Times are those of any clock that only goes forward.
#[derive(Debug)]
pub(crate) struct Election {
    node: String,
    incarnation: String,
    /// Others only watch.
    is_candidate: bool,
    state: State,
    /// The store's revision at the first look: an own record that is newer and not ours is of a later process.
    first_look: Option<Revision>,
    abstains_until: Duration,
}

#[derive(Debug)]
enum State {
    Following {
        leader: Option<Seen>,
        look_at: Duration,
        campaign: Option<(Option<Revision>, Cause)>,
    },
    /// `looks`: the record may have changed since it was written.
    Leading {
        renew_at: Duration,
        good_until: Duration,
        looks: bool,
    },
    Ended,
}

impl Election {
    pub(crate) fn new(node: &str, incarnation: &str, is_candidate: bool) -> Self {
        let state = State::Following { leader: None, look_at: Duration::ZERO, campaign: None };
        let (node, incarnation) = (node.to_owned(), incarnation.to_owned());
        Self { node, incarnation, is_candidate, state, first_look: None, abstains_until: Duration::ZERO }
    }

    pub(crate) fn is_leading(&self) -> bool {
        matches!(self.state, State::Leading { .. })
    }

    /// Whom this controller follows.
    pub(crate) fn leader(&self) -> Option<&Seen> {
        match &self.state {
            State::Following { leader, .. } => leader.as_ref(),
            State::Leading { .. } | State::Ended => None,
        }
    }

    /// A leader whose lease may be over leads no longer.
    pub(crate) fn command(&mut self, now: Duration) -> Command {
        match &mut self.state {
            State::Leading { good_until, .. } if now >= *good_until => {
                self.step_down(now);
                Command::Look
            }
            State::Leading { renew_at, good_until, looks } if now >= *renew_at => {
                Command::Renew { good_until: *good_until, looks: *looks }
            }
            State::Leading { renew_at, good_until, .. } => Command::Rest { until: (*renew_at).min(*good_until) },
            State::Following { campaign: Some((against, cause)), .. } => {
                Command::Campaign { against: *against, cause: *cause }
            }
            State::Following { look_at, .. } if now >= *look_at => Command::Look,
            State::Following { look_at, .. } => Command::Rest { until: *look_at },
            State::Ended => Command::End,
        }
    }

    /// What came of the command that was given at `asked_at`.
    pub(crate) fn heard(&mut self, asked_at: Duration, now: Duration, outcome: Outcome) {
        match (outcome, &mut self.state) {
            (Outcome::Saw { at, seen, votes }, State::Following { .. }) => self.saw(now, at, seen, votes),
            (Outcome::Won { ttl }, State::Following { .. }) => {
                let (renew_at, good_until) = (asked_at + RENEW_INTERVAL, asked_at + ttl);
                self.state = State::Leading { renew_at, good_until, looks: false };
            }
            (Outcome::Renewed { ttl }, State::Leading { renew_at, good_until, looks }) => {
                // The lease runs from some moment after it was asked for.
                *good_until = (*good_until).max(asked_at + ttl);
                (*renew_at, *looks) = (asked_at + RENEW_INTERVAL, false);
            }
            (Outcome::Deposed, State::Leading { .. }) => self.step_down(now),
            (Outcome::NoAnswer, State::Leading { renew_at, .. }) => *renew_at = now + RENEW_INTERVAL / 5,
            (Outcome::Lost, State::Following { look_at, campaign, .. }) => (*look_at, *campaign) = (now, None),
            (Outcome::NoAnswer, State::Following { look_at, campaign, .. }) => {
                // Whether an unanswered campaign won, the record will tell.
                (*look_at, *campaign) = (now + RETRY_INTERVAL, None);
            }
            // An answer to what this controller no longer is.
            _ => {}
        }
    }

    /// The record has changed, or something else is worth a look.
    pub(crate) fn nudge(&mut self, now: Duration) {
        match &mut self.state {
            State::Following { look_at, .. } => *look_at = (*look_at).min(now),
            State::Leading { renew_at, looks, .. } => (*renew_at, *looks) = ((*renew_at).min(now), true),
            State::Ended => {}
        }
    }

    /// The lead is lost: the fence refused a write, or the state could not be read.
    pub(crate) fn step_down(&mut self, now: Duration) {
        if self.is_leading() {
            self.state = State::Following { leader: None, look_at: now, campaign: None };
        }
    }

    /// The lead is given away: others go first.
    pub(crate) fn abstain(&mut self, now: Duration) {
        self.step_down(now);
        self.abstains_until = now + ABSTENTION;
    }

    fn saw(&mut self, now: Duration, at: Revision, seen: Option<Seen>, votes: Votes) {
        let first_look = *self.first_look.get_or_insert(at);
        let is_of_later_process = |seen: &Seen| {
            seen.record.node == self.node && seen.record.incarnation != self.incarnation && seen.revision > first_look
        };
        if seen.as_ref().is_some_and(is_of_later_process) {
            self.state = State::Ended;
            return;
        }
        let stands = self.is_candidate && now >= self.abstains_until;
        let cause = self.cause(seen.as_ref(), votes).filter(|_| stands);
        let campaign = cause.map(|cause| (seen.as_ref().map(|seen| seen.revision), cause));
        let leader = seen.filter(|seen| seen.is_leased && seen.record.node != self.node);
        let interval = if votes.against > 0 { MISSED_INTERVAL } else { LOOK_INTERVAL };
        // Who abstains stands as soon as it may.
        let rest = if now < self.abstains_until { interval.min(self.abstains_until - now) } else { interval };
        self.state = State::Following { leader, look_at: now + rest, campaign };
    }

    fn cause(&self, seen: Option<&Seen>, votes: Votes) -> Option<Cause> {
        match seen {
            None => Some(Cause::Vacant),
            Some(seen) if !seen.is_leased => Some(Cause::Unleased),
            Some(seen) if seen.record.node == self.node => Some(Cause::OwnPredecessor),
            Some(_) if votes.are_enough() => Some(Cause::Unreachable),
            Some(_) => None,
        }
    }
}
