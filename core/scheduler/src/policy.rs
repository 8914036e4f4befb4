//! The scheduler's switches and bounds.

use std::time::Duration;

/// A draining task is stopped after this long, even when an edge still has requests in flight to it.
pub const DRAIN_GRACE: Duration = Duration::from_secs(30);
/// A task that has not started by then is killed and replaced (Marathon 0.8's `task_launch_timeout`).
pub const STAGING_TIMEOUT: Duration = Duration::from_secs(300);
/// An edge that has said nothing for this long holds up no drain; the sessions' own bound.
pub const EDGE_SILENCE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Off: tasks are stopped without asking the edges. Only for tests that show what the handshake is for.
    pub drain: bool,
    pub drain_grace: Duration,
    pub staging_timeout: Duration,
    pub edge_silence_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            drain: true,
            drain_grace: DRAIN_GRACE,
            staging_timeout: STAGING_TIMEOUT,
            edge_silence_max: EDGE_SILENCE_MAX,
        }
    }
}
