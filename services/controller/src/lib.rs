//! Leader duties: the Marathon API, agent and edge sessions, reconcilers.

pub mod api;
pub mod desk;
