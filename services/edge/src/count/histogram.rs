//! How long things took: a histogram on a logarithmic scale, four buckets to each doubling, so that a quantile is known to a
//! quarter of itself, and usually much better.
//!
//! A thread adds to buckets of its own. They come in segments that are made when something first falls into them: what a
//! route takes lies within a few doublings, and of thousands of routes each would else have room for all.

use super::Counter;
use serde::{Deserialize, Serialize};
use std::array;
use std::sync::OnceLock;
use std::time::Duration;

/// The first four buckets are this wide; below it nothing is told apart.
const STEP_MICROS: u64 = 16;
/// Up to 16 µs · 2²² = 67 s; the last bucket has what took longer.
const BUCKETS: usize = 85;
const BUCKETS_PER_DOUBLING: usize = 4;
const SEGMENT_BUCKETS: usize = 16;
const SEGMENTS: usize = BUCKETS.div_ceil(SEGMENT_BUCKETS);
/// The first bucket that Prometheus sees the end of, at 128 µs; it sees every further doubling.
const FIRST_SHOWN: usize = 7;

/// Of one thread.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    segments: [OnceLock<Box<Segment>>; SEGMENTS],
    micros: Counter,
}

#[derive(Debug)]
struct Segment([Counter; SEGMENT_BUCKETS]);

/// How many things took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// The buckets from the first on, up to one that is not empty.
    buckets: Vec<u64>,
    /// The sum of all times.
    micros: u64,
}

impl Default for Segment {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl Histogram {
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(micros);
        let segment = self.segments[bucket / SEGMENT_BUCKETS].get_or_init(Box::default);
        segment.0[bucket % SEGMENT_BUCKETS].add(1);
        self.micros.add(micros);
    }

    pub fn count(&self) -> u64 {
        self.segments.iter().filter_map(OnceLock::get).flat_map(|segment| &segment.0).map(Counter::get).sum()
    }

    pub fn add_to(&self, sum: &mut Distribution) {
        for (position, segment) in self.segments.iter().enumerate() {
            let Some(segment) = segment.get() else { continue };
            for (bucket, count) in segment.0.iter().enumerate().filter(|(_, count)| count.get() > 0) {
                *sum.bucket(position * SEGMENT_BUCKETS + bucket) += count.get();
            }
        }
        sum.micros = sum.micros.wrapping_add(self.micros.get());
    }
}

impl Distribution {
    fn bucket(&mut self, bucket: usize) -> &mut u64 {
        let needed = bucket.min(BUCKETS - 1) + 1;
        if self.buckets.len() < needed {
            self.buckets.resize(needed, 0);
        }
        &mut self.buckets[needed - 1]
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all times.
    pub fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in other.buckets.iter().enumerate().take(BUCKETS) {
            let sum = self.bucket(bucket);
            *sum = sum.saturating_add(*count);
        }
        self.micros = self.micros.wrapping_add(other.micros);
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        Self { buckets, micros: self.micros.saturating_sub(earlier.micros) }
    }

    /// The time within which this share (0 to 1) of all was done, to a quarter of itself; `None` when there was nothing.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share).max(1.0);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= rank {
                let start = bucket.checked_sub(1).map_or(0, end_micros);
                let end = if bucket < BUCKETS - 1 { end_micros(bucket) } else { start };
                let part = (rank - below as f64) / *count as f64;
                return Some(Duration::from_micros(start + ((end - start) as f64 * part) as u64));
            }
            below += count;
        }
        None
    }

    /// Upper bounds in seconds as Prometheus sees them, and how many were not longer.
    pub fn shown(&self) -> impl Iterator<Item = (f64, u64)> {
        let (mut next, mut sum) = (0, 0);
        (FIRST_SHOWN..BUCKETS - 1).step_by(BUCKETS_PER_DOUBLING).map(move |last| {
            sum += self.buckets.iter().take(last + 1).skip(next).sum::<u64>();
            next = last + 1;
            (end_micros(last) as f64 / 1e6, sum)
        })
    }
}

/// Which bucket counts a time: the first whose end is not before it.
fn bucket(micros: u64) -> usize {
    let steps = micros.saturating_sub(1) / STEP_MICROS;
    if steps < BUCKETS_PER_DOUBLING as u64 {
        return steps as usize;
    }
    let doublings = steps.ilog2() as usize;
    let quarter = (steps >> (doublings - 2)) as usize % BUCKETS_PER_DOUBLING;
    ((doublings - 1) * BUCKETS_PER_DOUBLING + quarter).min(BUCKETS - 1)
}

/// The longest time that a bucket counts; the last has none.
fn end_micros(bucket: usize) -> u64 {
    let (doublings, quarter) = (bucket / BUCKETS_PER_DOUBLING, (bucket % BUCKETS_PER_DOUBLING) as u64);
    match doublings {
        0 => (quarter + 1) * STEP_MICROS,
        doublings => ((BUCKETS_PER_DOUBLING as u64 + quarter + 1) << (doublings - 1)) * STEP_MICROS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[u64]) -> Distribution {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        times.iter().for_each(|micros| histogram.add(Duration::from_micros(*micros)));
        histogram.add_to(&mut sum);
        sum
    }

    #[test]
    fn a_time_falls_into_the_first_bucket_whose_end_is_not_before_it() {
        let edges = (0..BUCKETS - 1).map(end_micros);
        for micros in edges.flat_map(|end| [end - 1, end, end + 1]).chain([0, 1, u64::MAX]) {
            let expected = (0..BUCKETS - 1).find(|bucket| micros <= end_micros(*bucket)).unwrap_or(BUCKETS - 1);
            assert_eq!(bucket(micros), expected, "{micros}");
        }
        assert_eq!(end_micros(BUCKETS - 2), 67_108_864);
    }

    #[test]
    fn prometheus_sees_doublings_and_everything_that_is_not_longer() {
        let shown: Vec<_> = of(&[1, 128, 129, 256, 300, 1_000_000_000]).shown().collect();
        assert_eq!(&shown[..3], &[(0.000128, 2), (0.000256, 4), (0.000512, 5)]);
        assert_eq!(shown.last(), Some(&(67.108864, 5)), "what took longer is in none");
        assert!(shown.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn only_segments_that_something_fell_into_are_made() {
        let histogram = Histogram::default();
        (1..500).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        assert_eq!(histogram.segments.iter().filter(|segment| segment.get().is_some()).count(), 1);
    }

    proptest! {
        #[test]
        fn a_quantile_is_known_to_a_quarter_of_itself(mut times in prop::collection::vec(0u64..60_000_000, 1..200), share in 0.0..1.0f64) {
            let found = of(&times).quantile(share).unwrap().as_micros() as f64;
            times.sort_unstable();
            let rank = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
            let exact = times[rank - 1] as f64;
            let off = (found - exact).abs();
            // Within a bucket, which is a quarter of its start wide at most.
            prop_assert!(off <= exact.max(found) / 4.0 + STEP_MICROS as f64, "{found} for {exact}");
        }

        #[test]
        fn sums_and_differences_are_those_of_the_buckets(one in prop::collection::vec(0u64..100_000_000, 0..50), other in prop::collection::vec(0u64..100_000_000, 0..50)) {
            let mut both = of(&one);
            both.add(&of(&other));
            prop_assert_eq!(both.count(), (one.len() + other.len()) as u64);
            let rest = both.since(&of(&one));
            prop_assert_eq!(rest.count(), other.len() as u64);
            prop_assert_eq!(rest.quantile(0.5), of(&other).quantile(0.5));
            prop_assert_eq!(rest.seconds(), of(&other).seconds());
        }
    }
}
