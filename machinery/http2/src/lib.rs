//! The server's side of HTTP/2 (RFC 9113), without I/O and without a clock. The house's language is HTTP/1: a client's bytes
//! come in ([`Connection::receive`]) and go on as heads of HTTP/1, written straight from their fields, and as bodies; the heads
//! of answers become fields in the buffer that goes to the socket ([`Connection::unsent`]). Nothing in between is a map of
//! headers, a list of frames or a queue of tasks: that is what the time of a proxied request would go to.
//!
//! ```text
//! socket ── receive ── frame ── block ── hpack ── request ──> a head of HTTP/1, a stream's Key
//!                        └───── data ── stream ────────────── read
//! socket <── unsent ── out <── frames <── hpack <── answer <── respond
//!                               └── windows <───────────────── send, send_trailers
//! ```
//!
//! # Bounds
//! What a client may send before it is read: its stream's window, and the connection's. What waits for its socket:
//! [`Limits::unsent_bytes_max`] of data; what is answered besides (acknowledgements) is bounded by who reads: nobody should
//! while that is full. Headers: [`Limits::head_bytes_max`], in their compressed form, too. Streams: [`Limits::streams_max`].
//! Frames that cost nothing: [`CALM_BURST`], [`CALM_PER_SECOND`].
//!
//! # What it leaves out
//! Server push, priorities (RFC 9113 deprecates them), and a dynamic table for the headers of answers.

mod answer;
mod calm;
mod closed;
mod connection;
mod frame;
mod hpack;
mod out;
mod reason;
mod request;
mod stream;

pub use answer::BadAnswer;
pub use calm::{CALM_BURST, CALM_PER_SECOND};
pub use connection::{Connection, Event, Limits, Request, Responded, SendError, Unread};
pub use frame::PREFACE;
pub use reason::{Malformed, Reason};
pub use request::Head;
pub use stream::Key;
