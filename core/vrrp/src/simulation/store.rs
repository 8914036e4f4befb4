//! The store's record, and the challenge that the crate's documentation asks of shells.

use std::time::Duration;

use super::random::Random;

const LATENCY_MIN: Duration = Duration::from_millis(1);
const LATENCY_USUAL_MAX: Duration = Duration::from_millis(10);
const LATENCY_MAX: Duration = Duration::from_millis(150);

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
