//! Tries, in a process of its own, what every task will need, so that the agent can say at its start what is missing.

use super::namespaces;
use super::wire::{FromMonitor, say};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io;

pub(crate) fn run() -> i32 {
    let word = match attempt() {
        Ok(()) => FromMonitor::Running,
        Err(error) => FromMonitor::Failed(error.to_string()),
    };
    i32::from(say(&mut io::stdout(), &word).is_err())
}

fn attempt() -> io::Result<()> {
    namespaces::enter(false)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| io::Error::other(format!("mount in a namespace of our own: {error}")))
}
