//! Whether a body that is kept comes fast enough: so many bytes within each window, and all of it by an end. The time that the
//! disk takes for what came is not the client's: it is added to the window, and has a bound of its own.

use crate::limits::{BUFFERED_BODY_TIME_MAX, BUFFERED_WINDOW_BYTES_MIN, BUFFERED_WRITE_TIMEOUT};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    /// What had come when this window began.
    window_from: u64,
    /// When this window ends.
    due: Instant,
    ends: Instant,
    /// The disk is at work.
    writes_since: Option<Instant>,
}

impl Pace {
    pub fn new(window: Duration, now: Instant) -> Self {
        let ends = now + BUFFERED_BODY_TIME_MAX;
        Self { window, window_from: 0, due: ends.min(now + window), ends, writes_since: None }
    }

    /// So much of the body has come: when that is enough the next part has its time.
    pub fn came(&mut self, bytes: u64, now: Instant) {
        if bytes - self.window_from >= BUFFERED_WINDOW_BYTES_MIN {
            self.window_from = bytes;
            self.due = self.ends.min(now + self.window);
        }
    }

    /// Until when the client must have sent enough, while nothing is written.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The disk is waited for: until when.
    pub fn writes(&mut self, now: Instant) -> Instant {
        *self.writes_since.get_or_insert(now) + BUFFERED_WRITE_TIMEOUT
    }

    /// All that came is written. Whether the client is late: what it sends when its time is over must not begin a write that
    /// gives it more.
    pub fn is_late_when_written(&mut self, now: Instant) -> bool {
        let Some(since) = self.writes_since.take() else { return false };
        self.due = self.ends.min(self.due + (now - since));
        now >= self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn write(pace: &mut Pace, from: Instant, length: Duration) -> bool {
        pace.writes(from);
        // The same write, asked for again.
        pace.writes(from + length / 2);
        pace.is_late_when_written(from + length)
    }

    #[test]
    fn a_write_gives_the_client_as_much_time_as_it_took() {
        let begun = Instant::now();
        let mut pace = Pace::new(WINDOW, begun);
        assert_eq!(pace.writes(begun + 9 * SECOND), begun + 9 * SECOND + BUFFERED_WRITE_TIMEOUT);
        assert!(!write(&mut pace, begun + 9 * SECOND, 20 * SECOND));
        assert_eq!(pace.due(), begun + WINDOW + 20 * SECOND);
        assert!(!pace.is_late_when_written(begun + 29 * SECOND), "nothing was written");
        assert_eq!(pace.due(), begun + WINDOW + 20 * SECOND);
        pace.came(BUFFERED_WINDOW_BYTES_MIN, begun + 29 * SECOND);
        assert_eq!(pace.due(), begun + 29 * SECOND + WINDOW);
    }

    /// Single bytes, each on its way to the disk when the window ends.
    #[test]
    fn a_write_that_begins_when_the_window_is_over_gives_no_more_time() {
        let begun = Instant::now();
        let (mut pace, tick) = (Pace::new(WINDOW, begun), SECOND / 100);
        pace.came(1, begun + WINDOW - tick);
        assert!(!write(&mut pace, begun + WINDOW - tick, 2 * tick), "it came in time");
        assert_eq!(pace.due(), begun + WINDOW + 2 * tick);
        pace.came(2, begun + WINDOW + 3 * tick);
        assert!(write(&mut pace, begun + WINDOW + 3 * tick, 5 * tick), "it did not");
    }

    #[test]
    fn no_write_moves_the_end_of_all() {
        let begun = Instant::now();
        let (mut pace, ends) = (Pace::new(WINDOW, begun), begun + BUFFERED_BODY_TIME_MAX);
        pace.came(BUFFERED_WINDOW_BYTES_MIN, ends - SECOND);
        assert_eq!(pace.due(), ends);
        assert!(write(&mut pace, ends - SECOND, 2 * SECOND));
        assert_eq!(pace.due(), ends);
    }
}
