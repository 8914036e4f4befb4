//! Mutual TLS over real sockets: who is let in and who is not, renewal under way, joining, tunnels.

mod cluster;
mod faces;
mod joining;
mod refusals;
mod removal;
mod renewal;
mod tunnel;
