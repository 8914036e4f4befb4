//! What controller, agents and edges say to each other: one gRPC service, `Sessions`, defined in
//! `proto/sessions.proto`. A session is opened by the agent or the edge and carries, in its metadata, the caller's token as
//! `authorization: Bearer TOKEN`.

use std::time::Duration;

#[allow(clippy::all, unreachable_pub)]
mod generated {
    tonic::include_proto!("roadstead.sessions.v0");
}
pub use generated::*;

/// The most bytes of a log one chunk carries.
pub const LOG_CHUNK_BYTES_MAX: usize = 256 * 1024;
/// An agent that has nothing to say sends a heartbeat this often.
pub const AGENT_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
/// An edge repeats its state this often.
pub const EDGE_REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// A session that was silent for this long is dead.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Messages one session queues towards a peer before it is cut.
pub const SESSION_QUEUE_MAX: usize = 256;
