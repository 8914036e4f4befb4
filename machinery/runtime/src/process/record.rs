//! What a task leaves on disk: the one place where agent and shim meet.
//!
//! ```text
//! DATA/tasks/<id>/
//!   spec.json    what to run; written by the agent before the shim starts
//!   lock         flock'ed by the living shim, and by nobody else: held means alive
//!   alive        a FIFO whose only writer is the shim: end of file means dead, and can be waited for
//!   status.json  written by the shim: starting, running, ended
//!   stop.json    written by the agent before it signals the shim: how long the grace is
//!   stdout.N     logs, N being the offset of the first byte; stderr.N likewise
//!   shim.log     what the shim itself has to say
//!   upper work lower root   the task's writable layer and its mount points, mounted only in the task's own namespace
//! ```
//!
//! Every JSON file is replaced by rename, so a reader sees the old one or the new one.

use crate::image::ImageConfig;
use crate::{ContainerSpec, Exit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes of a JSON file that is read back.
const RECORD_BYTES_MAX: u64 = 8 << 20;

/// A task's directory.
#[derive(Clone, Debug)]
pub(crate) struct TaskDir(PathBuf);

impl TaskDir {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory of all tasks.
    pub(crate) fn tasks(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    pub(crate) fn alive_fifo(&self) -> PathBuf {
        self.join("alive")
    }

    /// Opens the lock file; it is created once and never replaced, so every holder locks the same inode.
    pub(crate) fn lock_file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.join("lock"))
    }

    /// Whether a shim lives. The probing lock is given back explicitly: a child forked meanwhile may hold a copy of the
    /// descriptor for a moment.
    pub(crate) fn shim_lives(&self) -> io::Result<bool> {
        let file = match File::open(self.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn read_spec(&self) -> io::Result<Option<TaskFile>> {
        read_json(&self.join("spec.json"))
    }

    pub(crate) fn write_spec(&self, spec: &TaskFile) -> io::Result<()> {
        write_json(&self.join("spec.json"), spec)
    }

    pub(crate) fn read_status(&self) -> io::Result<Option<StatusFile>> {
        read_json(&self.join("status.json"))
    }

    pub(crate) fn write_status(&self, status: &StatusFile) -> io::Result<()> {
        write_json(&self.join("status.json"), status)
    }

    pub(crate) fn read_stop(&self) -> io::Result<Option<StopFile>> {
        read_json(&self.join("stop.json"))
    }

    pub(crate) fn write_stop(&self, stop: &StopFile) -> io::Result<()> {
        write_json(&self.join("stop.json"), stop)
    }
}

/// `spec.json`: all a shim needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskFile {
    pub(crate) container: ContainerSpec,
    /// `None`: the host's own files.
    pub(crate) image: Option<TaskImage>,
    /// Where forwarded host ports listen.
    pub(crate) listen: IpAddr,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskImage {
    /// Shared by all tasks of the image, never written to.
    pub(crate) rootfs: PathBuf,
    pub(crate) config: ImageConfig,
}

/// `status.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatusFile {
    pub(crate) phase: Phase,
    pub(crate) shim: ProcessId,
    /// The first process of the task's pid namespace, as the host sees it: when it is gone, all of the task is.
    pub(crate) init: Option<ProcessId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Starting,
    Running { started_at_ms: i64 },
    Ended(Exit),
}

/// `stop.json`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StopFile {
    pub(crate) grace_ms: u64,
}

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    start_ticks: u64,
    boot_id: String,
}

impl ProcessId {
    pub fn of(pid: i32) -> io::Result<Self> {
        let start_ticks = start_ticks(pid)?.ok_or_else(|| io::Error::other(format!("no process {pid}")))?;
        Ok(Self { pid, start_ticks, boot_id: boot_id()? })
    }

    /// Whether this very process still exists (a zombie does not count).
    pub fn exists(&self) -> io::Result<bool> {
        Ok(start_ticks(self.pid)? == Some(self.start_ticks) && boot_id()? == self.boot_id)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// `None` when there is no such process, or only its zombie.
fn start_ticks(pid: i32) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(parse_stat(&text))
}

/// The command's name, in parentheses, may itself contain anything: fields are counted from the last one.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // `rest` begins with field 3 (proc_pid_stat(5)).
    fields.nth(22 - 4)?.parse().ok()
}

/// Replaces a file by one with this content, durably: the content is flushed before the name points at it.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    // A specification holds the app's environment, and that may hold secrets.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

/// `None` when there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_pid() {
        let own = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(own.exists().unwrap());
        let later = ProcessId { start_ticks: own.start_ticks + 1, ..own.clone() };
        assert!(!later.exists().unwrap());
        let other_boot = ProcessId { boot_id: "another".to_owned(), ..own };
        assert!(!other_boot.exists().unwrap());
    }

    #[test]
    fn a_hostile_command_name_does_not_shift_the_fields() {
        let text = "42 (a) R 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        assert_eq!(parse_stat(text), Some(777));
        assert_eq!(parse_stat("42 (x) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777"), None);
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn the_lock_tells_whether_a_shim_lives() {
        let directory = tempfile::tempdir().unwrap();
        let task = TaskDir::new(directory.path());
        assert!(!task.shim_lives().unwrap());
        let held = task.lock_file().unwrap();
        held.try_lock().unwrap();
        assert!(task.shim_lives().unwrap());
        drop(held);
        assert!(!task.shim_lives().unwrap());
    }

    #[test]
    fn a_torn_record_is_an_error_and_an_absent_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let task = TaskDir::new(directory.path());
        assert!(task.read_status().unwrap().is_none());
        fs::write(task.join("status.json"), b"{\"phase\":").unwrap();
        assert!(task.read_status().is_err());
    }
}
