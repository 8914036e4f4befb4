//! Failed launches delay the next one (Marathon's launch queue): `backoff × factor^(failures - 1)`, at most the app's
//! launch_delay_max. One wave of failures counts once: twenty tasks that die together are one failure of the app. The
//! delay is forgotten with a new version, when asked, and once a task has been healthy for as long as the delay was.

use crate::{Backoff, Failure};
use model::{App, Timestamp};
use std::time::Duration;

/// The delay after `failures` failures in a row.
pub fn launch_delay(app: &App, failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let exponent = i32::try_from(failures - 1).unwrap_or(i32::MAX);
    let seconds = app.backoff.as_secs_f64() * app.backoff_factor.max(1.0).powi(exponent);
    // An overflow (infinity) is as good as the maximum.
    Duration::try_from_secs_f64(seconds).map_or(app.launch_delay_max, |delay| delay.min(app.launch_delay_max))
}

impl Backoff {
    /// After one more failure.
    pub(crate) fn failed(self, app: &App, now: Timestamp) -> Self {
        if self.until.is_some_and(|until| now < until) {
            return self;
        }
        let failures = self.failures.saturating_add(1);
        Self { failures, until: Some(now.after(launch_delay(app, failures))) }
    }

    pub(crate) fn is_waiting(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Failure {
    pub(crate) fn of(record: &crate::TaskRecord, message: String, at: Timestamp) -> Self {
        Self {
            task: record.task.id.clone(),
            host: record.task.host.clone(),
            state: record.seen.state,
            message,
            version: record.task.version,
            at,
        }
    }
}
