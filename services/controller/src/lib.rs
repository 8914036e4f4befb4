//! Leader duties: the Marathon API, agent and edge sessions, reconcilers.
//!
//! One task, the [`leader`], owns the [`World`](scheduler::World). Faces read an immutable view of it and ask for changes
//! through the [`desk`]; [`sessions`] carry what agents and edges say to the leader and desired sets to agents. The
//! leader plans with the pure `scheduler`, writes each plan to the store (see [`keys`]), and only then believes it.

pub mod api;
mod desired;
pub mod desk;
mod environment;
mod keys;
mod leader;
mod load;
mod routes;
mod service;
mod sessions;
mod uuids;

pub use leader::LeaderError;
pub use service::{Config, Error, start};

#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
