//! Limits by control groups: version 2, version 1, or a mixture, as root. Groups are `roadstead/<owner>-<task>` under each
//! controller's root, the owner being the directory the tasks are in: agents of several data directories, on one machine,
//! leave each other's groups alone.
//!
//! cpus are shares: 1 cpu weighs 1024 of version 1 (Docker's and Mesos' reading), mapped to version 2 as runc does it.

use crate::ContainerSpec;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const GROUP: &str = "roadstead";
const SHARES_PER_CPU: u64 = 1024;
/// `MIN_SHARES` and `MAX_SHARES` of the kernel's scheduler.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;

/// Where this machine keeps the two controllers we use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    owner: String,
    memory: Option<Controller>,
    cpu: Option<Controller>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    root: PathBuf,
    unified: bool,
}

impl Cgroups {
    /// What can be used here for the tasks in this directory. An ordinary user is given nothing: that takes delegation,
    /// which is not implemented.
    pub(crate) fn detect(tasks: &Path) -> io::Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self::default());
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Ok(Self { owner: owner(tasks)?, memory: find(&mounts, "memory"), cpu: find(&mounts, "cpu") })
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
            let group = memory.create(&self.name(&spec.id))?;
            if spec.memory_bytes > 0 {
                let file = if memory.unified { "memory.max" } else { "memory.limit_in_bytes" };
                write(&group.join(file), &spec.memory_bytes.to_string())?;
            }
        }
        if let Some(cpu) = &self.cpu {
            let group = cpu.create(&self.name(&spec.id))?;
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
        let text = fs::read_to_string(memory.group(&self.name(id)).join(file)).unwrap_or_default();
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

    /// Deletes the groups of this owner whose tasks no longer exist: a shim that was killed leaves them when its task is
    /// not removed. One that is not empty stays, for the kernel refuses.
    pub(crate) fn sweep(&self, exists: impl Fn(&str) -> bool) {
        let prefix = self.name("");
        for controller in self.controllers() {
            // It was made when the controller was found; if it is gone, so is all that was in it.
            let Ok(groups) = fs::read_dir(controller.root.join(GROUP)) else { continue };
            for group in groups.flatten() {
                let name = group.file_name();
                let Some(id) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { continue };
                if exists(id) {
                    continue;
                }
                match fs::remove_dir(group.path()) {
                    Ok(()) => tracing::info!(task = id, "removed a control group left behind"),
                    Err(error) => tracing::warn!(task = id, %error, "a control group left behind stays"),
                }
            }
        }
    }

    fn name(&self, id: &str) -> String {
        format!("{}-{id}", self.owner)
    }

    /// With version 2 both are the same.
    fn controllers(&self) -> Vec<&Controller> {
        let mut controllers: Vec<_> = [&self.memory, &self.cpu].into_iter().flatten().collect();
        controllers.dedup();
        controllers
    }

    fn groups(&self, id: &str) -> Vec<PathBuf> {
        self.controllers().into_iter().map(|controller| controller.group(&self.name(id))).collect()
    }
}

/// What tells a directory from every other on this machine, for as long as groups live: until the next boot. Unlike a path
/// it is the same wherever the directory is mounted, and has no length to speak of.
fn owner(directory: &Path) -> io::Result<String> {
    let metadata = fs::metadata(directory)?;
    Ok(format!("{:x}.{:x}", metadata.dev(), metadata.ino()))
}

impl Controller {
    fn group(&self, name: &str) -> PathBuf {
        self.root.join(GROUP).join(name)
    }

    fn create(&self, name: &str) -> io::Result<PathBuf> {
        let parent = self.root.join(GROUP);
        fs::create_dir_all(&parent)?;
        if self.unified {
            for directory in [&self.root, &parent] {
                write(&directory.join("cgroup.subtree_control"), "+memory +cpu")?;
            }
        }
        let group = self.group(name);
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
    fn only_empty_groups_of_our_own_lost_tasks_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let controller = Controller { root: root.path().to_owned(), unified: false };
        let cgroups = |owner: &str| Cgroups { owner: owner.to_owned(), memory: Some(controller.clone()), cpu: None };
        let [ours, theirs] = [cgroups("1.2"), cgroups("1.22")];
        for (owner, id) in [(&ours, "lost"), (&ours, "alive"), (&ours, "busy"), (&theirs, "lost")] {
            controller.create(&owner.name(id)).unwrap();
        }
        let busy = ours.groups("busy").remove(0);
        fs::create_dir(busy.join("occupant")).unwrap();
        fs::create_dir(root.path().join(GROUP).join("foreign")).unwrap();
        ours.sweep(|id| id == "alive");
        assert!(!ours.groups("lost")[0].exists());
        for kept in [&ours.groups("alive")[0], &busy, &theirs.groups("lost")[0]] {
            assert!(kept.exists(), "{}", kept.display());
        }
        assert!(root.path().join(GROUP).join("foreign").exists());
    }

    #[test]
    fn every_directory_is_an_owner_of_its_own() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        assert_ne!(owner(one.path()).unwrap(), owner(other.path()).unwrap());
        assert_eq!(owner(one.path()).unwrap(), owner(&one.path().join(".")).unwrap());
    }

    #[test]
    fn controllers_that_are_not_mounted_are_not_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /nonexistent/cpu cgroup ro,cpu 0 0\ngarbage\n";
        assert_eq!(find(mounts, "memory"), None);
        assert_eq!(find(mounts, "cpu"), None);
    }
}
