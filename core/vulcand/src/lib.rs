//! vulcand's keys and JSON, and what they mean as routes. Pure.
//!
//! [`Key`] is one key of vulcand's layout, read or built; `objects` are the JSON values; [`State`] takes keys as they
//! change, keeps the last good value of each, and says what they amount to: routes, listeners, and problems.
//!
//! # Where this differs from vulcand, on purpose
//! * Order of writing does not matter: a frontend whose backend comes later works then.
//! * An invalid value is a [`Problem`] and the last good one serves on; nothing stops the start.
//! * A server under a backend that was never defined makes the backend, with its defaults (vulcand does so too when it sees
//!   the event, but refuses to start from the same keys).
//! * **A middleware asks for a protection.** Its settings are checked (by `core/middleware`) when its key is read, so that
//!   an invalid one leaves the last good one in force. A frontend with one that never could be read refuses every request
//!   with 503 and a clear error, instead of serving without what was asked for.
//! * `update` and compare-and-swap writes count like any other.

mod alias;
mod json;
mod key;
pub mod objects;
pub mod shape;
mod state;
pub mod statistics;

pub use alias::{Alias, AliasError};
pub use key::{BARE_PREFIX, Key, Kind, PREFIX, Prefix};
pub use objects::{Backend, Frontend, Host, Listener, Middleware, ObjectError, ProxyHeader, Server};
pub use state::{Changes, HostSpec, ListenerSpec, Problem, State};
