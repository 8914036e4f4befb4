//! The edge as its clients, its servers and its controller see it, over a store in memory.

mod accesslog;
mod api;
mod balancing;
mod buffering;
mod failover;
mod faults;
mod forwarding;
mod harness;
mod health;
mod hostile;
mod http2;
mod kept;
mod memory_store;
mod middlewares;
mod mirror;
mod observation;
mod peers;
mod proxy_header;
mod retry;
mod routes;
mod scenarios;
mod session;
mod tcp;
mod tls;
mod traces;
mod vulcands_suites;
