//! The scheduler's switches and bounds.

use std::time::Duration;

/// A node that was silent for this long is suspected: its servers leave the routes. Six heartbeats of its agent.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(1500);
/// A node that was silent for this long is lost: its tasks are replaced (Swarm mode: 15 s; Mesos: 75 s).
pub const LOST_AFTER: Duration = Duration::from_secs(5);

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
    pub suspect_after: Duration,
    pub lost_after: Duration,
    /// Off: tasks are replaced also when most nodes fall silent at once. Only for tests that show what the brake is for.
    pub brake: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            drain: true,
            drain_grace: DRAIN_GRACE,
            staging_timeout: STAGING_TIMEOUT,
            edge_silence_max: EDGE_SILENCE_MAX,
            suspect_after: SUSPECT_AFTER,
            lost_after: LOST_AFTER,
            brake: true,
        }
    }
}
