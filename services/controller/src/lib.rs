//! Leader duties: the Marathon API, agent and edge sessions, reconcilers.

pub mod desk;
