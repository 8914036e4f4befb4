//! The Store trait, the client of real etcd, and the embedded engine with its v3 server.
//!
//! Everything above speaks to [`Store`]: on one machine to our own server, on many to real etcd, by the same client and
//! the same protocol.

mod api;
mod client;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod convert;
pub mod dump;
mod embedded;
mod engine;
#[cfg(any(test, feature = "testing"))]
pub mod meddled;
mod members;
mod refusal;
mod server;
mod wire;

pub use api::*;
pub use client::{ClientCredentials, ConnectError, EtcdClient};
pub use embedded::{Embedded, OpenError, Options, Status};
pub use engine::Limits;
pub use members::{Member, MemberId, MemberStatus, Members};
pub use server::{Config, StartError, start};
