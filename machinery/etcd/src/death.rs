//! A child that dies with its parent.
#![allow(unsafe_code)]

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The kernel kills what `command` runs when the THREAD that spawned it ends: spawn it from one that waits for it.
pub fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let before_exec = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // A parent that was gone before the kernel was told leaves its child to another.
        if getppid() != parent { Err(nix::errno::Errno::ESRCH.into()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed, because other threads may have held locks when
    // the process was forked. `prctl` and `getppid` are plain system calls; an error number becomes an `io::Error` without
    // allocation; nothing else is touched.
    unsafe { command.pre_exec(before_exec) };
}
