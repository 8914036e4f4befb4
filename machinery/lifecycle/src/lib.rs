//! Readiness, ordered shutdown, logs, metrics.
//!
//! Every service starts the same way: it binds its listeners, returns a [`Started`] with their addresses, and works until
//! its [`Stop`] is requested. The binary prints one `ready ROLE[.part] ADDR` line per listener, waits for a signal,
//! requests the stop, and waits for [`Started::finished`] under a bound.

pub mod error_chain;
pub mod logs;
pub mod metrics;
mod started;
mod stop;

pub use error_chain::{BoxError, ErrorChain};
pub use started::{Address, Listening, Started};
pub use stop::Stop;
