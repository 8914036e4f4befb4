//! A node: a machine whose agent runs tasks.

use crate::{NodeId, Resources};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an agent says of its machine when its session begins; stored, so that a silent node is still known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub hostname: String,
    /// What an edge dials for the host ports of its tasks.
    pub address: String,
    /// What it offers; may exceed the hardware.
    pub resources: Resources,
    pub attributes: BTreeMap<String, String>,
    /// `docker` or `process`.
    pub runtime: String,
    /// What that runtime lacks on this machine, in words.
    pub limits: Vec<String>,
    /// The cluster's word, not the agent's: it takes no new tasks, and those it has move elsewhere.
    #[serde(default)]
    pub draining: bool,
}
