//! Health checks of running tasks.
//!
//! Marathon's rules: HTTP is healthy from 200 to 399 and redirects are not followed; TCP when a connection is made;
//! COMMAND when it ends with status 0. Failures are ignored until the first success or the end of grace. A check gives up
//! on failure number `max_consecutive_failures` + 1; 0 is never. Ours: from the start of the task a check is made every
//! 100 ms until the first success or the end of grace, then every interval.

mod probe;

pub(crate) use probe::Prober;

use protocol::{Check, CheckReport};
use std::time::Duration;

/// How often a task that has not answered yet is asked.
const EAGER_INTERVAL: Duration = Duration::from_millis(100);
/// An app may ask for less; a node does not go below.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Marathon's defaults, for a check that names none.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
/// A cause is shown to people, one line each.
const CAUSE_CHARS_MAX: usize = 300;

/// One check of one task. Pure.
#[derive(Clone, Debug)]
pub(crate) struct CheckState {
    check: Check,
    grace_ends_ms: i64,
    report: CheckReport,
}

impl CheckState {
    pub(crate) fn new(check: Check, started_at_ms: i64) -> Self {
        let grace_ms = i64::try_from(check.grace_ms).unwrap_or(i64::MAX);
        Self { grace_ends_ms: started_at_ms.saturating_add(grace_ms), check, report: CheckReport::default() }
    }

    pub(crate) fn report(&self) -> &CheckReport {
        &self.report
    }

    pub(crate) fn check(&self) -> &Check {
        &self.check
    }

    pub(crate) fn timeout(&self) -> Duration {
        match self.check.timeout_ms {
            0 => TIMEOUT_DEFAULT,
            timeout_ms => Duration::from_millis(timeout_ms),
        }
    }

    /// From the beginning of one probe to the beginning of the next.
    pub(crate) fn interval(&self, now_ms: i64) -> Duration {
        if self.waits_for_first_success(now_ms) {
            return EAGER_INTERVAL;
        }
        match self.check.interval_ms {
            0 => INTERVAL_DEFAULT,
            interval_ms => Duration::from_millis(interval_ms).max(INTERVAL_MIN),
        }
    }

    fn waits_for_first_success(&self, now_ms: i64) -> bool {
        self.report.first_success_ms == 0 && now_ms < self.grace_ends_ms
    }

    pub(crate) fn conclude(&mut self, outcome: Result<(), String>, now_ms: i64) {
        match outcome {
            Ok(()) => {
                self.report.alive = true;
                self.report.consecutive_failures = 0;
                self.report.last_success_ms = now_ms;
                if self.report.first_success_ms == 0 {
                    self.report.first_success_ms = now_ms;
                }
            }
            Err(_) if self.waits_for_first_success(now_ms) => {}
            Err(cause) => {
                let max = self.check.max_consecutive_failures;
                // Compared before counting: a task is given up on failure number max + 1.
                self.report.gave_up |= max > 0 && self.report.consecutive_failures >= max;
                self.report.consecutive_failures = self.report.consecutive_failures.saturating_add(1);
                self.report.alive = false;
                self.report.last_failure_ms = now_ms;
                self.report.last_failure_cause = cause.chars().take(CAUSE_CHARS_MAX).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STARTED: i64 = 1_000_000;

    fn state(max_consecutive_failures: u32) -> CheckState {
        let check = Check {
            protocol: "HTTP".to_owned(),
            grace_ms: 10_000,
            interval_ms: 5_000,
            max_consecutive_failures,
            ..Check::default()
        };
        CheckState::new(check, STARTED)
    }

    fn fail(state: &mut CheckState, now_ms: i64) {
        state.conclude(Err("refused".to_owned()), now_ms);
    }

    #[test]
    fn failures_before_the_first_success_are_ignored_within_grace_only() {
        let mut state = state(3);
        fail(&mut state, STARTED + 9_999);
        assert_eq!(state.report(), &CheckReport::default());
        fail(&mut state, STARTED + 10_000);
        assert_eq!(state.report().consecutive_failures, 1);
    }

    #[test]
    fn after_a_success_failures_count_even_within_grace() {
        let mut state = state(3);
        state.conclude(Ok(()), STARTED + 100);
        fail(&mut state, STARTED + 200);
        assert_eq!((state.report().alive, state.report().consecutive_failures), (false, 1));
    }

    #[test]
    fn a_check_gives_up_on_failure_max_plus_one() {
        let mut state = state(3);
        let after_grace = STARTED + 10_000;
        for number in 1..=4 {
            fail(&mut state, after_grace);
            assert_eq!(state.report().gave_up, number == 4, "{number}");
        }
    }

    #[test]
    fn zero_failures_allowed_means_never() {
        let mut state = state(0);
        for _ in 0..100 {
            fail(&mut state, STARTED + 10_000);
        }
        assert!(!state.report().gave_up);
    }

    #[test]
    fn probing_is_eager_until_the_first_success_or_the_end_of_grace() {
        let mut state = state(3);
        assert_eq!(state.interval(STARTED), EAGER_INTERVAL);
        assert_eq!(state.interval(STARTED + 10_000), Duration::from_secs(5));
        state.conclude(Ok(()), STARTED + 100);
        assert_eq!(state.interval(STARTED + 200), Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn alive_is_the_last_counted_outcome_and_giving_up_needs_a_row(
            max in 0..5_u32,
            outcomes in proptest::collection::vec(any::<bool>(), 1..60),
        ) {
            let mut state = state(max);
            let (mut row, mut longest) = (0_u32, 0_u32);
            for healthy in &outcomes {
                let outcome = if *healthy { Ok(()) } else { Err(String::new()) };
                state.conclude(outcome, STARTED + 20_000);
                row = if *healthy { 0 } else { row + 1 };
                longest = longest.max(row);
            }
            prop_assert_eq!(state.report().alive, outcomes.last() == Some(&true));
            prop_assert_eq!(state.report().consecutive_failures, row);
            prop_assert_eq!(state.report().gave_up, max > 0 && longest > max);
        }
    }
}
