//! Runs a health check's command in the place of a running task: the same namespaces, root directory, environment, user
//! and limits.

use super::command::Process;
use super::wire::{FromExec, say};
use super::{capabilities, namespaces};
use crate::process::cgroup::Cgroups;
use crate::process::record::TaskDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// `arguments`: the timeout in milliseconds, the command line.
pub(crate) fn run(directory: PathBuf, arguments: &[OsString]) -> i32 {
    let word = attempt(&TaskDir::new(directory), arguments).unwrap_or_else(|error| FromExec::Failed(error.to_string()));
    i32::from(say(&mut io::stdout(), &word).is_err())
}

fn attempt(directory: &TaskDir, arguments: &[OsString]) -> io::Result<FromExec> {
    let [timeout_ms, line] = arguments else { return Err(io::Error::other("expected a timeout and a command")) };
    let timeout_ms =
        timeout_ms.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("no timeout"))?;
    let line = line.to_str().ok_or_else(|| io::Error::other("the command is not UTF-8"))?;
    let task = directory.read_spec()?.ok_or_else(|| io::Error::other("no such task"))?;
    let init = directory.read_status()?.and_then(|status| status.init);
    let init = init.ok_or_else(|| io::Error::other("the task is not running"))?;
    let root = namespaces::is_root();

    let mut wanted = vec![("pid", CloneFlags::CLONE_NEWPID), ("uts", CloneFlags::CLONE_NEWUTS)];
    wanted.extend([("ipc", CloneFlags::CLONE_NEWIPC), ("mnt", CloneFlags::CLONE_NEWNS)]);
    if !task.container.host_network {
        wanted.insert(0, ("net", CloneFlags::CLONE_NEWNET));
    }
    if !root {
        wanted.insert(0, ("user", CloneFlags::CLONE_NEWUSER));
    }
    let mut doors = Vec::new();
    for (name, kind) in wanted {
        doors.push((File::open(format!("/proc/{}/ns/{name}", init.pid))?, kind));
    }
    // The doors are open now; had the pid been given to another process before, they would be its.
    if !init.exists()? {
        return Err(io::Error::other("the task has ended"));
    }
    Cgroups::detect(directory.tasks())?.enter(&task.container.id, std::process::id() as i32)?;
    for (door, kind) in &doors {
        setns(door.as_fd(), *kind)?;
    }
    let process = Process::shell(&task, line, &directory.join("sandbox"), root)?;
    if !task.container.privileged {
        capabilities::drop_for_children()?;
    }
    wait(&process, Duration::from_millis(timeout_ms))
}

fn wait(process: &Process, timeout: Duration) -> io::Result<FromExec> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut command = process.command()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            return Ok(FromExec::Status(status.unwrap_or(-1)));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL)?;
            child.wait()?;
            return Ok(FromExec::TimedOut);
        }
        let left = PollTimeout::try_from(left.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], left) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(Some(_)) = signals.read_signal() {}
    }
}
