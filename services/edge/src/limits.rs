//! Every limit and default of the edge, in one place.

use std::time::Duration;

// ---- clients --------------------------------------------------------------------------------------------------------

/// Client connections served at once, over all listeners; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Bytes of one request head, and of hyper's buffer per direction.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of one head, either side.
pub const HEADERS_MAX: usize = 256;
/// A request head must arrive within this time; also how long a kept-alive connection may idle (vulcand's
/// `-serverReadTimeout`).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes nothing of its response for this long is cut (vulcand's `-serverWriteTimeout` cuts slow ones too).
pub const CLIENT_STALL_MAX: Duration = Duration::from_secs(60);
/// How long requests in flight and tunnels may take to end after a stop.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// After `accept` fails (usually: too many open files) a listener rests this long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Listeners the store may ask for.
pub const LISTENERS_MAX: usize = 64;
/// A listener that could not be bound is tried again this often.
pub const LISTENER_RETRY: Duration = Duration::from_secs(5);

// ---- servers --------------------------------------------------------------------------------------------------------

/// vulcand's `-endpointDialTimeout`.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// From the last byte of the request to the head of the response (vulcand's effective default).
pub const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A response body must move at least once in this time.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(300);
/// Idle connections kept per server.
pub const IDLE_CONNECTIONS_MAX: usize = 64;
/// An idle connection is not used after this time: servers close theirs, and a request sent into a closing connection is lost.
pub const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);
/// A request with a body cannot be replayed, so it takes a pooled connection only if that was in use this recently.
pub const IDLE_CONNECTION_MAX_FOR_BODY: Duration = Duration::from_secs(1);
/// A connection whose response ended must be ready again within this time to be kept.
pub const REUSE_READY_MAX: Duration = Duration::from_secs(1);
/// A server that refused a connection, or closed one before answering, is passed over for this long while others exist.
pub const FAILED_SERVER_PAUSE: Duration = Duration::from_secs(1);
/// The response to a GET is read whole before its head is sent on when its Content-Length is at most this, so that a server
/// that dies in the middle of it can be replaced.
pub const READ_AHEAD_BYTES_MAX: u64 = 64 * 1024;
/// How long a client that said `Expect: 100-continue` is left waiting for the server's word before its body is asked for.
pub const EXPECT_TIMEOUT: Duration = Duration::from_secs(1);

// ---- store and controller -------------------------------------------------------------------------------------------

/// Changes from the store that wait to be applied; the watches wait when it is full.
pub const CHANGES_QUEUE_MAX: usize = 64;
/// Pauses between attempts to reach the store or the controller: doubled from the first to the last.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// A source that suddenly holds nothing is read once more after this time before it is believed.
pub const EMPTY_CONFIRM: Duration = Duration::from_secs(1);
/// Everything is read again this often, beside the watches: a watch that fell silent is found out, and the applied revision
/// moves on though no route changes.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(30);
/// Time to reach the controller, and between signs of life on its connection.
pub const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = assert!(IDLE_CONNECTION_MAX_FOR_BODY.as_millis() < IDLE_CONNECTION_MAX.as_millis());
const _: () = assert!(HEAD_BYTES_MAX >= 8192, "hyper's least buffer");
