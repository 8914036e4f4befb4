//! One task, seen from the agent: what its directory says, and what can be done about it.

use super::cgroup::Cgroups;
use super::record::{Phase, StatusFile, StopFile, TaskDir, TaskFile};
use super::tree;
use crate::{Error, Exit, How, Status};
use lifecycle::ErrorChain;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, mkfifo};
use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

/// A killed process is gone within this time, unless the kernel holds it.
const DEATH_MAX: Duration = Duration::from_secs(10);
/// How often a dying process is looked at; nothing tells of the end of a process that is not our child.
const DEATH_POLL: Duration = Duration::from_millis(2);
/// How a task ended whose shim is dead and left no record that can be read.
const UNREADABLE: &str = "its record cannot be read";

pub(super) struct Task {
    id: String,
    directory: TaskDir,
    cgroups: Cgroups,
}

impl Task {
    pub(super) fn new(id: &str, directory: TaskDir, cgroups: Cgroups) -> Self {
        Self { id: id.to_owned(), directory, cgroups }
    }

    pub(super) fn directory(&self) -> &TaskDir {
        &self.directory
    }

    fn context(&self, what: &str) -> impl FnOnce(io::Error) -> Error {
        Error::io(format!("{what} {}", self.directory.path().display()))
    }

    /// `None`: no shim was ever at work here. A record that cannot be read tells as much as none: the lock says the rest.
    pub(super) fn status(&self) -> Result<Option<Status>, Error> {
        // First the lock, then the record: a shim writes its last record before it lets go.
        let lives = self.directory.shim_lives().map_err(self.context("look at"))?;
        let record = match self.record() {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(task = self.id, error = %ErrorChain(&error), "task record not understood");
                let lost = Exit { how: How::Lost, message: UNREADABLE.to_owned(), started_at_ms: 0 };
                return Ok(Some(if lives { Status::Running { started_at_ms: 0 } } else { Status::Ended(lost) }));
            }
        };
        Ok(match record.map(|record| record.phase) {
            None if lives => Some(Status::Running { started_at_ms: 0 }),
            None => None,
            Some(Phase::Ended(exit)) => Some(Status::Ended(exit)),
            Some(Phase::Starting) if lives => Some(Status::Running { started_at_ms: 0 }),
            Some(Phase::Running { started_at_ms }) if lives => Some(Status::Running { started_at_ms }),
            Some(Phase::Starting) => Some(Status::Ended(shim_died(0))),
            Some(Phase::Running { started_at_ms }) => Some(Status::Ended(shim_died(started_at_ms))),
        })
    }

    /// The agent died after it made the directory and before a shim wrote anything.
    pub(super) fn never_started() -> Status {
        let message = "the agent was interrupted before it was started".to_owned();
        Status::Ended(Exit { how: How::NeverStarted, message, started_at_ms: 0 })
    }

    fn record(&self) -> Result<Option<StatusFile>, Error> {
        self.directory.read_status().map_err(self.context("read status.json in"))
    }

    /// Makes the directory and takes its lock for the shim. `None`: a shim has it already.
    pub(super) fn make(&self, file: &TaskFile) -> Result<Option<File>, Error> {
        super::make_directory(self.directory.path()).map_err(self.context("make"))?;
        let lock = self.directory.lock_file().map_err(self.context("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.context("lock")(error)),
        }
        self.directory.write_spec(file).map_err(self.context("write the specification in"))?;
        match mkfifo(&self.directory.alive_fifo(), nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR) {
            // An interrupted start left it.
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(self.context("make a FIFO in")(error.into())),
        }
        Ok(Some(lock))
    }

    pub(super) async fn wait(&self) -> Result<Exit, Error> {
        loop {
            match self.status()? {
                None => return Err(Error::Unknown { id: self.id.clone() }),
                Some(Status::Ended(exit)) => {
                    self.buried().await?;
                    return Ok(exit);
                }
                Some(Status::Running { .. }) => self.shim_ends().await?,
            }
        }
    }

    /// Resolves when the shim's end of the FIFO closes.
    async fn shim_ends(&self) -> Result<(), Error> {
        let opened = pipe::OpenOptions::new().open_receiver(self.directory.alive_fifo());
        let mut alive = opened.map_err(self.context("open the FIFO in"))?;
        // A FIFO whose last writer left before this reader came never polls as readable: that end shows only by reading.
        // Once a writer is seen (EAGAIN), its leaving wakes the reader.
        if !matches!(nix::unistd::read(&alive, &mut [0; 1]), Ok(0)) {
            alive.read(&mut [0; 1]).await.map_err(self.context("read the FIFO in"))?;
        }
        // The descriptors of a dying process close one after the other: the lock may be the last.
        let deadline = Instant::now() + DEATH_MAX;
        while self.directory.shim_lives().map_err(self.context("look at"))? && Instant::now() < deadline {
            tokio::time::sleep(DEATH_POLL).await;
        }
        Ok(())
    }

    /// Makes sure that nothing runs of a task whose shim is dead. The kernel sees to it; this waits until it has.
    async fn buried(&self) -> Result<(), Error> {
        // Of a record that cannot be read nothing is learned to wait for.
        let Some(init) = self.record().ok().flatten().and_then(|record| record.init) else { return Ok(()) };
        let deadline = Instant::now() + DEATH_MAX;
        while init.exists().map_err(self.context("look for the processes of"))? {
            if Instant::now() > deadline {
                let source = io::Error::other(format!("process {} does not die", init.pid));
                return Err(self.context("clean up")(source));
            }
            // ESRCH: it has died by itself.
            let _died = kill(Pid::from_raw(init.pid), Signal::SIGKILL);
            tokio::time::sleep(DEATH_POLL).await;
        }
        Ok(())
    }

    pub(super) async fn stop(&self, grace: Duration) -> Result<(), Error> {
        if let Some(Status::Running { .. }) = self.status()? {
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            self.directory.write_stop(&StopFile { grace_ms }).map_err(self.context("write a stop in"))?;
            self.signal_shim(Signal::SIGTERM)?;
            match self.wait().await {
                // It ended, and somebody else was quick to remove it.
                Ok(_) | Err(Error::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the shim and all it holds at once.
    pub(super) async fn kill(&self) -> Result<(), Error> {
        if let Some(Status::Running { .. }) = self.status()? {
            self.signal_shim(Signal::SIGKILL)?;
            self.wait().await?;
        }
        self.buried().await
    }

    fn signal_shim(&self, signal: Signal) -> Result<(), Error> {
        let Some(record) = self.record()? else { return Ok(()) };
        if record.shim.exists().map_err(self.context("look for the shim of"))? {
            // ESRCH: it ended meanwhile.
            let _ended = kill(Pid::from_raw(record.shim.pid), signal);
        }
        Ok(())
    }

    pub(super) async fn remove(&self) -> Result<(), Error> {
        // The shim may have written its last word and not be gone yet.
        self.kill().await?;
        let deadline = Instant::now() + DEATH_MAX;
        while self.directory.shim_lives().map_err(self.context("look at"))? && Instant::now() < deadline {
            tokio::time::sleep(DEATH_POLL).await;
        }
        self.cgroups.remove(&self.id).map_err(Error::io(format!("remove the control groups of {}", self.id)))?;
        let path = self.directory.path().to_owned();
        let removed = tokio::task::spawn_blocking(move || tree::remove(&path)).await;
        removed.map_err(io::Error::other).and_then(|removed| removed).map_err(self.context("remove"))
    }
}

fn shim_died(started_at_ms: i64) -> Exit {
    Exit { how: How::Lost, message: "its shim was killed".to_owned(), started_at_ms }
}
