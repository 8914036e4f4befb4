//! The rules, one by one; and worlds to test them in.

mod deployments;
mod drains;
mod failures;
mod properties;
mod rolls;
mod simulation;
pub(crate) mod worlds;
