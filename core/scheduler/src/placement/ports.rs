//! Host ports: a fixed one as asked, the others the lowest free ones the node offers; those on which a task just failed
//! come last.

use super::Reason;
use model::{App, PortMapping, PortRange};
use std::collections::BTreeSet;

pub(super) fn choose(
    offered: &[PortRange],
    taken: &BTreeSet<u16>,
    shunned: &dyn Fn(u16) -> bool,
    app: &App,
) -> Result<Vec<u16>, Reason> {
    let is_offered = |port: u16| offered.iter().any(|range| range.contains(port));
    let fixed: Vec<u16> = app.ports.iter().map(|mapping| fixed_port(app, mapping)).collect();
    let mut held: BTreeSet<u16> = BTreeSet::new();
    for port in fixed.iter().copied().filter(|port| *port != 0) {
        if !is_offered(port) {
            return Err(Reason::PortNotOffered { port });
        }
        if taken.contains(&port) || !held.insert(port) {
            return Err(Reason::PortTaken { port });
        }
    }
    let mut ranges: Vec<PortRange> = offered.to_vec();
    ranges.sort_by_key(|range| range.begin);
    let free = || ranges.iter().flat_map(|range| range.begin..=range.end).filter(|port| !taken.contains(port));
    let mut free = free().filter(|port| !shunned(*port)).chain(free().filter(|port| shunned(*port)));
    let mut ports = Vec::with_capacity(fixed.len());
    for port in fixed {
        let chosen = if port != 0 { Some(port) } else { free.find(|port| !held.contains(port)) };
        let chosen = chosen.ok_or(Reason::Ports { needed: app.ports.len() })?;
        held.insert(chosen);
        ports.push(chosen);
    }
    Ok(ports)
}

/// 0: any.
fn fixed_port(app: &App, mapping: &PortMapping) -> u16 {
    if mapping.host_port == 0 && app.require_ports { mapping.service_port } else { mapping.host_port }
}
