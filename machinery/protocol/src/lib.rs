//! What controller, agents and edges say to each other: one gRPC service, `Sessions`, defined in
//! `proto/sessions.proto`. A session is opened by the agent or the edge and carries, in its metadata, the caller's token as
//! `authorization: Bearer TOKEN`, unless its certificate says who it is. [`dial`] is how either finds the controller that
//! leads.

pub mod dial;

use std::time::Duration;

#[allow(clippy::all, unreachable_pub)]
mod generated {
    tonic::include_proto!("roadstead.sessions.v0");
}
pub use generated::*;

/// The most bytes of a log one chunk carries.
pub const LOG_CHUNK_BYTES_MAX: usize = 256 * 1024;
/// An agent that has nothing to say sends a heartbeat this often: three of them before its node is suspected. The answer
/// keeps [`dial`] from asking for a sign of life.
pub const AGENT_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(450);
/// An edge repeats its state this often, and is answered like an agent.
pub const EDGE_REPORT_INTERVAL: Duration = Duration::from_millis(450);
const _: () = assert!(AGENT_HEARTBEAT_INTERVAL.as_millis() < dial::PING_INTERVAL.as_millis());
const _: () = assert!(EDGE_REPORT_INTERVAL.as_millis() < dial::PING_INTERVAL.as_millis());
/// A session that was silent for this long is dead.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Messages one session queues towards a peer before it is cut.
pub const SESSION_QUEUE_MAX: usize = 256;
/// Controllers a peer is told of, and remembers.
pub const CONTROLLERS_MAX: usize = 16;
/// The metadata of a session refused by a controller that does not lead: `host:port` of the one that does. The status is
/// `FAILED_PRECONDITION`.
pub const LEADER_METADATA: &str = "roadstead-leader";
