//! What the shims say to the agent that spawned them, and init to the monitor: one JSON value per line.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};

/// The most bytes of one line.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The one word of a monitor (or a probe) to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromMonitor {
    Running,
    Failed(String),
}

/// The one word of an exec helper to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromExec {
    Status(i32),
    TimedOut,
    Failed(String),
}

/// Init's words to the monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromInit {
    Running,
    Failed(String),
    /// The task's first process ended; others may still run while the task is being stopped.
    Ended(crate::How),
}

/// The monitor's words to init, one byte each.
pub(crate) const GO: u8 = b'G';
pub(crate) const TERMINATE: u8 = b'T';

pub(crate) fn say(to: &mut impl Write, word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// `None` at the end.
pub(crate) fn hear<T: DeserializeOwned>(from: impl Read) -> io::Result<Option<T>> {
    let mut line = String::new();
    BufReader::new(from.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
