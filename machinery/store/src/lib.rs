//! The Store trait, the client of real etcd, and the embedded engine with its v3 server.

mod api;

pub use api::*;
