//! Token buckets in exact integers: a bucket's credit counts nanoseconds times requests, so that a token costs the period
//! and a nanosecond refills `requests`.

/// So many requests per period, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub period_nanos: u64,
    pub requests: u64,
    pub burst: u64,
}

/// One key's buckets, one for each period; full until it is first used.
#[derive(Debug, Default)]
pub struct Buckets(Vec<Bucket>);

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    credit: u128,
    refilled_nanos: u64,
}

impl Rate {
    fn credit_max(&self) -> u128 {
        u128::from(self.burst) * u128::from(self.period_nanos)
    }

    /// How long an empty bucket takes to be full.
    pub fn refill_nanos(&self) -> u64 {
        u64::try_from(self.credit_max() / u128::from(self.requests)).unwrap_or(u64::MAX)
    }
}

impl Buckets {
    /// Takes a token from each bucket, or from none: then says how long until all have one.
    pub fn take(&mut self, rates: &[Rate], now_nanos: u64) -> Result<(), u64> {
        self.adopt(rates, now_nanos);
        let mut wait_nanos = 0;
        for bucket in &mut self.0 {
            bucket.refill(now_nanos);
            wait_nanos = wait_nanos.max(bucket.wait_nanos());
        }
        if wait_nanos > 0 {
            return Err(wait_nanos);
        }
        for bucket in &mut self.0 {
            bucket.credit -= u128::from(bucket.rate.period_nanos);
        }
        Ok(())
    }

    /// Other rates: a period that stays keeps its tokens, as far as they fit.
    fn adopt(&mut self, rates: &[Rate], now_nanos: u64) {
        if self.0.len() == rates.len() && self.0.iter().zip(rates).all(|(bucket, rate)| bucket.rate == *rate) {
            return;
        }
        for bucket in &mut self.0 {
            bucket.refill(now_nanos);
        }
        let old = std::mem::take(&mut self.0);
        self.0.extend(rates.iter().map(|rate| {
            let known = old.iter().find(|bucket| bucket.rate.period_nanos == rate.period_nanos);
            let credit = known.map_or(rate.credit_max(), |bucket| bucket.credit.min(rate.credit_max()));
            Bucket { rate: *rate, credit, refilled_nanos: now_nanos }
        }));
    }
}

impl Bucket {
    /// Time that goes backwards refills nothing.
    fn refill(&mut self, now_nanos: u64) {
        let passed = now_nanos.saturating_sub(self.refilled_nanos);
        self.refilled_nanos = self.refilled_nanos.max(now_nanos);
        let earned = u128::from(passed) * u128::from(self.rate.requests);
        self.credit = self.credit.saturating_add(earned).min(self.rate.credit_max());
    }

    fn wait_nanos(&self) -> u64 {
        let lacking = u128::from(self.rate.period_nanos).saturating_sub(self.credit);
        u64::try_from(lacking.div_ceil(u128::from(self.rate.requests))).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(seconds: u64, requests: u64, burst: u64) -> Rate {
        Rate { period_nanos: seconds * SECOND, requests, burst }
    }

    fn tokens(buckets: &Buckets) -> Vec<u64> {
        buckets.0.iter().map(|b| (b.credit / u128::from(b.rate.period_nanos)) as u64).collect()
    }

    fn take(buckets: &mut Buckets, rates: &[Rate], count: u64, now: u64) {
        for _ in 0..count {
            buckets.take(rates, now).unwrap();
        }
    }

    #[test]
    fn all_buckets_are_charged_and_refilled_at_their_own_rates() {
        let rates = [rate(10, 10, 20), rate(100, 20, 50)];
        let mut buckets = Buckets::default();
        take(&mut buckets, &rates, 15, 0);
        assert_eq!(tokens(&buckets), [5, 35]);
        take(&mut buckets, &rates, 1, 10 * SECOND);
        assert_eq!(tokens(&buckets), [14, 36]);
    }

    #[test]
    fn the_longest_wait_counts_and_nothing_is_charged() {
        let rates = [rate(10, 10, 10), rate(100, 20, 10)];
        let mut buckets = Buckets::default();
        take(&mut buckets, &rates, 10, 0);
        assert_eq!(buckets.take(&rates, 0), Err(5 * SECOND));
        assert_eq!(buckets.take(&rates, SECOND), Err(4 * SECOND));
        assert_eq!(tokens(&buckets), [1, 0]);
        assert_eq!(buckets.take(&rates, 5 * SECOND), Ok(()));
        assert_eq!(tokens(&buckets), [4, 0]);
    }

    #[test]
    fn other_rates_keep_the_tokens_of_the_periods_that_stay() {
        let mut buckets = Buckets::default();
        take(&mut buckets, &[rate(1, 10, 20), rate(10, 20, 50), rate(20, 45, 90)], 5, 0);
        assert_eq!(tokens(&buckets), [15, 45, 85]);
        buckets.adopt(&[rate(10, 30, 40), rate(11, 30, 40), rate(12, 30, 40)], 0);
        assert_eq!(tokens(&buckets), [40, 40, 40]);
        buckets.adopt(&[rate(1, 10, 40), rate(60, 100, 150)], 0);
        assert_eq!(tokens(&buckets), [40, 150]);
    }

    #[test]
    fn fractions_of_a_token_are_kept() {
        let rates = [rate(1, 3, 1)];
        let mut buckets = Buckets::default();
        take(&mut buckets, &rates, 1, 0);
        for step in 1..3 {
            assert!(buckets.take(&rates, step * SECOND / 9).is_err());
        }
        assert_eq!(buckets.take(&rates, SECOND / 3 + 1), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            period in 1u64..100, requests in 1u64..50, burst in 1u64..50,
            pauses in proptest::collection::vec(0u64..3 * SECOND, 1..200),
        ) {
            let rates = [rate(period, requests, burst)];
            let mut buckets = Buckets::default();
            let (mut now, mut taken) = (0, 0u128);
            for pause in pauses {
                now += pause;
                match buckets.take(&rates, now) {
                    Ok(()) => taken += 1,
                    Err(wait) => {
                        prop_assert!(buckets.take(&rates, now + wait - 1).is_err());
                        prop_assert!(buckets.take(&rates, now + wait).is_ok());
                        taken += 1;
                        now += wait;
                    }
                }
                let allowed = u128::from(burst) + u128::from(now) * u128::from(requests) / u128::from(period * SECOND);
                prop_assert!(taken <= allowed, "{} of {}", taken, allowed);
            }
        }
    }
}
