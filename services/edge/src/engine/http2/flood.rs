//! Frames that cost their sender nothing and us work: pings, settings, resets, empty data, endless headers. A connection
//! has an allowance of them, which the frames that carry something, in either direction, and time pay for. Who overdraws it
//! is told so (ENHANCE_YOUR_CALM) and cut; those who use pings and resets as they are meant never come near.
//!
//! `h2` counts some of these itself (resets of requests that nobody has looked at, CONTINUATION frames, tiny data), and what
//! it counts ends the same way.

use crate::limits::{H2_CALM_BURST, H2_CALM_PER_SECOND};
use tokio::time::Instant;

/// RFC 9113 §3.4: before the client's first frame.
pub(in super::super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113 §4.1.
const HEAD_BYTES: usize = 9;
/// RFC 9113 §6.4.
const RST_STREAM: u8 = 3;

#[derive(Debug)]
pub(super) struct Flood {
    came: Frames,
    went: Frames,
    allowance: i64,
    /// The same for resets alone: what the client sends does not pay for those, since half a request has a frame of data as
    /// cheaply as not.
    resets: i64,
    /// When time last paid.
    paid: Instant,
}

/// Finds the frames in a stream of bytes.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Until the next head.
    skip: usize,
}

/// What every frame says first.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    bytes: usize,
}

impl Flood {
    pub fn new(now: Instant) -> Self {
        let came = Frames { skip: PREFACE.len(), ..Frames::default() };
        Self { came, went: Frames::default(), allowance: H2_CALM_BURST, resets: H2_CALM_BURST, paid: now }
    }

    /// Of the client's bytes.
    pub fn came(&mut self, bytes: &[u8]) {
        let (allowance, resets) = (&mut self.allowance, &mut self.resets);
        self.came.each(bytes, |head| match head.kind {
            RST_STREAM => *resets += head.worth(),
            _ => *allowance = (*allowance + head.worth()).min(H2_CALM_BURST),
        });
    }

    /// Of ours.
    pub fn went(&mut self, bytes: &[u8]) {
        let (allowance, resets) = (&mut self.allowance, &mut self.resets);
        self.went.each(bytes, |head| {
            for paid in [&mut *allowance, &mut *resets] {
                *paid = (*paid + head.worth().max(0)).min(H2_CALM_BURST);
            }
        });
    }

    /// Whether it is too much.
    pub fn is_over(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.allowance.min(self.resets) >= 0 {
            return false;
        }
        let now = now();
        let since = now.saturating_duration_since(self.paid);
        self.paid = now;
        let earned = (since.as_secs_f64() * H2_CALM_PER_SECOND) as i64;
        for paid in [&mut self.allowance, &mut self.resets] {
            *paid = (*paid + earned).min(H2_CALM_BURST);
        }
        self.allowance.min(self.resets) < 0
    }
}

impl Frames {
    fn each(&mut self, mut bytes: &[u8], mut see: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            bytes = &bytes[taken..];
            if self.head_bytes == HEAD_BYTES {
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                (self.head_bytes, self.skip) = (0, length);
                see(Head { kind, flags, bytes: length });
            }
        }
    }
}

impl Head {
    /// What it adds to the allowance; taken from it if negative.
    fn worth(self) -> i64 {
        const END_STREAM: u8 = 1;
        const ACK: u8 = 1;
        match self.kind {
            // DATA
            0 if self.bytes > 0 => 2,
            0 if self.flags & END_STREAM != 0 => 0,
            // HEADERS
            1 => 2,
            // RST_STREAM: with its HEADERS, half a request nobody wants (CVE-2023-44487).
            RST_STREAM => -4,
            // SETTINGS
            4 if self.flags & ACK != 0 => 0,
            4 => -8,
            // WINDOW_UPDATE: as many as there is data.
            8 => 0,
            // PRIORITY, PING, CONTINUATION, empty DATA, and what nobody knows.
            _ => -1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, bytes: usize) -> Vec<u8> {
        let mut frame = vec![0, (bytes >> 8) as u8, bytes as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + bytes, 0);
        frame
    }

    fn floods(frames: &[Vec<u8>]) -> bool {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        flood.came(PREFACE);
        (0..100_000).any(|_| {
            frames.iter().for_each(|frame| flood.came(frame));
            flood.is_over(|| now)
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
            ("resets", vec![headers.clone(), reset.clone()]),
            ("resets behind a byte of data", vec![headers.clone(), frame(0, 0, 1), reset]),
            ("continuations", vec![frame(9, 0, 10)]),
            ("unknown frames", vec![frame(200, 0, 10)]),
        ] {
            assert!(floods(&frames), "{name}");
        }
        assert!(!floods(&[headers, data.clone(), frame(0, 1, 0), frame(8, 0, 4)]));
        assert!(!floods(&[data, frame(6, 0, 8)]), "a ping for each frame of data, as gRPC measures its way");
    }

    #[tokio::test]
    async fn time_pays_and_so_does_what_we_send() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        flood.came(PREFACE);
        (0..=H2_CALM_BURST).for_each(|_| flood.came(&frame(6, 0, 8)));
        assert!(flood.is_over(|| now));
        assert!(!flood.is_over(|| now + Duration::from_secs(1)));
        let mut flood = Flood::new(now);
        flood.came(PREFACE);
        for _ in 0..10_000 {
            flood.came(&frame(6, 0, 8));
            flood.went(&frame(0, 0, 1));
            flood.went(&frame(6, 1, 8));
        }
        assert!(!flood.is_over(|| now));
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            frames in prop::collection::vec((any::<u8>(), any::<u8>(), 0..300_usize), 1..20),
            cuts in prop::collection::vec(1..50_usize, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, bytes)| frame(*kind, *flags, *bytes)).collect();
            let (mut found, mut finder, mut rest) = (Vec::new(), Frames::default(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                finder.each(part, |head| found.push((head.kind, head.flags, head.bytes)));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, frames);
        }
    }
}
