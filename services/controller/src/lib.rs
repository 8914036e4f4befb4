//! Leader duties: the Marathon API, agent and edge sessions, reconcilers.
//!
//! One task, the [`leader`], owns the [`World`](scheduler::World). Faces read an immutable view of it and ask for changes
//! through the [`desk`]; [`sessions`] carry what agents and edges say to the leader and desired sets to agents. The
//! leader plans with the pure `scheduler`, writes each plan to the store (see [`keys`]), and only then believes it.
//!
//! In a [`cluster`] there are several controllers, of which one leads: decided by [`election`], done by the [`office`]. The
//! [`faces`] live as long as the process; they reach the [`term`] while it leads, and the leader through the [`proxy`]
//! otherwise. Certificates for apps' own names are [`acme`]'s.

pub mod acme;
pub mod api;
pub mod cluster;
mod desired;
pub mod desk;
mod election;
mod environment;
mod faces;
mod history;
mod keys;
mod leader;
mod load;
mod office;
mod peers;
mod proxy;
mod routes;
mod service;
mod sessions;
mod term;
mod uuids;

pub use cluster::Cluster;
pub use leader::LeaderError;
pub use service::{Config, Error, MakeVulcandApi, start};

#[cfg(test)]
mod test_random;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
