//! Resources are integers inside: milli-cpus and bytes.

use serde::{Deserialize, Serialize};

pub const BYTES_PER_MIB: u64 = 1 << 20;

/// What a node offers, or what a task needs (then without ports).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    pub cpus_milli: u64,
    pub mem_bytes: u64,
    pub disk_bytes: u64,
    pub ports: Vec<PortRange>,
}

/// Inclusive at both ends, as Mesos writes `ports:[31000-32000]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub begin: u16,
    pub end: u16,
}

impl PortRange {
    pub fn contains(&self, port: u16) -> bool {
        self.begin <= port && port <= self.end
    }
}

/// `0.1` cpus as 100 milli-cpus: rounded to the nearest, so that 0.1 + 0.2 is 0.3.
pub fn cpus_to_milli(cpus: f64) -> u64 {
    (cpus * 1000.0).round().max(0.0) as u64
}

pub fn milli_to_cpus(milli: u64) -> f64 {
    milli as f64 / 1000.0
}

pub fn mib_to_bytes(mib: f64) -> u64 {
    (mib * BYTES_PER_MIB as f64).round().max(0.0) as u64
}

pub fn bytes_to_mib(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_MIB as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_add_up() {
        assert_eq!(cpus_to_milli(0.1) + cpus_to_milli(0.2), cpus_to_milli(0.3));
        assert_eq!(milli_to_cpus(100), 0.1);
        assert_eq!(bytes_to_mib(mib_to_bytes(64.0)), 64.0);
    }
}
