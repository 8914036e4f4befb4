//! The thread that a guarded process lives and dies with.
//!
//! The kernel's "tell me when my parent dies" is about the thread that spawned the child, so that thread does nothing but
//! wait for it.

use crate::death::die_with_parent;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A running process. Dropped, it is killed.
pub struct Guard {
    pid: Pid,
    /// While the process has not been reaped, its id is its own and may be signalled.
    alive: Arc<Mutex<bool>>,
    end: oneshot::Receiver<io::Result<ExitStatus>>,
}

type Born = io::Result<(Pid, ChildStderr)>;

/// Runs `command`, whose standard error must be a pipe, in a process group of its own: a terminal's Ctrl-C is the guard's
/// to pass on.
pub async fn start(mut command: Command) -> io::Result<(Guard, ChildStderr)> {
    command.process_group(0);
    die_with_parent(&mut command);
    let (born, birth) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let alive = Arc::new(Mutex::new(true));
    let state = Arc::clone(&alive);
    std::thread::Builder::new().name("etcd-guard".into()).spawn(move || watch_over(command, born, &state, ended))?;
    let (pid, stderr) = birth.await.map_err(|_| io::Error::other("the guard's thread ended"))??;
    Ok((Guard { pid, alive, end }, stderr))
}

fn watch_over(
    mut command: Command,
    born: oneshot::Sender<Born>,
    alive: &Mutex<bool>,
    ended: oneshot::Sender<io::Result<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _nobody_waits = born.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_raw(child.id().cast_signed());
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("standard error is no pipe"));
    if born.send(stderr.map(|stderr| (pid, stderr))).is_err() {
        // Whoever started it has gone.
        let _dead_already = child.kill();
    }
    // Waits without reaping, so that the id stays its own until nobody can signal it any more.
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::errno::Errno::EINTR) {}
    *alive.lock().unwrap_or_else(PoisonError::into_inner) = false;
    let _nobody_waits = ended.send(child.wait());
}

impl Guard {
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Resolves when the process has ended. Cancel safe; not to be asked again after an answer.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        (&mut self.end).await.unwrap_or_else(|_| Err(io::Error::other("the guard's thread ended")))
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            let _dead_already = kill(self.pid, signal);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000").stderr(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn a_process_that_is_asked_to_stop_ends() {
        let (mut guard, _stderr) = start(sleeper()).await.unwrap();
        guard.terminate();
        assert!(!guard.ended().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_process_whose_guard_is_dropped_is_killed() {
        let (guard, mut stderr) = start(sleeper()).await.unwrap();
        drop(guard);
        // Its end of the pipe closes with it.
        let read = tokio::task::spawn_blocking(move || io::Read::read(&mut stderr, &mut [0])).await.unwrap();
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = start(Command::new("no-such-program-here")).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
