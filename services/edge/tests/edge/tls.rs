//! TLS, in front and towards servers.

mod client;
mod front;
mod hostile;
mod servers;
mod stapling;

pub use client::{Authority, certificate, edge as secure_edge, https, parts, seal_key, shown};
