//! The store's record, and the challenge that the crate's documentation asks of shells.

use std::time::Duration;

use crate::{Event, Fence, State};

use super::random::Random;
use super::world::{Happening, World};

const LATENCY_MIN: Duration = Duration::from_millis(1);
const LATENCY_USUAL_MAX: Duration = Duration::from_millis(10);
pub(super) const LATENCY_MAX: Duration = Duration::from_millis(150);

/// Who holds the addresses by the store's word; the revision grows with every write.
#[derive(Default)]
pub(super) struct Store {
    /// How often it takes longer than a hurried candidate can wait.
    pub(super) slow_percent: u64,
    pub(super) record: Option<usize>,
    pub(super) revision: u64,
}

impl Store {
    pub(super) fn write(&mut self, record: Option<usize>) {
        self.record = record;
        self.revision += 1;
    }

    /// One way.
    pub(super) fn latency(&self, random: &mut Random) -> Duration {
        let slowest = if random.chance(self.slow_percent) { LATENCY_MAX } else { LATENCY_USUAL_MAX };
        random.between(LATENCY_MIN..slowest)
    }
}

/// How long a challenge is left open: the answer must be back within `within`.
pub(super) fn challenge_time(within: Duration) -> Duration {
    within * 3 / 4
}

impl World {
    pub(super) fn store_hears(&mut self, node: usize, question: u64, within: Duration) {
        match self.store.record {
            Some(holder) if holder != node => {
                let revision = self.store.revision;
                if self.answers_challenge(holder) {
                    self.reply(node, question, Fence::Refused { holder: format!("n{holder}") });
                } else {
                    self.after(challenge_time(within), Happening::ChallengeEnds { node, question, revision });
                }
            }
            _ if self.nodes[node].question == Some(question) => {
                self.store.write(Some(node));
                self.reply(node, question, Fence::Granted);
            }
            _ => {}
        }
    }

    pub(super) fn challenge_ends(&mut self, node: usize, question: u64, revision: u64) {
        if self.nodes[node].question != Some(question) || !self.nodes[node].reaches_store {
            return;
        }
        match self.store.record {
            Some(holder) if holder != node && (self.store.revision != revision || self.answers_challenge(holder)) => {
                self.reply(node, question, Fence::Refused { holder: format!("n{holder}") });
            }
            _ => {
                self.store.write(Some(node));
                self.reply(node, question, Fence::Granted);
            }
        }
    }

    fn answers_challenge(&self, holder: usize) -> bool {
        let node = &self.nodes[holder];
        node.runs() && node.reaches_store && node.router.state() == State::Active
    }

    fn reply(&mut self, node: usize, question: u64, verdict: Fence) {
        self.nodes[node].packets += 1;
        let delay = self.store.latency(&mut self.random);
        self.after(delay, Happening::Verdict { node, question, verdict });
    }

    pub(super) fn verdict(&mut self, node: usize, question: u64, verdict: Fence) {
        if self.nodes[node].question == Some(question) {
            self.nodes[node].question = None;
            self.tell(node, |now| Event::Fence { now, verdict });
        }
    }
}
