//! What is counted of a route and of a server. Each thread writes to a [`Counts`] of its own; [`Totals`] are their sum.

mod histogram;

pub use histogram::Distribution;
pub(crate) use histogram::Histogram;

use crate::per_thread::PerThread;
use crate::servers::lock;
use std::array;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Status codes with a counter of their own; others are rare enough for a lock.
const COMMON_CODES: [u16; 25] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413, 429, 499, 500, 502,
    503, 504,
];
/// Of the others so many are told apart; a server may answer with any number.
const OTHER_CODES_MAX: usize = 32;
/// Stands for what is beyond.
pub(crate) const OTHER_CODE: u16 = 0;

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
    /// Requests that went on to another server.
    pub retries: Counter,
    /// What the retry budget did not allow.
    pub retries_denied: Counter,
    /// Attempts that got no response, or a part of one.
    pub failures: Counter,
    /// Connections passed on as they are.
    pub tcp_connections: Counter,
    codes: [Counter; COMMON_CODES.len()],
    other_codes: Mutex<BTreeMap<u16, u64>>,
    /// Until the response's head.
    head: Histogram,
    whole: Histogram,
}

/// A route's or a server's, over all threads.
pub(crate) type CountsOf = PerThread<Counts>;

/// The sum of what all threads have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub retries: u64,
    pub retries_denied: u64,
    pub failures: u64,
    pub tcp_connections: u64,
    pub codes: BTreeMap<u16, u64>,
    pub head: Distribution,
    pub whole: Distribution,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    /// Until its head.
    pub head: Duration,
    pub whole: Duration,
}

impl Took {
    /// Its end came with its head.
    pub fn at_once(whole: Duration) -> Self {
        Self { head: whole, whole }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            retries: Counter::default(),
            retries_denied: Counter::default(),
            failures: Counter::default(),
            tcp_connections: Counter::default(),
            codes: array::from_fn(|_| Counter::default()),
            other_codes: Mutex::default(),
            head: Histogram::default(),
            whole: Histogram::default(),
        }
    }
}

impl Counts {
    /// A request was answered.
    pub fn answered(&self, code: u16, took: Took) {
        match COMMON_CODES.binary_search(&code) {
            Ok(position) => self.codes[position].add(1),
            Err(_) => {
                let others = &mut *lock(&self.other_codes);
                let is_known = others.len() < OTHER_CODES_MAX || others.contains_key(&code);
                *others.entry(if is_known { code } else { OTHER_CODE }).or_default() += 1;
            }
        }
        self.head.add(took.head);
        self.whole.add(took.whole);
    }
}

impl CountsOf {
    /// Requests that were answered, ever.
    pub fn requests(&self) -> u64 {
        self.all().map(|counts| counts.whole.count()).sum()
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.add_to(&mut totals);
        totals
    }

    pub fn add_to(&self, totals: &mut Totals) {
        for counts in self.all() {
            totals.request_bytes += counts.request_bytes.get();
            totals.response_bytes += counts.response_bytes.get();
            totals.retries += counts.retries.get();
            totals.retries_denied += counts.retries_denied.get();
            totals.failures += counts.failures.get();
            totals.tcp_connections += counts.tcp_connections.get();
            let common = COMMON_CODES.iter().copied().zip(counts.codes.iter().map(Counter::get));
            let others = lock(&counts.other_codes).clone();
            for (code, count) in common.chain(others).filter(|(_, count)| *count > 0) {
                *totals.codes.entry(code).or_default() += count;
            }
            counts.head.add_to(&mut totals.head);
            counts.whole.add_to(&mut totals.whole);
        }
    }
}

impl Totals {
    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let since = |(code, count): (&u16, &u64)| {
            let came = count.saturating_sub(earlier.codes.get(code).copied().unwrap_or_default());
            (came > 0).then_some((*code, came))
        };
        Self {
            request_bytes: self.request_bytes.saturating_sub(earlier.request_bytes),
            response_bytes: self.response_bytes.saturating_sub(earlier.response_bytes),
            retries: self.retries.saturating_sub(earlier.retries),
            retries_denied: self.retries_denied.saturating_sub(earlier.retries_denied),
            failures: self.failures.saturating_sub(earlier.failures),
            tcp_connections: self.tcp_connections.saturating_sub(earlier.tcp_connections),
            codes: self.codes.iter().filter_map(since).collect(),
            head: self.head.since(&earlier.head),
            whole: self.whole.since(&earlier.whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::per_thread::{enter, threads};

    #[test]
    fn common_codes_are_found() {
        assert!(COMMON_CODES.is_sorted(), "they are searched by halves");
    }

    #[test]
    fn totals_have_common_and_other_codes() {
        let counts = CountsOf::default();
        for code in [200, 200, 418, 101, 504] {
            counts.here().answered(code, Took::at_once(Duration::from_millis(1)));
        }
        let totals = counts.totals();
        assert_eq!(totals.codes.into_iter().collect::<Vec<_>>(), [(101, 1), (200, 2), (418, 1), (504, 1)]);
        assert_eq!((totals.whole.count(), totals.whole.seconds()), (5, 0.005));
    }

    #[test]
    fn codes_are_bounded_whatever_a_server_answers() {
        let counts = CountsOf::default();
        (100..1000).for_each(|code| counts.here().answered(code, Took::default()));
        let codes = counts.totals().codes;
        assert_eq!(codes.len(), COMMON_CODES.len() + OTHER_CODES_MAX + 1);
        assert_eq!(codes.values().sum::<u64>(), 900);
    }

    #[test]
    fn every_answer_is_counted_once_while_threads_count_and_somebody_looks() {
        let (counts, each) = (CountsOf::default(), 20_000u64);
        std::thread::scope(|scope| {
            for index in 0..threads() {
                let counts = &counts;
                scope.spawn(move || {
                    enter(index);
                    for micros in 0..each {
                        counts.here().answered(200, Took::at_once(Duration::from_micros(micros)));
                    }
                });
            }
            let mut seen = 0;
            for _ in 0..200 {
                let now = counts.totals().whole.count();
                assert!(now >= seen, "a counter never goes back");
                seen = now;
            }
        });
        let (totals, expected) = (counts.totals(), each * threads() as u64);
        assert_eq!((totals.codes[&200], totals.whole.count(), totals.head.count()), (expected, expected, expected));
    }
}
