//! The namespaces a monitor moves itself into.

use super::loopback;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use std::fs;
use std::io;

/// Whether this process may do as it likes without a user namespace of its own.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// A new pid namespace for the children of this process, a new network namespace for itself (unless it is to share the
/// host's), and, for an ordinary user, a user namespace that owns both. This process must have one thread.
pub(crate) fn enter(host_network: bool) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWPID;
    if !host_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    if !is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|error| {
        let hint = if uid.is_root() { "" } else { " (are unprivileged user namespaces allowed on this machine?)" };
        io::Error::other(format!("make namespaces: {error}{hint}"))
    })?;
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        // One id is all an ordinary user may map: root inside is the user outside (user_namespaces(7)).
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    if !host_network {
        loopback::up().map_err(|error| io::Error::new(error.kind(), format!("bring loopback up: {error}")))?;
    }
    Ok(())
}

fn write(path: &str, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|error| io::Error::new(error.kind(), format!("write {path}: {error}")))
}
