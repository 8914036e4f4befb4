//! HTTP plumbing that every face shares: serving a router with bounds and drain, the `Range` header, and a client that
//! dials an address.

mod client;
mod connector;
mod grpc;
pub mod range;
mod serve;

pub use client::{Body, Client, ClientError, Credentials, empty_body, full_body};
pub use grpc::grpc_or;
pub use hyper::body::Incoming;
pub use serve::{Bounds, bind, bind_unix, serve, serve_unix};
