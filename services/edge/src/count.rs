//! What is counted of a route and of a server. Each thread writes to a [`Counts`] of its own; [`Totals`] are their sum.

use crate::per_thread::PerThread;
use crate::servers::lock;
use std::array;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Status codes with a counter of their own; others are rare enough for a lock.
const COMMON_CODES: [u16; 24] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503,
    504,
];
/// The upper bound of a latency histogram's first bucket; each further one doubles it, the last is open.
const LATENCY_FIRST: Duration = Duration::from_micros(256);
/// Up to 256 µs · 2¹⁵ = 8.4 s, and beyond.
const LATENCY_BUCKETS: usize = 17;

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        // No read-modify-write: nobody else writes.
        self.0.store(self.get().wrapping_add(amount), Relaxed);
    }

    pub fn subtract(&self, amount: u64) {
        self.0.store(self.get().wrapping_sub(amount), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one thread has counted of a route or of a server.
#[derive(Debug)]
pub(crate) struct Counts {
    pub request_bytes: Counter,
    pub response_bytes: Counter,
    pub retries: Counter,
    /// What the retry budget did not allow.
    pub retries_denied: Counter,
    codes: [Counter; COMMON_CODES.len()],
    other_codes: Mutex<BTreeMap<u16, u64>>,
    latency: [Counter; LATENCY_BUCKETS],
    latency_micros: Counter,
}

/// A route's or a server's, over all threads.
pub(crate) type CountsOf = PerThread<Counts>;

/// The sum of what all threads have counted.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub retries: u64,
    pub retries_denied: u64,
    pub codes: BTreeMap<u16, u64>,
    pub latency: [u64; LATENCY_BUCKETS],
    pub latency_micros: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            retries: Counter::default(),
            retries_denied: Counter::default(),
            codes: array::from_fn(|_| Counter::default()),
            other_codes: Mutex::default(),
            latency: array::from_fn(|_| Counter::default()),
            latency_micros: Counter::default(),
        }
    }
}

impl Counts {
    /// A request was answered, `latency` after its head had come.
    pub fn answered(&self, code: u16, latency: Duration) {
        match COMMON_CODES.binary_search(&code) {
            Ok(position) => self.codes[position].add(1),
            Err(_) => *lock(&self.other_codes).entry(code).or_default() += 1,
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency[bucket(micros)].add(1);
        self.latency_micros.add(micros);
    }
}

/// Which bucket counts a latency: the first whose bound is not below it.
fn bucket(micros: u64) -> usize {
    let firsts = micros.saturating_sub(1) / LATENCY_FIRST.as_micros() as u64;
    ((u64::BITS - firsts.leading_zeros()) as usize).min(LATENCY_BUCKETS - 1)
}

/// The upper bounds of the buckets in seconds; the last has none.
pub(crate) fn latency_bounds() -> [f64; LATENCY_BUCKETS] {
    array::from_fn(|bucket| match bucket {
        last if last == LATENCY_BUCKETS - 1 => f64::MAX,
        bucket => LATENCY_FIRST.as_secs_f64() * f64::from(1u32 << bucket),
    })
}

impl CountsOf {
    /// Requests that were answered, ever.
    pub fn requests(&self) -> u64 {
        self.all().flat_map(|counts| &counts.latency).map(Counter::get).sum()
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counts in self.all() {
            totals.request_bytes += counts.request_bytes.get();
            totals.response_bytes += counts.response_bytes.get();
            totals.retries += counts.retries.get();
            totals.retries_denied += counts.retries_denied.get();
            let common = COMMON_CODES.iter().copied().zip(counts.codes.iter().map(Counter::get));
            let others = lock(&counts.other_codes).clone();
            for (code, count) in common.chain(others).filter(|(_, count)| *count > 0) {
                *totals.codes.entry(code).or_default() += count;
            }
            for (total, bucket) in totals.latency.iter_mut().zip(&counts.latency) {
                *total += bucket.get();
            }
            totals.latency_micros += counts.latency_micros.get();
        }
        totals
    }
}

const _: () = assert!(LATENCY_BUCKETS <= 32, "bounds are computed in 32 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_under_the_first_bound_that_is_not_below_it() {
        let bounds = latency_bounds();
        for micros in [0, 1, 255, 256, 257, 512, 513, 1024, 100_000, 8_388_608, 8_388_609, u64::MAX] {
            let seconds = micros as f64 / 1e6;
            let expected = bounds.iter().position(|bound| seconds <= *bound).unwrap();
            assert_eq!(bucket(micros), expected, "{micros}");
        }
    }

    #[test]
    fn common_codes_are_found() {
        assert!(COMMON_CODES.is_sorted(), "they are searched by halves");
    }

    #[test]
    fn totals_have_common_and_other_codes() {
        let counts = CountsOf::default();
        for code in [200, 200, 418, 101, 504] {
            counts.here().answered(code, Duration::from_millis(1));
        }
        let totals = counts.totals();
        assert_eq!(totals.codes.into_iter().collect::<Vec<_>>(), [(101, 1), (200, 2), (418, 1), (504, 1)]);
        assert_eq!((totals.latency.iter().sum::<u64>(), totals.latency_micros), (5, 5000));
    }
}
