//! HTTP plumbing that every face shares: serving a router with bounds and drain, plain or over TLS, the `Range` header, a
//! client that dials an address, gRPC channels, and tunnels of bytes over mutual TLS.
//!
//! Whom to trust is not decided here: a TLS configuration is handed in, and the certificate it verified is handed on.

mod channel;
mod client;
mod connector;
mod grpc;
mod keepalive;
pub mod range;
mod serve;
mod tls;
pub mod tunnel;

pub use channel::{grpc_channel, grpc_connect};
pub use client::{Body, Client, ClientError, Credentials, empty_body, full_body};
pub use grpc::grpc_or;
pub use hyper::body::Incoming;
pub use serve::{Bounds, bind, bind_unix, serve, serve_tls, serve_unix};
pub use tls::{ALPN_HTTP1, ALPN_HTTP2, HANDSHAKE_TIMEOUT, HandshakeError, PeerCertificate, ServerTls};
