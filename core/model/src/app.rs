//! An app: what a user asks for, at one version.

use crate::{AppId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One version of an app's definition, validated and with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub id: AppId,
    pub version: Timestamp,
    pub instances: u32,
    /// By `/bin/sh -c`.
    pub cmd: Option<String>,
    pub args: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub cpus_milli: u64,
    pub mem_bytes: u64,
    pub disk_bytes: u64,
    pub image: Option<Image>,
    pub network: Network,
    /// In the order of `PORT0`, `PORT1`, …
    pub ports: Vec<PortMapping>,
    /// The declared ports must be the host ports.
    pub require_ports: bool,
    pub volumes: Vec<Volume>,
    pub constraints: Vec<Constraint>,
    pub health_checks: Vec<HealthCheck>,
    pub upgrade_strategy: UpgradeStrategy,
    pub backoff: Duration,
    pub backoff_factor: f64,
    pub launch_delay_max: Duration,
    pub kill_grace: Duration,
    pub kill_selection: KillSelection,
    pub dependencies: Vec<AppId>,
    /// Fields of Marathon that are kept and shown but mean nothing here (executor, uris, storeUrls, …), as they came.
    pub extra: BTreeMap<String, String>,
}

impl App {
    /// Equal but for version and instances: a change that only scales.
    pub fn is_scaled(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.version = self.version;
        other.instances = self.instances;
        *self == other
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub reference: String,
    pub force_pull: bool,
    pub privileged: bool,
    /// Docker's own flags, by name.
    pub parameters: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    Host,
    Bridge,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// 0: the same as the host port.
    pub container_port: u16,
    /// 0: the lowest free one of the node's offer.
    pub host_port: u16,
    /// Unique in the cluster; given out from 10000 when the app says 0.
    pub service_port: u16,
    /// `tcp`, `udp` or `udp,tcp`.
    pub protocol: String,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub container_path: String,
    pub host_path: String,
    pub read_only: bool,
}

/// `[field, operator, value?]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname` or an attribute of the node.
    pub field: String,
    pub operator: ConstraintOperator,
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintOperator {
    Unique,
    Cluster,
    GroupBy,
    Like,
    Unlike,
    MaxPer,
    Is,
}

impl ConstraintOperator {
    pub const ALL: [Self; 7] =
        [Self::Unique, Self::Cluster, Self::GroupBy, Self::Like, Self::Unlike, Self::MaxPer, Self::Is];

    /// Marathon's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Like => "LIKE",
            Self::Unlike => "UNLIKE",
            Self::MaxPer => "MAX_PER",
            Self::Is => "IS",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub protocol: HealthProtocol,
    pub path: String,
    /// An index into the app's ports.
    pub port_index: usize,
    pub command: Option<String>,
    pub grace: Duration,
    pub interval: Duration,
    pub timeout: Duration,
    /// A task is killed at failure number max + 1; 0: never.
    pub consecutive_failures_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthProtocol {
    Http,
    Tcp,
    Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    /// 0 to 1: the part of the instances that stays healthy while rolling.
    pub minimum_health_capacity: f64,
    /// 0 to 1: the part of the instances that may run on top while rolling.
    pub maximum_over_capacity: f64,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        Self { minimum_health_capacity: 1.0, maximum_over_capacity: 1.0 }
    }
}

/// Which tasks go first when an app is scaled down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillSelection {
    #[default]
    YoungestFirst,
    OldestFirst,
}
