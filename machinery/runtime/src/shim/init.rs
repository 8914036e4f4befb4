//! Pid 1 of a task: builds its place, starts it, passes SIGTERM on, reaps.
//!
//! The task is the leader of its own process group and SIGTERM goes to all of the group, since `/bin/sh -c` may stand
//! between us and the program that is to end with grace. When the task's first process ends by itself, all ends. When it
//! ends because it was told to, the others are given the rest of the grace.

use super::command::Process;
use super::wire::{FromInit, GO, TERMINATE, say};
use super::{capabilities, namespaces, rootfs};
use crate::How;
use crate::process::record::{TaskDir, TaskFile};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdin, sethostname};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

pub(crate) fn run(directory: PathBuf) -> i32 {
    let control = match take_control() {
        Ok(control) => control,
        Err(error) => {
            eprintln!("init: {error}");
            return 1;
        }
    };
    match supervise(&control, &TaskDir::new(directory)) {
        Ok(()) => 0,
        Err(error) => {
            // The monitor may be gone; then nobody is left to be told.
            let _gone = say(&mut &control, &FromInit::Failed(error.to_string()));
            1
        }
    }
}

/// The control socket came as standard input; the task gets an empty one.
fn take_control() -> io::Result<UnixStream> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(control)
}

fn supervise(mut control: &UnixStream, directory: &TaskDir) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let mut word = [0];
    // The monitor says go once we are under the task's limits; end of file means that it died.
    if control.read(&mut word)? == 0 || word != [GO] {
        return Ok(());
    }
    let task = directory.read_spec()?.ok_or_else(|| io::Error::other("no spec.json"))?;
    let signals = block_child_signals()?;
    let child = Pid::from_raw(start(directory, &task)?);
    say(&mut control, &FromInit::Running)?;
    let mut stopping = false;
    loop {
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        if ready[1].any().unwrap_or(true) {
            if control.read(&mut word)? == 0 {
                return Ok(());
            }
            if word == [TERMINATE] {
                stopping = true;
                // ESRCH: the group has just ended; reaping tells.
                let _ended = killpg(child, Signal::SIGTERM);
            }
        }
        while let Some(_child_signal) = signals.read_signal()? {}
        if reap(child, &mut control, stopping)? {
            return Ok(());
        }
    }
}

fn block_child_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Builds the task's place and starts it there; returns its pid.
fn start(directory: &TaskDir, task: &TaskFile) -> io::Result<i32> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    sethostname(&task.container.host_name)?;
    let sandbox = directory.join("sandbox");
    rootfs::enter(directory, task, &sandbox)?;
    let process = Process::task(task, &sandbox, namespaces::is_root())?;
    if task.image.is_none() {
        process.own(&sandbox)?;
    }
    if !task.container.privileged {
        capabilities::drop_for_children()?;
    }
    let mut command = process.command()?;
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let child = child.map_err(|error| {
        let place = process.working_directory().display();
        io::Error::new(error.kind(), format!("execute {:?} in {place}: {error}", process.program()))
    })?;
    Ok(child.id() as i32)
}

/// Collects all that ended; whether nothing is left to wait for.
fn reap(task: Pid, control: &mut &UnixStream, stopping: bool) -> io::Result<bool> {
    loop {
        let how = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == task => How::Code(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == task => How::Signal(signal as i32),
            Ok(WaitStatus::StillAlive) => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        say(control, &FromInit::Ended(how))?;
        if !stopping {
            return Ok(true);
        }
    }
}
