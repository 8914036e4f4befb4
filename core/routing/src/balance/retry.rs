//! A retry budget: of what a route's requests are, only a share may be sent once more. When everything fails, retries would
//! multiply the load on what is left, and keep it down.

use super::BalanceError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Seconds that are looked back.
const SECONDS: u64 = 10;

/// How many requests may be sent once more. The defaults are Finagle's and Linkerd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Of the requests of the last ten seconds.
    pub ratio: Ratio,
    /// However few requests there are.
    pub min_per_second: u32,
}

/// A share between none and all, to the thousandth.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio {
    thousandths: u16,
}

/// The memory of one route's retries.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    buckets: [Bucket; SECONDS as usize],
    /// The second that was looked at last,
    second: u64,
    /// and the requests there had ever been by then.
    requests_before: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    requests: u64,
    retries: u64,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { ratio: Ratio { thousandths: 200 }, min_per_second: 10 }
    }
}

impl RetryBudget {
    /// `requests` is a count that only grows: those there have ever been.
    pub fn new(requests: u64, now: Duration) -> Self {
        Self { buckets: [Bucket::default(); SECONDS as usize], second: now.as_secs(), requests_before: requests }
    }

    /// Takes one retry out, if there is one left. Requests that came since the last time are taken to have come evenly: so
    /// nothing is counted while nothing fails.
    pub fn take(&mut self, spec: &RetrySpec, requests: u64, now: Duration) -> bool {
        self.look(requests, now.as_secs());
        let requests: u64 = self.buckets.iter().map(|bucket| bucket.requests).sum();
        let retries: u64 = self.buckets.iter().map(|bucket| bucket.retries).sum();
        let has_room = retries < spec.most(requests);
        if has_room {
            self.bucket(self.second).retries += 1;
        }
        has_room
    }

    fn look(&mut self, requests: u64, second: u64) {
        let came = requests.saturating_sub(self.requests_before);
        self.requests_before = requests;
        let passed = second.saturating_sub(self.second);
        if passed == 0 {
            self.bucket(self.second).requests += came;
            return;
        }
        for since in second - passed.min(SECONDS) + 1..=second {
            *self.bucket(since) = Bucket { requests: came / passed, retries: 0 };
        }
        self.bucket(second).requests += came % passed;
        self.second = second;
    }

    fn bucket(&mut self, second: u64) -> &mut Bucket {
        &mut self.buckets[(second % SECONDS) as usize]
    }
}

impl RetrySpec {
    /// Retries per second that may be asked for.
    pub(super) const MIN_PER_SECOND_MAX: u32 = 1_000_000;

    /// In [`SECONDS`], when there were so many requests.
    fn most(&self, requests: u64) -> u64 {
        let share = u128::from(requests) * u128::from(self.ratio.thousandths) / 1000;
        u64::try_from(share).unwrap_or(u64::MAX).max(u64::from(self.min_per_second) * SECONDS)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = BalanceError;

    fn try_from(ratio: f64) -> Result<Self, BalanceError> {
        if !(0.0..=1.0).contains(&ratio) {
            return Err(BalanceError::Ratio { ratio: ratio.to_string() });
        }
        Ok(Self { thousandths: (ratio * 1000.0).round() as u16 })
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        Self::from(ratio.thousandths) / 1000.0
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(ratio: f64, min_per_second: u32) -> RetrySpec {
        RetrySpec { ratio: ratio.try_into().unwrap(), min_per_second }
    }

    fn taken(budget: &mut RetryBudget, spec: &RetrySpec, requests: u64, second: u64) -> usize {
        (0..10_000).take_while(|_| budget.take(spec, requests, Duration::from_secs(second))).count()
    }

    #[test]
    fn a_share_of_the_requests_is_retried_and_at_least_a_few() {
        let spec = spec(0.2, 3);
        let mut budget = RetryBudget::new(0, Duration::ZERO);
        assert_eq!(taken(&mut budget, &spec, 10, 0), 30, "at least three in each of ten seconds");
        assert_eq!(taken(&mut budget, &spec, 1010, 5), 202 - 30);
        assert_eq!(taken(&mut budget, &spec, 1010, 9), 0);
        assert_eq!(taken(&mut budget, &spec, 1010, 100), 30, "what was long ago counts no more");
    }

    #[test]
    fn what_came_since_the_last_look_is_taken_to_have_come_evenly() {
        let spec = spec(0.5, 0);
        let mut budget = RetryBudget::new(0, Duration::ZERO);
        // 100 in each of a hundred seconds.
        assert_eq!(taken(&mut budget, &spec, 10_000, 100), 500);
        // The counter began anew: the route was another.
        assert_eq!(taken(&mut budget, &spec, 0, 111), 0);
        assert_eq!(taken(&mut budget, &spec, 10, 111), 5);
    }

    #[test]
    fn without_a_share_there_are_no_retries() {
        assert_eq!(taken(&mut RetryBudget::new(0, Duration::ZERO), &spec(0.0, 0), 1_000_000, 1), 0);
    }

    #[test]
    fn a_ratio_is_written_as_it_was_read() {
        for text in ["0.0", "0.2", "0.333", "1.0"] {
            let ratio: Ratio = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&ratio).unwrap(), text);
        }
        for text in ["-0.1", "1.1", "1e300"] {
            assert!(serde_json::from_str::<Ratio>(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// Of a naive list of what was taken, no ten seconds hold more than the requests of the same ten seconds allow.
        #[test]
        fn no_ten_seconds_hold_more_than_they_may(
            steps in proptest::collection::vec((0u64..15, 0u64..200), 1..60), thousandths in 0u16..=1000, least in 0u32..5,
        ) {
            let spec = RetrySpec { ratio: Ratio { thousandths }, min_per_second: least };
            let (mut budget, mut second, mut total) = (RetryBudget::new(0, Duration::ZERO), 0, 0);
            let mut history: Vec<(u64, u64, u64)> = Vec::new();
            for (passes, requests) in steps {
                // A look in every second, so that nothing has to be guessed.
                for quiet in second..second + passes {
                    budget.look(total, quiet);
                }
                second += passes;
                total += requests;
                let taken = taken(&mut budget, &spec, total, second) as u64;
                history.push((second, requests, taken));
                let recent = history.iter().filter(|(at, ..)| at + SECONDS > second);
                let (requests, retries) = recent.fold((0, 0), |sums, step| (sums.0 + step.1, sums.1 + step.2));
                let most = (requests * u64::from(thousandths) / 1000).max(u64::from(least) * SECONDS);
                prop_assert!(retries <= most || taken == 0, "{} of {}", retries, most);
                prop_assert!(retries >= most, "what is allowed can be taken");
            }
        }
    }
}
