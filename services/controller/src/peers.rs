//! The controllers among each other: what one says of itself, and whether the leader can be reached.
//!
//! A candidate asks the leader for a word every [`PING_INTERVAL`], and sooner again when there was no answer. When it has
//! failed to answer [`FAILURES_MAX`] times in a row, the candidate asks the other candidates whether they fare the same; `election` makes of it what it will.

use crate::cluster::registrar::Shared;
use crate::election::{Seen, Votes};
use crate::term::{Lead, Standing};
use futures::future::join_all;
use http::StatusCode;
use lifecycle::Stop;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Where a controller says who it is, to other controllers.
pub(crate) const STANDING_PATH: &str = "/v1/standing";
const PING_INTERVAL: Duration = Duration::from_millis(300);
/// One lost answer is no death: it is asked for once more after this time.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// A leader on this network answers within milliseconds; one whose machine is busy within this time.
const ANSWER_MAX: Duration = Duration::from_millis(400);
const FAILURES_MAX: u32 = 2;

/// What a controller says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word {
    pub node: String,
    pub incarnation: String,
    /// The incarnation of a leader that it cannot reach.
    pub unreachable: Option<String>,
}

/// Whether the leader can be reached from here.
pub(crate) struct Reach {
    shared: Arc<Shared>,
    client: web::Client,
    incarnation: String,
    failures: Mutex<Failures>,
    lost: Notify,
}

#[derive(Default)]
struct Failures {
    /// Of the leader that was asked last.
    incarnation: String,
    in_a_row: u32,
}

impl Reach {
    pub(crate) fn new(shared: Arc<Shared>, client: web::Client, incarnation: String) -> Self {
        Self { shared, client, incarnation, failures: Mutex::default(), lost: Notify::new() }
    }

    /// Asks whoever leads, again and again.
    pub(crate) async fn watch(self: Arc<Self>, lead: Lead, stop: Stop) {
        let mut pause = PING_INTERVAL;
        while stop.or(sleep(pause)).await.is_some() {
            pause = PING_INTERVAL;
            let Standing::Follows(following) = lead.standing() else { continue };
            let Some(leader) = &following.leader else { continue };
            let word = self.ask(&leader.record.peers).await;
            let answered = word.is_some_and(|word| word.incarnation == leader.record.incarnation);
            if (1..FAILURES_MAX).contains(&self.note(leader, answered)) {
                pause = RETRY_INTERVAL;
            }
        }
    }

    /// Resolves when the leader has just been found to be away.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    pub(crate) fn word(&self) -> Word {
        let failures = self.failures();
        let unreachable = (failures.in_a_row >= FAILURES_MAX).then(|| failures.incarnation.clone());
        Word { node: self.shared.cluster.node.clone(), incarnation: self.incarnation.clone(), unreachable }
    }

    /// How many candidates cannot reach the leader. The others are asked only when this one cannot.
    pub(crate) async fn votes(&self, leader: &Seen) -> Votes {
        let machines = self.shared.roster.machines();
        let candidates = machines.values().filter(|member| member.state);
        let mut votes = Votes { against: 0, candidates: candidates.clone().count() };
        let unreachable = Some(leader.record.incarnation.clone());
        if self.word().unreachable != unreachable {
            return votes;
        }
        let others = candidates.filter(|one| one.name != self.shared.cluster.node && one.name != leader.record.node);
        let words = join_all(others.map(|other| self.ask(&other.peers))).await;
        votes.against = 1 + words.into_iter().flatten().filter(|word| word.unreachable == unreachable).count();
        votes
    }

    async fn ask(&self, peers: &str) -> Option<Word> {
        let uri = format!("https://{peers}{STANDING_PATH}");
        let answer = timeout(ANSWER_MAX, self.client.get(&uri)).await.ok()?.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        serde_json::from_slice(answer.body()).ok()
    }

    /// How often in a row it has failed to answer.
    fn note(&self, leader: &Seen, answered: bool) -> u32 {
        let mut failures = self.failures();
        if failures.incarnation != leader.record.incarnation {
            *failures = Failures { incarnation: leader.record.incarnation.clone(), in_a_row: 0 };
        }
        failures.in_a_row = if answered { 0 } else { failures.in_a_row.saturating_add(1) };
        if failures.in_a_row == FAILURES_MAX {
            tracing::info!(leader = leader.record.node, "the leader cannot be reached from here");
            self.lost.notify_one();
        }
        failures.in_a_row
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
