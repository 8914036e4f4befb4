//! Names of namespaces: `netlab-<prefix>-<pid>-<start>-<lab>-<part>`. Process id and start time (proc(5), field 22) name the
//! owner even after its id was given to another process, so that what a killed run left can be told from what is in use.

use crate::Error;
use crate::processes;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const FAMILY: &str = "netlab";
/// Longest prefix or node name; two of them, a family and three numbers stay far below 255 bytes (`NAME_MAX`).
pub(crate) const PART_MAX: usize = 32;

/// Labs of this process so far.
static LABS: AtomicU64 = AtomicU64::new(0);

/// The names of one lab.
#[derive(Debug)]
pub(crate) struct Names {
    stem: String,
}

impl Names {
    pub fn of_this_process(prefix: &str) -> Result<Self, Error> {
        let prefix = part(prefix)?;
        let pid = nix::unistd::getpid().as_raw();
        let start = processes::start_time(pid)
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
            .map_err(Error::io("read when this process was started"))?;
        let lab = LABS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { stem: format!("{FAMILY}-{prefix}-{pid}-{start}-{lab}-") })
    }

    pub fn namespace(&self, name: &str) -> Result<String, Error> {
        Ok(format!("{}{}", self.stem, part(name)?))
    }

    /// Namespaces of this lab that are there.
    pub fn existing(&self, directory: &Path) -> Vec<String> {
        entries(directory).filter(|name| name.starts_with(&self.stem)).collect()
    }
}

fn part(text: &str) -> Result<&str, Error> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.is_empty() && text.len() <= PART_MAX && text.bytes().all(is_plain) {
        Ok(text)
    } else {
        Err(Error::Name { name: text.to_owned() })
    }
}

/// Namespaces of labs whose owner is no more.
pub(crate) fn left_by_the_dead(directory: &Path) -> Vec<String> {
    entries(directory)
        .filter(|name| owner(name).is_some_and(|(pid, start)| processes::start_time(pid) != Some(start)))
        .collect()
}

/// Process id and start time of the owner; `None` when the name is not of our family.
fn owner(name: &str) -> Option<(i32, u64)> {
    let parts: Vec<&str> = name.split('-').collect();
    match parts.as_slice() {
        [FAMILY, _prefix, pid, start, _lab, _part] => Some((pid.parse().ok()?, start.parse().ok()?)),
        _ => None,
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = String> {
    // Without a directory there has never been a named namespace.
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        let names = Names::of_this_process("test").unwrap();
        let name = names.namespace("node1").unwrap();
        let pid = nix::unistd::getpid().as_raw();
        assert_eq!(owner(&name), Some((pid, processes::start_time(pid).unwrap())));
        for foreign in ["cni-1234", "netlab-x-1-2-3", "netlab-x-pid-2-3-a", "other-x-1-2-3-a", ""] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_what_a_dead_owner_left_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let living = Names::of_this_process("test").unwrap().namespace("node1").unwrap();
        let pid = nix::unistd::getpid().as_raw();
        // Our process id, at another time: its owner is no more.
        let dead = format!("netlab-test-{pid}-1-0-node1");
        for name in [living.as_str(), dead.as_str(), "foreign"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let swept = left_by_the_dead(directory);
        assert_eq!(swept, [dead]);
    }

    #[test]
    fn parts_are_plain() {
        let long = "a".repeat(PART_MAX + 1);
        for text in ["", "a-b", "A", "a/b", "ä", long.as_str()] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
