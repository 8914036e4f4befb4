//! Numbers that the real-time threads leave for others: atomics only, so that no reader can ever make them wait.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes of lateness; one more class is without a bound.
pub(crate) const LATENESS_BOUNDS: [Duration; 8] = [
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
];

/// Of one virtual router.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    pub adverts_sent: Count,
    pub adverts_received: Count,
    pub adverts_refused: Count,
    pub sends_failed: Count,
    pub announcements: Count,
    /// The address was gone though we hold it, and was put back.
    pub restored: Count,
    /// The priority of the moment, for the fence.
    pub priority: AtomicU8,
    /// How much later than planned a holder spoke.
    pub own_lateness: Lateness,
    /// How much later than its interval a backup heard the holder.
    pub heard_lateness: Lateness,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How late something was that should be on time.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    classes: [AtomicU64; LATENESS_BOUNDS.len() + 1],
    max_us: AtomicU64,
}

impl Lateness {
    pub fn note(&self, late: Duration) {
        let class = LATENESS_BOUNDS.iter().position(|bound| late <= *bound).unwrap_or(LATENESS_BOUNDS.len());
        self.classes[class].fetch_add(1, Relaxed);
        self.max_us.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us.load(Relaxed))
    }

    /// Events in each class, the last without a bound.
    pub fn classes(&self) -> [u64; LATENESS_BOUNDS.len() + 1] {
        std::array::from_fn(|class| self.classes[class].load(Relaxed))
    }

    /// The bound under which this share of events stayed; the maximum when that is not below any.
    pub fn quantile(&self, share: f64) -> Duration {
        let classes = self.classes();
        let wanted = (classes.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in LATENESS_BOUNDS.iter().zip(classes) {
            seen += count;
            if seen >= wanted {
                return (*bound).min(self.max());
            }
        }
        self.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_bound_or_the_maximum() {
        let lateness = Lateness::default();
        assert_eq!(lateness.quantile(0.99), Duration::ZERO);
        for _ in 0..99 {
            lateness.note(Duration::from_micros(400));
        }
        lateness.note(Duration::from_secs(1));
        assert_eq!(lateness.quantile(0.99), Duration::from_millis(1));
        assert_eq!(lateness.quantile(1.0), Duration::from_secs(1));
        assert_eq!(lateness.max(), Duration::from_secs(1));
    }
}
