//! Where an input came to, told by LLVM's 8-bit counters: each place in code compiled with
//! `-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-inline-8bit-counters` raises a byte of its own. Before `main` each
//! part of the program says where its bytes are (clang's documentation of SanitizerCoverage). Nothing is known, and nothing
//! costs, where it was compiled without.
#![allow(unsafe_code)]

use std::sync::Mutex;

/// One part's counters.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    bytes: usize,
}

static PARTS: Mutex<Vec<Part>> = Mutex::new(Vec::new());

/// Called by the code that the compiler adds, before `main`.
///
/// # Safety
/// `start` to `stop` are the counters of one part of this program, which live as long as it does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let part = Part { start: start as usize, bytes: (stop as usize).saturating_sub(start as usize) };
    if let Ok(mut parts) = PARTS.lock()
        && part.bytes > 0
        && !parts.contains(&part)
    {
        parts.push(part);
    }
}

/// What all inputs of a run have come to.
pub struct Coverage {
    parts: Vec<Part>,
    /// Of each counter, the classes of counts that were seen, as bits.
    seen: Vec<u8>,
    /// The counters as they were read.
    read: Vec<u8>,
}

impl Default for Coverage {
    fn default() -> Self {
        let parts = PARTS.lock().map(|parts| parts.clone()).unwrap_or_default();
        let bytes = parts.iter().map(|part| part.bytes).sum();
        Self { parts, seen: vec![0; bytes], read: vec![0; bytes] }
    }
}

impl Coverage {
    /// Whether the code was compiled with counters.
    pub fn is_counted(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Places that were reached.
    pub fn places(&self) -> usize {
        self.seen.iter().filter(|classes| **classes > 0).count()
    }

    /// Forgets what was counted until now.
    pub fn begin(&self) {
        for part in &self.parts {
            // SAFETY: the counters live as long as the program (`init`'s contract) and belong to no Rust object. Only this
            // thread runs counted code meanwhile; a lost count of another would be a lost count.
            unsafe { std::ptr::write_bytes(part.start as *mut u8, 0, part.bytes) };
        }
    }

    /// Whether something was reached since then that no input had reached, or much more often.
    pub fn is_new(&mut self) -> bool {
        let mut at = 0;
        for part in &self.parts {
            let room = &mut self.read[at..at + part.bytes];
            // SAFETY: as above; `room` is memory of ours of the same length.
            unsafe { std::ptr::copy_nonoverlapping(part.start as *const u8, room.as_mut_ptr(), part.bytes) };
            at += part.bytes;
        }
        let mut is_new = false;
        for (words, at) in self.read.chunks(8).zip((0..).step_by(8)) {
            if words.iter().all(|count| *count == 0) {
                continue;
            }
            for (count, at) in words.iter().zip(at..) {
                let class = class(*count);
                is_new |= class & !self.seen[at] != 0;
                self.seen[at] |= class;
            }
        }
        is_new
    }
}

/// Counts that differ little are one class.
fn class(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}
