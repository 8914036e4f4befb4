//! vulcand's rebalancing by errors (oxy's `roundrobin.Rebalancer`): servers that answer with clearly more errors than the
//! others get fewer requests, because the others' weights grow; when the difference is gone, they go back.
//!
//! Unlike oxy's, what was measured and earned stays when servers come or go; a newcomer is measured before anything changes.

use std::time::Duration;

/// Seconds that are looked back.
const BUCKETS: usize = 10;
/// Weights grow and shrink by this factor.
const FACTOR: u32 = 4;
/// And never beyond.
const FACTOR_MAX: u32 = 4096;
/// After a change its effect is awaited.
const BACK_OFF: Duration = Duration::from_secs(10);
/// A ratio is bad beyond this multiple of the median and the median absolute deviation together.
const THRESHOLD: f64 = 1.5;

#[derive(Clone, Debug, Default)]
pub(super) struct Rebalance {
    rated: Vec<Rated>,
    rests_until: Duration,
    /// The second that was judged last.
    judged_second: Option<u64>,
    ratios: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Rated {
    factor: u32,
    meter: Meter,
}

/// Errors among the answers of the last [`BUCKETS`] seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    buckets: [Bucket; BUCKETS],
    last_second: u64,
    /// Seconds in which it answered, up to [`BUCKETS`].
    seconds_seen: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    answers: u32,
    errors: u32,
}

impl Rebalance {
    pub fn new(before: Option<&Self>, known: &[Option<usize>]) -> Self {
        let kept = |position: &Option<usize>| before.zip(*position).map(|(before, at)| before.rated[at]);
        // A newcomer is taken for one of the better ones: among those that earned much it would not be asked else.
        let factor = known.iter().filter_map(kept).map(|rated| rated.factor).max().unwrap_or(1);
        let newcomer = Rated { factor, meter: Meter::default() };
        let mut rebalance = Self {
            rated: known.iter().map(|position| kept(position).unwrap_or(newcomer)).collect(),
            rests_until: before.map_or(Duration::ZERO, |before| before.rests_until),
            judged_second: before.and_then(|before| before.judged_second),
            ratios: Vec::with_capacity(known.len() + 1),
        };
        rebalance.normalize();
        rebalance
    }

    /// What a server's weight is multiplied with.
    pub fn factor(&self, position: usize) -> u64 {
        u64::from(self.rated[position].factor)
    }

    /// `takes_part` says which servers may be asked at all; whether a factor is another one now.
    pub fn observe(
        &mut self,
        position: usize,
        is_error: bool,
        count: u32,
        now: Duration,
        takes_part: impl Fn(usize) -> bool,
    ) -> bool {
        let second = now.as_secs();
        self.rated[position].meter.count(second, is_error, count);
        if self.judged_second == Some(second) || now < self.rests_until {
            return false;
        }
        self.judged_second = Some(second);
        let changed = self.judge(second, takes_part);
        if changed {
            self.rests_until = now + BACK_OFF;
        }
        changed
    }

    /// Changes factors; whether it did.
    fn judge(&mut self, second: u64, takes_part: impl Fn(usize) -> bool) -> bool {
        let mut ratios = std::mem::take(&mut self.ratios);
        ratios.clear();
        let taking_part = |(position, rated)| takes_part(position).then_some(rated);
        let rated: Vec<&Rated> = self.rated.iter().enumerate().filter_map(taking_part).collect();
        let is_ready = rated.len() >= 2 && rated.iter().all(|rated| rated.meter.is_ready());
        ratios.extend(rated.iter().map(|rated| rated.meter.ratio(second)));
        let limit = bad_beyond(&mut ratios);
        self.ratios = ratios;
        if !is_ready {
            return false;
        }
        let is_bad = |rated: &Rated| rated.meter.ratio(second) > limit;
        let differ = rated.iter().any(|rated| is_bad(rated)) && rated.iter().any(|rated| !is_bad(rated));
        let mut changed = false;
        for (position, rated) in self.rated.iter_mut().enumerate() {
            let factor = match rated.factor {
                factor if !differ => (factor / FACTOR).max(1),
                factor if takes_part(position) && !is_bad(rated) && factor * FACTOR <= FACTOR_MAX => factor * FACTOR,
                factor => factor,
            };
            changed |= factor != rated.factor;
            rated.factor = factor;
        }
        self.normalize();
        changed
    }

    /// All factors are powers of one number, so their greatest common divisor is the least.
    fn normalize(&mut self) {
        let least = self.rated.iter().map(|rated| rated.factor).min().unwrap_or(1);
        self.rated.iter_mut().for_each(|rated| rated.factor /= least);
    }
}

impl Meter {
    fn count(&mut self, second: u64, is_error: bool, count: u32) {
        if self.seconds_seen == 0 || second > self.last_second {
            for gone in self.last_second.saturating_add(1).max((second + 1).saturating_sub(BUCKETS as u64))..=second {
                self.buckets[gone as usize % BUCKETS] = Bucket::default();
            }
            self.last_second = second;
            self.seconds_seen = (self.seconds_seen + 1).min(BUCKETS);
        }
        let bucket = &mut self.buckets[self.last_second as usize % BUCKETS];
        bucket.answers = bucket.answers.saturating_add(count);
        bucket.errors = bucket.errors.saturating_add(if is_error { count } else { 0 });
    }

    fn is_ready(&self) -> bool {
        self.seconds_seen >= BUCKETS
    }

    fn ratio(&self, second: u64) -> f64 {
        let first = (second + 1).saturating_sub(BUCKETS as u64);
        let (mut answers, mut errors) = (0, 0);
        for known in first..=self.last_second {
            let bucket = self.buckets[known as usize % BUCKETS];
            answers += bucket.answers;
            errors += bucket.errors;
        }
        if answers == 0 { 0.0 } else { f64::from(errors) / f64::from(answers) }
    }
}

/// From the median and its absolute deviation; a zero beside an even count, so that one in the middle exists (of two servers
/// the worse one could not be told otherwise).
fn bad_beyond(ratios: &mut Vec<f64>) -> f64 {
    if ratios.len().is_multiple_of(2) {
        ratios.push(0.0);
    }
    let middle = median(ratios);
    ratios.iter_mut().for_each(|ratio| *ratio = (*ratio - middle).abs());
    (middle + median(ratios)) * THRESHOLD
}

fn median(odd: &mut [f64]) -> f64 {
    odd.sort_by(f64::total_cmp);
    odd[odd.len() / 2]
}

const _: () = assert!(FACTOR_MAX.ilog2().is_multiple_of(FACTOR.ilog2()), "the least factor divides all");

#[cfg(test)]
mod tests {
    use super::*;

    /// One answer per second of each server, with these errors.
    fn run(rebalance: &mut Rebalance, seconds: std::ops::Range<u64>, errs: &[bool]) {
        for second in seconds {
            for (position, errs) in errs.iter().enumerate() {
                rebalance.observe(position, *errs, 1, Duration::from_secs(second), |_| true);
            }
        }
    }

    fn factors(rebalance: &Rebalance) -> Vec<u32> {
        rebalance.rated.iter().map(|rated| rated.factor).collect()
    }

    #[test]
    fn the_limit_is_oxys() {
        assert_eq!(bad_beyond(&mut vec![0.0, 0.0]), 0.0);
        assert_eq!(bad_beyond(&mut vec![0.1, 0.1]), 0.15000000000000002);
        // {0, 0.1, 0.4} with the sentinel: median 0.1, deviations {0.1, 0, 0.3}.
        assert!((bad_beyond(&mut vec![0.1, 0.4]) - 0.3).abs() < 1e-9);
        assert!((bad_beyond(&mut vec![0.5, 0.5, 0.5]) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn the_better_server_grows_by_four_each_ten_seconds_and_shrinks_again() {
        let mut rebalance = Rebalance::new(None, &[None, None]);
        run(&mut rebalance, 0..10, &[true, false]);
        assert_eq!(factors(&rebalance), [1, 1], "the last of ten seconds has just begun");
        run(&mut rebalance, 10..11, &[true, false]);
        assert_eq!(factors(&rebalance), [1, 4]);
        run(&mut rebalance, 11..20, &[true, false]);
        assert_eq!(factors(&rebalance), [1, 4], "its effect is awaited");
        run(&mut rebalance, 20..200, &[true, false]);
        assert_eq!(factors(&rebalance), [1, 4096]);
        // Ten seconds until the errors are forgotten, then one step in ten seconds.
        run(&mut rebalance, 200..220, &[false, false]);
        assert!(factors(&rebalance)[1] < 4096);
        run(&mut rebalance, 220..300, &[false, false]);
        assert_eq!(factors(&rebalance), [1, 1]);
    }

    #[test]
    fn what_all_suffer_from_changes_nothing() {
        let mut rebalance = Rebalance::new(None, &[None, None, None]);
        run(&mut rebalance, 0..60, &[true, true, true]);
        assert_eq!(factors(&rebalance), [1, 1, 1]);
    }

    #[test]
    fn what_was_earned_stays_when_servers_change_and_a_newcomer_is_measured_first() {
        let mut rebalance = Rebalance::new(None, &[None, None]);
        run(&mut rebalance, 0..11, &[true, false]);
        let mut rebalance = Rebalance::new(Some(&rebalance), &[Some(1), None, Some(0)]);
        assert_eq!(factors(&rebalance), [4, 4, 1]);
        run(&mut rebalance, 11..21, &[false, false, true]);
        assert_eq!(factors(&rebalance), [4, 4, 1]);
        run(&mut rebalance, 21..22, &[false, false, true]);
        assert_eq!(factors(&rebalance), [16, 16, 1]);
        let rebalance = Rebalance::new(Some(&rebalance), &[Some(0), Some(1)]);
        assert_eq!(factors(&rebalance), [1, 1]);
    }

    #[test]
    fn a_meter_forgets() {
        let mut meter = Meter::default();
        meter.count(100, true, 1);
        meter.count(104, false, 1);
        assert_eq!(meter.ratio(104), 0.5);
        assert_eq!(meter.ratio(110), 0.0, "the error is too old");
        assert_eq!(meter.ratio(200), 0.0);
        meter.count(300, true, 1);
        assert_eq!(meter.ratio(300), 1.0);
    }
}
