//! Where a task goes: a node that is live, has the resources and the host ports, and meets the app's constraints. Of those,
//! the one with the fewest of the app's tasks, so that losing a node takes as little of an app as can be; then the one with
//! the largest free share; then the first by id.

mod constraints;
mod ports;

use crate::{NodeRecord, Standing, World};
use constraints::Constraints;
use model::{App, NodeId, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the tasks of a node hold.
#[derive(Clone, Debug, Default)]
pub struct NodeUsage {
    pub cpus_milli: u64,
    pub mem_bytes: u64,
    pub disk_bytes: u64,
    pub ports: BTreeSet<u16>,
}

/// Why a node does not take a task; the names of `/v2/queue` are Marathon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Disconnected,
    /// It was not heard for a while, though its session is open.
    Silent,
    Draining,
    Cpus {
        needed_milli: u64,
        free_milli: u64,
    },
    Memory {
        needed_bytes: u64,
        free_bytes: u64,
    },
    Disk {
        needed_bytes: u64,
        free_bytes: u64,
    },
    /// Fewer free ports than the app has.
    Ports {
        needed: usize,
    },
    PortTaken {
        port: u16,
    },
    PortNotOffered {
        port: u16,
    },
    Constraint {
        text: String,
    },
}

/// Why no node takes a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced(pub BTreeMap<NodeId, Reason>);

/// Usage of all nodes, kept up to date while a pass launches.
#[derive(Clone, Debug)]
pub(crate) struct Placer {
    usage: BTreeMap<NodeId, NodeUsage>,
    now: Timestamp,
}

/// How many tasks of an app each node has; of a node that is not listed, none.
pub(crate) type Spread = BTreeMap<NodeId, usize>;

#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub node: NodeId,
    pub ports: Vec<u16>,
}

impl Placer {
    /// Every task holds its resources until it was seen to have ended.
    pub(crate) fn of(world: &World, now: Timestamp) -> Self {
        let mut placer = Self { usage: BTreeMap::new(), now };
        for record in world.tasks.values().filter(|record| !record.seen.state.is_terminal()) {
            let app = world.app_of(&record.task);
            placer.take(&record.task.node, app.map(AsRef::as_ref), &record.task.ports);
        }
        placer
    }

    pub(crate) fn take(&mut self, node: &NodeId, app: Option<&App>, ports: &[u16]) {
        let usage = self.usage.entry(node.clone()).or_default();
        usage.ports.extend(ports);
        if let Some(app) = app {
            usage.cpus_milli = usage.cpus_milli.saturating_add(app.cpus_milli);
            usage.mem_bytes = usage.mem_bytes.saturating_add(app.mem_bytes);
            usage.disk_bytes = usage.disk_bytes.saturating_add(app.disk_bytes);
        }
    }

    pub(crate) fn place(&self, world: &World, app: &App, spread: &Spread) -> Result<Placement, Unplaced> {
        let constraints = Constraints::of(world, app);
        let mut best: Option<((Reverse<usize>, u64), Placement)> = None;
        let mut reasons = BTreeMap::new();
        let unused = NodeUsage::default();
        for (id, record) in &world.nodes {
            let usage = self.usage.get(id).unwrap_or(&unused);
            let shunned =
                |port: u16| world.shunned_ports.get(&(id.clone(), port)).is_some_and(|until| self.now < *until);
            match fit(record, usage, app, &constraints, &shunned) {
                Ok(ports) => {
                    let fewest = Reverse(spread.get(id).copied().unwrap_or(0));
                    let merit = (fewest, free_share(record, usage));
                    if best.as_ref().is_none_or(|(most, _)| merit > *most) {
                        best = Some((merit, Placement { node: id.clone(), ports }));
                    }
                }
                Err(reason) => drop(reasons.insert(id.clone(), reason)),
            }
        }
        best.map(|(_, placement)| placement).ok_or(Unplaced(reasons))
    }
}

fn fit(
    record: &NodeRecord,
    usage: &NodeUsage,
    app: &App,
    constraints: &Constraints,
    shunned: &dyn Fn(u16) -> bool,
) -> Result<Vec<u16>, Reason> {
    let offered = &record.node.resources;
    if !record.connected {
        return Err(Reason::Disconnected);
    }
    match record.standing {
        Standing::Suspected { .. } | Standing::Lost { .. } => return Err(Reason::Silent),
        _ if record.node.draining => return Err(Reason::Draining),
        _ => {}
    }
    let free_milli = offered.cpus_milli.saturating_sub(usage.cpus_milli);
    if app.cpus_milli > free_milli {
        return Err(Reason::Cpus { needed_milli: app.cpus_milli, free_milli });
    }
    let free_bytes = offered.mem_bytes.saturating_sub(usage.mem_bytes);
    if app.mem_bytes > free_bytes {
        return Err(Reason::Memory { needed_bytes: app.mem_bytes, free_bytes });
    }
    // A node that offers no disk has not measured it.
    let free_bytes = offered.disk_bytes.saturating_sub(usage.disk_bytes);
    if offered.disk_bytes > 0 && app.disk_bytes > free_bytes {
        return Err(Reason::Disk { needed_bytes: app.disk_bytes, free_bytes });
    }
    constraints.check(&record.node)?;
    ports::choose(&offered.ports, &usage.ports, shunned, app)
}

/// The smaller of the free shares of cpu and memory, in parts of 2^32.
fn free_share(record: &NodeRecord, usage: &NodeUsage) -> u64 {
    let share = |used: u64, offered: u64| {
        let free = u128::from(offered.saturating_sub(used));
        ((free << 32) / u128::from(offered.max(1))) as u64
    };
    let offered = &record.node.resources;
    share(usage.cpus_milli, offered.cpus_milli).min(share(usage.mem_bytes, offered.mem_bytes))
}

impl Reason {
    /// As Marathon's `/v2/queue` names it.
    pub fn marathon_name(&self) -> &'static str {
        match self {
            Self::Disconnected | Self::Silent | Self::Draining => "AgentMaintenance",
            Self::Cpus { .. } => "InsufficientCpus",
            Self::Memory { .. } => "InsufficientMemory",
            Self::Disk { .. } => "InsufficientDisk",
            Self::Ports { .. } | Self::PortTaken { .. } | Self::PortNotOffered { .. } => "InsufficientPorts",
            Self::Constraint { .. } => "UnfulfilledConstraint",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| model::resources::bytes_to_mib(bytes);
        let cpus = |milli: u64| model::resources::milli_to_cpus(milli);
        match self {
            Self::Disconnected => f.write_str("its agent is away"),
            Self::Silent => f.write_str("its agent is silent"),
            Self::Draining => f.write_str("it is being drained"),
            Self::Cpus { needed_milli, free_milli } => {
                write!(f, "needs {} cpus, {} are free", cpus(*needed_milli), cpus(*free_milli))
            }
            Self::Memory { needed_bytes, free_bytes } => {
                write!(f, "needs {} MiB of memory, {:.1} are free", mib(*needed_bytes), mib(*free_bytes))
            }
            Self::Disk { needed_bytes, free_bytes } => {
                write!(f, "needs {} MiB of disk, {:.1} are free", mib(*needed_bytes), mib(*free_bytes))
            }
            Self::Ports { needed } => write!(f, "needs {needed} host ports, fewer are free"),
            Self::PortTaken { port } => write!(f, "needs host port {port}, which is taken"),
            Self::PortNotOffered { port } => write!(f, "needs host port {port}, which it does not offer"),
            Self::Constraint { text } => write!(f, "constraint {text} is not met"),
        }
    }
}

#[cfg(test)]
mod tests;
