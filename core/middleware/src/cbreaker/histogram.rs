//! Latencies from 1 µs to an hour in buckets whose width grows with the value: exact up to 127 µs, within 1 % beyond.

use std::time::Duration;

/// Values below this have a bucket each; every further power of two is cut into half as many.
const EXACT: u64 = 256;
const HALF: u64 = EXACT / 2;
/// One hour, as oxy bounds it.
const MICROS_MAX: u64 = 3_600_000_000;
const BUCKETS: usize = bucket_of(MICROS_MAX) + 1;

/// Counts by bucket; empty until the first value, since most windows of most breakers never see one.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

const fn bucket_of(micros: u64) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    let octave = (micros.ilog2() - EXACT.ilog2() + 1) as u64;
    (EXACT + (octave - 1) * HALF + (micros >> octave) - HALF) as usize
}

/// The greatest value of a bucket.
fn upper_micros(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let octave = (bucket - EXACT) / HALF + 1;
    let within = (bucket - EXACT) % HALF + HALF;
    ((within + 1) << octave) - 1
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        self.counts.resize(BUCKETS, 0);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX).min(MICROS_MAX);
        self.counts[bucket_of(micros)] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        self.counts.resize(BUCKETS, 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        self.total += other.total;
    }

    /// The value that so many percent do not exceed; 0 when there is none.
    pub fn quantile(&self, percent: f64) -> Duration {
        let rank = ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_micros(bucket));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(50.0), Duration::ZERO);
        (1..=100).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (percent, micros) in [(0.0, 1), (50.0, 50), (99.0, 99), (99.9, 100), (100.0, 100)] {
            assert_eq!(histogram.quantile(percent), Duration::from_micros(micros), "{percent}");
        }
        histogram.record(Duration::MAX);
        assert!(histogram.quantile(100.0) >= Duration::from_secs(3600));
    }

    proptest! {
        #[test]
        fn a_value_is_in_its_bucket_within_one_percent(micros in 0u64..=MICROS_MAX) {
            let upper = upper_micros(bucket_of(micros));
            prop_assert!(upper >= micros && upper - micros <= micros / 100 + 1, "{} in a bucket up to {}", micros, upper);
            prop_assert!(micros == 0 || upper_micros(bucket_of(micros) ) != upper_micros(bucket_of(micros).saturating_sub(1)) || bucket_of(micros) == 0);
        }
    }
}
