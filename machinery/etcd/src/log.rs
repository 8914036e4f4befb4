//! What etcd says: one JSON object per line, passed on, and its last complaints kept as the reason of its end.

use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::process::ChildStderr;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// Bytes of one line that are looked at.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// Lines that are kept for the reason of an end ...
const LAST_LINES: usize = 3;
/// ... and bytes of each.
const KEPT_BYTES_MAX: usize = 400;

/// Warnings of etcd's that its operator should see; it warns of much else that mends itself.
const SERIOUS: [&str; 3] = ["alarm raised", "slow fdatasync", "leader failed to send out heartbeat on time"];

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// Complaints that are the reason themselves, whatever is said after them: a panic's dump of every thread, the connections
/// that a member which was removed from its cluster closes one by one.
const REASONS: [&str; 3] = ["panic:", "fatal error:", "server error"];

/// The last lines that tell why.
#[derive(Default)]
pub struct LastWords(Mutex<Words>);

#[derive(Default)]
struct Words {
    /// The first of [`REASONS`].
    reason: Option<String>,
    last: VecDeque<String>,
}

pub async fn forward(stderr: ChildStderr, words: std::sync::Arc<LastWords>) {
    let stderr = match tokio::process::ChildStderr::from_std(stderr) {
        Ok(stderr) => stderr,
        Err(error) => return tracing::warn!(%error, "etcd's log cannot be read"),
    };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    // A longer line is taken in pieces, of which the first alone is JSON's beginning: none is lost, none grows.
    while (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        words.hear(text.trim_end());
        line.clear();
    }
}

impl LastWords {
    fn hear(&self, text: &str) {
        let kept = match serde_json::from_str::<Line>(text) {
            Ok(line) => match pass_on(&line) {
                Some(kept) => kept,
                None => return,
            },
            Err(_) => {
                tracing::debug!("{text}");
                text.to_owned()
            }
        };
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = shortened(kept);
        if words.reason.is_none() && REASONS.iter().any(|reason| kept.starts_with(reason)) {
            words.reason = Some(kept);
            return;
        }
        if words.last.len() == LAST_LINES {
            words.last.pop_front();
        }
        words.last.push_back(kept);
    }

    pub fn spoken(&self) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &words.reason {
            Some(reason) => reason.clone(),
            None if words.last.is_empty() => "it did not say why".to_owned(),
            None => Vec::from(words.last.clone()).join(" / "),
        }
    }
}

/// Logs the line; returns what is kept of it, if it is a complaint.
fn pass_on(line: &Line) -> Option<String> {
    let mut text = line.msg.clone();
    if let Some(error) = &line.error {
        let _infallible = write!(text, ": {error}");
    }
    let kept = text.clone();
    for (name, value) in line.rest.iter().filter(|(name, _)| !matches!(name.as_str(), "ts" | "caller" | "stacktrace")) {
        let _infallible = write!(text, " {name}={value}");
    }
    let is_serious = match line.level.as_str() {
        "debug" | "info" => false,
        "warn" => SERIOUS.iter().any(|serious| line.msg.starts_with(serious)),
        _ => true,
    };
    if is_serious {
        tracing::warn!("{text}");
    } else {
        tracing::debug!("{text}");
    }
    (!matches!(line.level.as_str(), "debug" | "info")).then_some(kept)
}

fn shortened(mut text: String) -> String {
    if KEPT_BYTES_MAX < text.len() {
        let end = (0..=KEPT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reason_of_an_end_is_what_was_said_last() {
        let words = LastWords::default();
        assert_eq!(words.spoken(), "it did not say why");
        for number in 0..5 {
            words.hear(&format!(r#"{{"level":"warn","ts":"now","msg":"step {number}"}}"#));
            words.hear(r#"{"level":"info","msg":"all is well"}"#);
        }
        words.hear(r#"{"level":"fatal","caller":"x","msg":"discovery failed","error":"no route","stacktrace":"..."}"#);
        assert_eq!(words.spoken(), "step 3 / step 4 / discovery failed: no route");
    }

    #[test]
    fn a_panic_is_told_without_its_dump() {
        let words = LastWords::default();
        words.hear("panic: invalid freelist page: 1");
        for _ in 0..100 {
            words.hear("goroutine 1 [running]:");
        }
        assert_eq!(words.spoken(), "panic: invalid freelist page: 1");
    }

    proptest! {
        #[test]
        fn nothing_it_may_say_is_too_much(lines in prop::collection::vec(".{0,600}", 0..8)) {
            let words = LastWords::default();
            for line in &lines {
                words.hear(line);
            }
            prop_assert!(words.spoken().len() <= LAST_LINES * (KEPT_BYTES_MAX + " / ".len()));
        }
    }
}
