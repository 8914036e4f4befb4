//! The rules, one by one; and worlds to test them in.

mod deployments;
mod draining;
mod drains;
mod failures;
mod partitions;
mod properties;
mod rolls;
mod silence;
mod simulation;
pub(crate) mod worlds;
