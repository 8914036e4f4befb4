//! Limits by control groups: version 2, version 1, or a mixture, as root. Groups are `roadstead/<task>` under each
//! controller's root.
//!
//! cpus are shares: 1 cpu weighs 1024 of version 1 (Docker's and Mesos' reading), mapped to version 2 as runc does it.

use crate::ContainerSpec;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const GROUP: &str = "roadstead";
const SHARES_PER_CPU: u64 = 1024;
/// `MIN_SHARES` and `MAX_SHARES` of the kernel's scheduler.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;

/// Where this machine keeps the two controllers we use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    memory: Option<Controller>,
    cpu: Option<Controller>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    root: PathBuf,
    unified: bool,
}

impl Cgroups {
    /// What can be used here. An ordinary user is given nothing: that takes delegation, which is not implemented.
    pub(crate) fn detect() -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::default();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Self { memory: find(&mounts, "memory"), cpu: find(&mounts, "cpu") }
    }

    pub(crate) fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if self.memory.is_none() {
            limits.push("memory is not limited: no memory control group may be used here".to_owned());
        }
        if self.cpu.is_none() {
            limits.push("cpus are not shared out by weight: no cpu control group may be used here".to_owned());
        }
        limits
    }

    /// Makes the task's groups with its limits.
    pub(crate) fn create(&self, spec: &ContainerSpec) -> io::Result<()> {
        if let Some(memory) = &self.memory {
            let group = memory.create(&spec.id)?;
            if spec.memory_bytes > 0 {
                let file = if memory.unified { "memory.max" } else { "memory.limit_in_bytes" };
                write(&group.join(file), &spec.memory_bytes.to_string())?;
            }
        }
        if let Some(cpu) = &self.cpu {
            let group = cpu.create(&spec.id)?;
            let shares = (spec.cpus_milli * SHARES_PER_CPU / 1000).clamp(SHARES_MIN, SHARES_MAX);
            if cpu.unified {
                write(&group.join("cpu.weight"), &weight(shares).to_string())?;
            } else {
                write(&group.join("cpu.shares"), &shares.to_string())?;
            }
        }
        Ok(())
    }

    /// Puts a process, and all it will start, under the task's limits.
    pub(crate) fn enter(&self, id: &str, pid: i32) -> io::Result<()> {
        for group in self.groups(id) {
            write(&group.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// How often the kernel killed in this group for want of memory.
    pub(crate) fn out_of_memory_kills(&self, id: &str) -> u64 {
        let Some(memory) = &self.memory else { return 0 };
        let file = if memory.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(memory.group(id).join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Deletes the task's groups; they must be empty of processes.
    pub(crate) fn remove(&self, id: &str) -> io::Result<()> {
        for group in self.groups(id) {
            match fs::remove_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn groups(&self, id: &str) -> Vec<PathBuf> {
        let mut groups: Vec<_> = [&self.memory, &self.cpu].into_iter().flatten().map(|one| one.group(id)).collect();
        groups.dedup();
        groups
    }
}

impl Controller {
    fn group(&self, id: &str) -> PathBuf {
        self.root.join(GROUP).join(id)
    }

    fn create(&self, id: &str) -> io::Result<PathBuf> {
        let parent = self.root.join(GROUP);
        fs::create_dir_all(&parent)?;
        if self.unified {
            for directory in [&self.root, &parent] {
                write(&directory.join("cgroup.subtree_control"), "+memory +cpu")?;
            }
        }
        let group = self.group(id);
        fs::create_dir_all(&group)?;
        Ok(group)
    }
}

fn find(mounts: &str, controller: &str) -> Option<Controller> {
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, root, kind, options, ..] = fields.as_slice() else { continue };
        let unified = match *kind {
            "cgroup" if options.split(',').any(|option| option == controller) => false,
            "cgroup2" => {
                let offered = fs::read_to_string(Path::new(root).join("cgroup.controllers")).unwrap_or_default();
                if !offered.split_ascii_whitespace().any(|offer| offer == controller) {
                    continue;
                }
                true
            }
            _ => continue,
        };
        let writable = options.split(',').any(|option| option == "rw");
        let found = Controller { root: PathBuf::from(root), unified };
        // In a container the mount may be read-only although the flags do not say so.
        if writable && fs::create_dir_all(found.root.join(GROUP)).is_ok() {
            return Some(found);
        }
    }
    None
}

/// runc's mapping of version 1 shares to a version 2 weight: [2, 262144] onto [1, 10000].
fn weight(shares: u64) -> u64 {
    1 + ((shares - SHARES_MIN) * 9999) / (SHARES_MAX - SHARES_MIN)
}

/// Control files take one write; they are never created or truncated.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let context =
        |error: io::Error| io::Error::new(error.kind(), format!("write {value} to {}: {error}", path.display()));
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(context)?;
    io::Write::write_all(&mut file, value.as_bytes()).map_err(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_onto_weights_as_runc_maps_them() {
        assert_eq!(weight(SHARES_MIN), 1);
        assert_eq!(weight(SHARES_MAX), 10_000);
        assert_eq!(weight(1024), 39);
    }

    #[test]
    fn controllers_that_are_not_mounted_are_not_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /nonexistent/cpu cgroup ro,cpu 0 0\ngarbage\n";
        assert_eq!(find(mounts, "memory"), None);
        assert_eq!(find(mounts, "cpu"), None);
    }
}
