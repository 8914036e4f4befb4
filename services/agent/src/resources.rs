//! What a node offers: Mesos' notation `cpus:8;mem:2048;disk:10240;ports:[31000-32000]`, mem and disk in MiB.

use protocol::{PortRange, Resources};
use std::fs;

/// Mesos' default offer.
const DEFAULT_PORTS: PortRange = PortRange { begin: 31000, end: 32000 };
const MIB: u64 = 1 << 20;
/// More ranges than anyone writes by hand.
const PORT_RANGES_MAX: usize = 64;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResourcesError {
    #[error("resource {text:?} has no `name:value`")]
    Form { text: String },
    #[error("unknown resource {name:?}: cpus, mem, disk and ports are known")]
    Unknown { name: String },
    #[error("resource {name} is named twice")]
    Twice { name: String },
    #[error("{name}: {value:?} is not a quantity")]
    Quantity { name: String, value: String },
    #[error("ports: {value:?} is not a list of ranges such as [31000-32000]")]
    Ports { value: String },
}

/// Parses an offer; what it does not name is this machine's own.
pub fn parse_resources(text: &str) -> Result<Resources, ResourcesError> {
    let mut resources = default_resources();
    let mut seen: Vec<&str> = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once(':').ok_or_else(|| ResourcesError::Form { text: part.to_owned() })?;
        let (name, value) = (name.trim(), value.trim());
        if seen.contains(&name) {
            return Err(ResourcesError::Twice { name: name.to_owned() });
        }
        match name {
            "cpus" => resources.cpus_milli = thousandths(name, value)?,
            "mem" => resources.mem_bytes = mebibytes(name, value)?,
            "disk" => resources.disk_bytes = mebibytes(name, value)?,
            "ports" => resources.ports = ports(value)?,
            _ => return Err(ResourcesError::Unknown { name: name.to_owned() }),
        }
        seen.push(name);
    }
    Ok(resources)
}

/// This machine's cores and memory, and Mesos' ports. Disk is not measured: no task is confined to a share of it.
pub fn default_resources() -> Resources {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mem_bytes = memory_total(&meminfo).unwrap_or(512 * MIB);
    Resources { cpus_milli: cores * 1000, mem_bytes, disk_bytes: 0, ports: vec![DEFAULT_PORTS] }
}

/// `MemTotal:  12345 kB` (proc_meminfo(5)).
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Decimal notation, without a detour over floating point; more than three digits after the point are not meant.
fn thousandths(name: &str, value: &str) -> Result<u64, ResourcesError> {
    let bad = || ResourcesError::Quantity { name: name.to_owned(), value: value.to_owned() };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let fraction: u64 = format!("{fraction:0<3}").parse().map_err(|_| bad())?;
    whole.checked_mul(1000).and_then(|milli| milli.checked_add(fraction)).ok_or_else(bad)
}

fn mebibytes(name: &str, value: &str) -> Result<u64, ResourcesError> {
    let bad = || ResourcesError::Quantity { name: name.to_owned(), value: value.to_owned() };
    let milli = thousandths(name, value)?;
    milli.checked_mul(MIB).map(|bytes| bytes / 1000).ok_or_else(bad)
}

fn ports(value: &str) -> Result<Vec<PortRange>, ResourcesError> {
    let bad = || ResourcesError::Ports { value: value.to_owned() };
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(bad)?;
    let mut ranges = Vec::new();
    for range in inner.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (begin, end) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| bad());
        let (begin, end) = (port(begin)?, port(end)?);
        if begin == 0 || begin > end || ranges.len() == PORT_RANGES_MAX {
            return Err(bad());
        }
        ranges.push(PortRange { begin: begin.into(), end: end.into() });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_demos_offer_is_read() {
        let resources = parse_resources("cpus:8;mem:2048;ports:[31000-32000]").unwrap();
        assert_eq!((resources.cpus_milli, resources.mem_bytes), (8000, 2 << 30));
        assert_eq!(resources.ports, [PortRange { begin: 31000, end: 32000 }]);
        let resources = parse_resources(" cpus : 0.25 ; disk:1;ports:[1-2, 9]").unwrap();
        assert_eq!((resources.cpus_milli, resources.disk_bytes, resources.ports.len()), (250, MIB, 2));
        assert!(resources.mem_bytes > 0);
    }

    #[test]
    fn what_is_not_said_is_the_machines_own() {
        assert_eq!(parse_resources("").unwrap(), default_resources());
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:   2048 kB\n"), Some(2 << 20));
        assert_eq!(memory_total("MemTotal: many"), None);
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |text| parse_resources(text).unwrap_err().to_string();
        assert!(error("cpu:8").contains("\"cpu\""));
        assert!(error("cpus:8;cpus:9").contains("twice"));
        for text in [
            "cpus",
            "cpus:",
            "cpus:-1",
            "cpus:1e9",
            "cpus:0.0001",
            "mem:99999999999999999999",
            "ports:31000-32000",
            "ports:[2-1]",
            "ports:[0-1]",
            "ports:[70000]",
        ] {
            assert!(parse_resources(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _outcome = parse_resources(&text);
        }
    }
}
