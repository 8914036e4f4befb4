//! Which processes are a node's: those whose network namespace is the node's, and all their descendants (a container has
//! a namespace of its own).

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The part of `/proc/<pid>/stat` we use.
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field, the name in parentheses, may hold anything: what follows its last `)` is read (proc(5)).
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        Some(Self { state, parent: fields.get(1)?.parse().ok()?, start_time: fields.get(19)?.parse().ok()? })
    }
}

/// When a living process was started, in the kernel's ticks since boot.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    Stat::read(pid).map(|stat| stat.start_time)
}

/// Living processes of a network namespace and their descendants; never the calling process.
pub(crate) fn of_namespace(namespace: &Path) -> io::Result<Vec<i32>> {
    let wanted = identity(namespace)?;
    let mut parents = BTreeMap::new();
    let mut members = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // What ends while we look is no member; a zombie has ended.
        let Some(stat) = Stat::read(pid).filter(|stat| stat.state != 'Z') else { continue };
        parents.insert(pid, stat.parent);
        if identity(&entry.path().join("ns/net")).is_ok_and(|namespace| namespace == wanted) {
            members.insert(pid);
        }
    }
    let own = nix::unistd::getpid().as_raw();
    Ok(parents.keys().copied().filter(|pid| *pid != own && descends(*pid, &members, &parents)).collect())
}

/// Whether a process is a member or descends from one. Ids change hands while we look: the walk is bounded.
fn descends(pid: i32, members: &BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> bool {
    let mut current = pid;
    for _ in 0..=parents.len() {
        if members.contains(&current) {
            return true;
        }
        match parents.get(&current) {
            Some(parent) => current = *parent,
            None => return false,
        }
    }
    false
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Sends a signal to each that is still there.
pub(crate) fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        if let Err(error) = kill(Pid::from_raw(*pid), signal) {
            tracing::debug!(pid, %signal, %error, "it has ended before");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let numbers: Vec<String> = (5..=30).map(|field| field.to_string()).collect();
        let stat = Stat::parse(&format!("42 (a) Z (b) S 7 {}", numbers.join(" "))).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_time), ('S', 7, 22));
        assert!(Stat::parse("42 (a S 7").is_none());
    }

    #[test]
    fn descendants_are_members_however_deep() {
        let parents = BTreeMap::from([(1, 0), (2, 1), (3, 2), (4, 3), (5, 1)]);
        let members = BTreeSet::from([2]);
        let found: Vec<i32> = parents.keys().copied().filter(|pid| descends(*pid, &members, &parents)).collect();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let parents = BTreeMap::from([(2, 3), (3, 2)]);
        assert!(!descends(2, &BTreeSet::new(), &parents));
    }
}
