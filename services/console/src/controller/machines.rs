//! The controller's own documents of machines: `/v1/nodes` and `/v1/cluster`. Marathon knows neither; what a version leaves
//! out is empty here, too.

use serde::Deserialize;
use serde_json::Value;

/// A node as `/v1/nodes` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    pub id: String,
    pub hostname: String,
    pub address: String,
    /// `connected`, `silent`, or `absent`: its agent has never come.
    pub state: String,
    /// RFC 3339, as every time here.
    pub last_seen: Option<String>,
    pub draining: bool,
    pub suspected: bool,
    pub lost: bool,
    /// Since when it is suspected or lost.
    pub since: Option<String>,
    /// Why silent nodes are not given up.
    pub brake: Option<String>,
    pub resources: Value,
    pub used: Value,
    pub runtime: Value,
    pub limits: Value,
    pub tasks: Value,
    /// In a cluster: whether its controller leads.
    pub leader: Option<bool>,
    /// In a cluster: `voter`, `learner`, or none.
    pub etcd: Option<String>,
    /// In a cluster: of its binary.
    pub version: Option<String>,
}

/// A cluster as `/v1/cluster` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cluster {
    pub leader: Leader,
    pub etcd: Etcd,
    pub settings: Settings,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Leader {
    pub node: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Addresses that move between the machines, with their prefix.
    pub vips: Vec<String>,
    /// `host:port` of the tunnel to the objects, on the machine that holds them.
    pub objects: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Etcd {
    /// A majority of it answers.
    pub healthy: bool,
    /// Empty when they cannot be listed, and where they are none of the cluster's machines.
    pub members: Vec<EtcdMember>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EtcdMember {
    /// Empty until it has been started.
    pub name: String,
    /// `voter` or `learner`.
    pub role: String,
    pub healthy: bool,
    pub error: Option<String>,
}
