//! Placement, deployments, back-off and health verdicts, as pure functions: time, ids and what was seen come in, changes
//! leave as data.

mod world;

pub use world::{AppRecord, Backoff, EdgeRecord, Failure, NodeRecord, TaskRecord, World};
