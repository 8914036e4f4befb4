//! Frames that cost their sender nothing and us work: pings, settings, resets, empty data, endless headers. A connection
//! has an allowance of them, which the frames that carry something, in either direction, and time pay for. Who overdraws it
//! is told so (ENHANCE_YOUR_CALM) and cut; those who use pings and resets as they are meant never come near.

use crate::frame::{Head, flag, kind};
use std::time::Instant;

/// Frames without use that a client may send at once,
pub const CALM_BURST: i64 = 1000;
/// and how many more each second.
pub const CALM_PER_SECOND: f64 = 200.0;

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
        if frame.kind == kind::RST_STREAM {
            self.resets += worth(frame);
        } else {
            self.allowance = (self.allowance + worth(frame)).min(CALM_BURST);
        }
    }

    /// A frame of ours that carries something.
    pub fn went(&mut self, frame: Head) {
        let worth = worth(frame).max(0);
        self.pay(worth);
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

/// What a frame adds to the allowance; taken from it if negative.
fn worth(frame: Head) -> i64 {
    match frame.kind {
        kind::DATA if frame.bytes > 0 => 2,
        kind::DATA if frame.has(flag::END_STREAM) => 0,
        kind::HEADERS => 2,
        // With its HEADERS, half a request nobody wants (CVE-2023-44487).
        kind::RST_STREAM => -4,
        kind::SETTINGS if frame.has(flag::ACK) => 0,
        kind::SETTINGS => -8,
        // As many as there is data.
        kind::WINDOW_UPDATE => 0,
        // PRIORITY, PING, CONTINUATION, empty DATA, and what nobody knows.
        _ => -1,
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
            frames.iter().for_each(|frame| calm.came(*frame));
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
    fn time_pays_and_so_does_what_we_send() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..=CALM_BURST).for_each(|_| calm.came(frame(6, 0, 8)));
        assert!(calm.is_over(|| now));
        assert!(!calm.is_over(|| now + Duration::from_secs(1)));
        let mut calm = Calm::new(now);
        for _ in 0..10_000 {
            calm.came(frame(6, 0, 8));
            calm.went(frame(0, 0, 1));
            calm.went(frame(6, 1, 8));
        }
        assert!(!calm.is_over(|| now));
    }
}
