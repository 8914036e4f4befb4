//! Passive health: a server that fails several times in a row is left alone for a while, longer each time it happens again.
//! It is back on trial then: one more failure is enough, one success clears it. Never more than half of the servers are
//! ejected, since what all of them suffer from is not theirs.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a server is ejected, and for how long. The defaults are Envoy's (outlier detection).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionSpec {
    /// In a row.
    pub failures: u32,
    /// The first time; doubled each time after.
    pub seconds: u32,
    pub seconds_max: u32,
}

impl Default for EjectionSpec {
    fn default() -> Self {
        Self { failures: 5, seconds: 30, seconds_max: 300 }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ejection(Vec<Record>);

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures_in_row: u32,
    /// How often it was ejected without a good while between.
    times: u32,
    /// Until when the last time.
    until: Option<Duration>,
    /// And for how long.
    length: Duration,
}

impl Ejection {
    pub fn new(before: Option<&Self>, known: &[Option<usize>], now: Duration) -> Self {
        let record =
            |position: &Option<usize>| before.zip(*position).map_or(Record::default(), |(before, at)| before.0[at]);
        let mut ejection = Self(known.iter().map(record).collect());
        // Others left: who is to return soonest does so now.
        while ejection.count(now) > ejection.count_max() {
            let ejected = ejection.0.iter_mut().filter(|record| record.is_ejected(now));
            match ejected.min_by_key(|record| record.until) {
                Some(record) => record.until = Some(now),
                None => break,
            }
        }
        ejection
    }

    pub fn is_ejected(&self, position: usize, now: Duration) -> bool {
        self.0[position].is_ejected(now)
    }

    /// When it came back, if it was ever ejected.
    pub fn returned(&self, position: usize, now: Duration) -> Option<Duration> {
        self.0[position].until.filter(|until| *until <= now)
    }

    /// Whether that ejects it.
    pub fn observe(&mut self, spec: &EjectionSpec, position: usize, is_failure: bool, now: Duration) -> bool {
        let has_room = self.count(now) < self.count_max();
        let record = &mut self.0[position];
        if !is_failure {
            record.failures_in_row = 0;
            if record.until.is_some_and(|until| now >= until + record.length) {
                record.times = 0;
            }
            return false;
        }
        // What was sent before it was ejected says nothing new.
        if record.is_ejected(now) {
            return false;
        }
        record.failures_in_row = record.failures_in_row.saturating_add(1);
        if record.failures_in_row < spec.failures || !has_room {
            return false;
        }
        let seconds = u64::from(spec.seconds) << record.times.min(31);
        record.length = Duration::from_secs(seconds.min(u64::from(spec.seconds_max)));
        record.until = Some(now + record.length);
        record.times = record.times.saturating_add(1);
        record.failures_in_row = spec.failures - 1;
        true
    }

    fn count(&self, now: Duration) -> usize {
        self.0.iter().filter(|record| record.is_ejected(now)).count()
    }

    fn count_max(&self) -> usize {
        self.0.len() / 2
    }
}

impl Record {
    fn is_ejected(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}
