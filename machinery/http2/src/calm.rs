//! Frames that cost their sender nothing and us work: pings, settings, resets, empty data, endless headers. A connection
//! has an allowance of them, which the frames that carry something, in either direction, and time pay for. Who overdraws it
//! is told so (ENHANCE_YOUR_CALM) and cut; those who use pings and resets as they are meant never come near.

use crate::frame::{Head, flag, kind};
use std::time::Instant;

/// Frames without use that a client may send at once,
pub const CALM_BURST: i64 = 1000;
/// and how many more each second.
pub const CALM_PER_SECOND: f64 = 200.0;

/// What a frame that carries something pays.
const USE: i64 = 2;
/// Of a reset: with its HEADERS, half a request nobody wants (CVE-2023-44487).
const RESET_COST: i64 = 4;

#[derive(Debug)]
pub(crate) struct Calm {
    allowance: i64,
    /// The same for resets alone: what the client sends does not pay for those, since half a request has a frame of data as
    /// cheaply as not.
    resets: i64,
    /// When time last paid.
    paid: Instant,
}

impl Calm {
    pub fn new(now: Instant) -> Self {
        Self { allowance: CALM_BURST, resets: CALM_BURST, paid: now }
    }

    /// A frame of the client's.
    pub fn came(&mut self, frame: Head) {
        let cost = cost(frame);
        if frame.kind == kind::RST_STREAM { self.resets -= cost } else { self.allowance -= cost }
    }

    /// One that carried something: a request, data of one, or its end.
    pub fn was_of_use(&mut self) {
        self.allowance = (self.allowance + USE).min(CALM_BURST);
    }

    /// One that we had to reset a stream for: as if the client had (CVE-2025-8671).
    pub fn was_at_fault(&mut self) {
        self.resets -= RESET_COST;
    }

    /// A frame of ours that carries something.
    pub fn went(&mut self) {
        self.pay(USE);
    }

    /// Whether it is too much.
    pub fn is_over(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.allowance.min(self.resets) >= 0 {
            return false;
        }
        let now = now();
        let since = now.saturating_duration_since(self.paid);
        self.paid = now;
        self.pay((since.as_secs_f64() * CALM_PER_SECOND) as i64);
        self.allowance.min(self.resets) < 0
    }

    fn pay(&mut self, worth: i64) {
        self.allowance = (self.allowance + worth).min(CALM_BURST);
        self.resets = (self.resets + worth).min(CALM_BURST);
    }
}

/// What a frame takes from the allowance.
fn cost(frame: Head) -> i64 {
    match frame.kind {
        kind::DATA => i64::from(frame.bytes == 0 && !frame.has(flag::END_STREAM)),
        // As many windows open as there is data.
        kind::HEADERS | kind::WINDOW_UPDATE => 0,
        kind::RST_STREAM => RESET_COST,
        kind::SETTINGS if frame.has(flag::ACK) => 0,
        kind::SETTINGS => 8,
        // PRIORITY, PING, CONTINUATION, and what nobody knows.
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, bytes: usize) -> Head {
        Head { bytes, kind, flags, stream: 1 }
    }

    fn floods(frames: &[Head]) -> bool {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..100_000).any(|_| {
            for frame in frames {
                calm.came(*frame);
                if frame.kind == kind::HEADERS || frame.kind == kind::DATA && frame.bytes > 0 {
                    calm.was_of_use();
                }
            }
            calm.is_over(|| now)
        })
    }

    #[test]
    fn what_costs_its_sender_nothing_is_a_flood_and_requests_are_none() {
        let (headers, data, reset) = (frame(1, 4, 20), frame(0, 0, 100), frame(3, 0, 4));
        for (name, frames) in [
            ("pings", vec![frame(6, 0, 8)]),
            ("settings", vec![frame(4, 0, 0)]),
            ("priorities", vec![frame(2, 0, 5)]),
            ("empty data", vec![frame(0, 0, 0)]),
            ("resets", vec![headers, reset]),
            ("resets behind a byte of data", vec![headers, frame(0, 0, 1), reset]),
            ("continuations", vec![frame(9, 0, 10)]),
            ("unknown frames", vec![frame(200, 0, 10)]),
        ] {
            assert!(floods(&frames), "{name}");
        }
        assert!(!floods(&[headers, data, frame(0, 1, 0), frame(8, 0, 4)]));
        assert!(!floods(&[data, frame(6, 0, 8)]), "a ping for each frame of data, as gRPC measures its way");
    }

    #[test]
    fn resets_that_the_client_makes_us_send_are_its_own() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..1000).for_each(|_| {
            calm.was_of_use();
            calm.was_at_fault();
        });
        assert!(calm.is_over(|| now));
    }

    #[test]
    fn time_pays_and_so_does_what_we_send() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..=CALM_BURST).for_each(|_| calm.came(frame(6, 0, 8)));
        assert!(calm.is_over(|| now));
        assert!(!calm.is_over(|| now + Duration::from_secs(1)));
        let mut calm = Calm::new(now);
        for _ in 0..10_000 {
            calm.came(frame(6, 0, 8));
            calm.went();
        }
        assert!(!calm.is_over(|| now));
    }
}
