//! A binary upgrade without a lost connection: a new process of the edge takes the listening sockets of the old one, the
//! very same, so that no queue of waiting connections is ever closed (Linux drops what waits in the queue of a socket with
//! `SO_REUSEPORT` when that is closed).
//!
//! The two talk over a Unix socket in the edge's data directory, which only their user may open. Each message is a length
//! and JSON; the first ones have the version of all this.
//!
//! | the new one | | the old one |
//! |---|---|---|
//! | *Hello* | → | |
//! | listens on all of them, accepts nobody yet, reads the table | ← | *Sockets*, then their descriptors |
//! | *Ready* | → | says nothing to the controller any more |
//! | waits until the store's table is as new | ← | *Report*, and from now on after every change |
//! | *Serving* | → | |
//! | accepts; opens more sockets where it has more threads | ← | *Report*; accepts nobody any more, drains, ends |
//!
//! Until that *Report* the old one serves as if nothing were: if the other fails, and be it with *Serving* on its lips, it goes
//! on as before. And without it the new one serves nobody: the old one may have lost patience just then. Only the listeners
//! stay as they are from *Sockets* on: what the store asks for meanwhile is opened by the one that serves in the end.
//!
//! # The controller's view
//! Both processes are one edge to it. What the new one reports is what is true of both: the lesser revision, and whom either
//! is busy with ([`Reports`]). The old one's word comes over the same Unix socket until that closes, which it does when the
//! old one has ended. In between nobody speaks for the edge, so nothing is promised; and since the new one does not accept
//! before its table is as new as the old one's last word, no server that was reported drained is reached by it.
//!
//! After several upgrades in a row each process hears only of the one before it. So one that has drained goes on telling what
//! is true of itself and of those before, until they have ended; only then does it end itself. Where it dies earlier, the one
//! before it looks for whoever serves by then, over the same socket (*Remains*, then its *Reports*), and until it has come
//! what the dead one said of it holds. A process that starts where nobody serves any more, but somebody drains, gives that
//! one a moment to speak before it speaks to the controller itself.
//!
//! Not handed over: connections, counts, and what middlewares and balancing remember.

mod descriptors;
mod give;
mod message;
mod predecessors;
mod reports;
mod retire;
mod sockets;
mod take;
mod tell;

pub(crate) use give::Giver;
pub(crate) use predecessors::Predecessors;
pub(crate) use reports::{Reports, name};
pub(crate) use retire::retire;
pub(crate) use sockets::{Sockets, Use};
pub use take::TakeError;
pub(crate) use take::{Taken, take};
pub(crate) use tell::somebody_drains;

use std::time::Duration;

/// In the edge's data directory.
const SOCKET_FILE: &str = "succession.sock";
/// Beside it: locked (flock(2)) by those that drain.
const DRAINS_FILE: &str = "succession.drains";
/// Processes before this one that speak to it at once.
const PREDECESSORS_MAX: usize = 64;
/// How soon one that drains looks again for whoever serves.
const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// For it to find that one and speak. Both before the controller has done without an edge that it does not hear
/// ([`protocol::SESSION_SILENCE_MAX`]).
pub(crate) const HEAR_TIME: Duration = Duration::from_secs(1);
/// Of the messages; whoever has another is refused.
const VERSION: u32 = 0;
/// Of one message: some hundred thousand busy servers.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Sockets that are handed over: listeners, and for each as many as threads.
const SOCKETS_MAX: usize = 65_536;
/// For any step of the other one. The supervisor gives a process 30 s until it is ready.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// For the store to be read, and the table to be as new as the old process' last word; then one from disk may serve. The new
/// process gives up before the old one does, so that never both believe that they serve.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What one that died said of another is believed for this long: the one that serves may be handing over just now, and hear
/// the other one after that.
const HELD_MAX: Duration = Duration::from_secs(2 * STEP_TIMEOUT.as_secs());
/// For the last word of one that ends.
pub(crate) const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the old process goes on.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// For clients of HTTP/1 that idle: others leave with their next answer, or when they are told.
    pub idle: Duration,
    /// After that, for WebSockets, TCP connections and requests whose answers take long.
    pub tunnels: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), tunnels: Duration::from_secs(600) }
    }
}

const _: () = assert!(SETTLE_TIMEOUT.as_secs() < STEP_TIMEOUT.as_secs());
const _: () = assert!(REDIAL_PAUSE.as_millis() * 4 < HEAR_TIME.as_millis());
const _: () = assert!(HEAR_TIME.as_millis() * 2 < protocol::SESSION_SILENCE_MAX.as_millis());
