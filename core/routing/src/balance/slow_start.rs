//! A server that has just come (or is back from an ejection) takes few requests at first: its caches are cold, its code is
//! not compiled yet. Its weight grows with time, evenly.

use super::WEIGHT_PARTS;
use std::time::Duration;

/// What a server begins with (Envoy's default): with nothing it would never be asked.
const FIRST_PERCENT: u64 = 10;

/// When each server came; `None`: it was there from the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined(Vec<Option<Duration>>);

impl Joined {
    /// The servers a route begins with have nobody to leave requests to.
    pub fn new(before: Option<&Self>, known: &[Option<usize>], now: Duration, is_first: bool) -> Self {
        let joined = |position: &Option<usize>| match position {
            Some(position) => before.and_then(|before| before.0[*position]),
            None => (!is_first).then_some(now),
        };
        Self(known.iter().map(joined).collect())
    }

    /// Of [`WEIGHT_PARTS`].
    pub fn parts(&self, position: usize, returned: Option<Duration>, length: Duration, now: Duration) -> u64 {
        let Some(since) = self.0[position].max(returned) else { return WEIGHT_PARTS };
        let age = now.saturating_sub(since);
        if age >= length {
            return WEIGHT_PARTS;
        }
        let grown = u128::from(WEIGHT_PARTS) * age.as_micros() / length.as_micros().max(1);
        (grown as u64).max(WEIGHT_PARTS * FIRST_PERCENT / 100)
    }
}
