//! Placement, deployments, back-off and health verdicts, as pure functions: time, ids and what was seen come in, changes
//! leave as data.
//!
//! The controller keeps a [`World`]. Time first: [`World::judge`] says which nodes are silent. What a user asks for becomes changes by [`submit`]; what the world then needs becomes
//! changes by [`plan`], which looks at everything on every pass and never at the event that woke it: a pass that was
//! lost, repeated or interrupted does no harm. [`World::apply`] carries a change out; [`explain`] says why nothing
//! happens.

mod backoff;
mod change;
mod deadline;
mod deployment;
mod drain;
mod explain;
mod placement;
mod plan;
mod policy;
mod standing;
pub mod submit;
mod world;

pub use backoff::launch_delay;
pub use change::{Change, RetireReason};
pub use deadline::next_deadline;
pub use deployment::CyclicDependencies;
pub use drain::{drained, server_url, serving};
pub use explain::explain;
pub use placement::{NodeUsage, Reason, Unplaced};
pub use plan::{Plan, plan};
pub use policy::{EDGE_SILENCE_MAX, LOST_AFTER, Policy, SUSPECT_AFTER};
pub use standing::{Brake, Standing, standing};
pub use world::{AppRecord, Backoff, EdgeRecord, Failure, NodeRecord, TaskRecord, World};

/// Makes UUIDs: the unique part of task ids, and the ids of deployments. (The cores draw no random bits.)
pub type MakeUuid<'a> = &'a mut dyn FnMut() -> String;

#[cfg(test)]
mod tests;
