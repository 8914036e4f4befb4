//! Starts the shims and hears their one word.

use super::record::TaskDir;
use crate::Executed;
use crate::shim::{FromExec, FromMonitor, Part, SHIM, hear};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// The most bytes a shim says.
const WORD_BYTES_MAX: u64 = 64 * 1024;
/// An exec helper keeps its timeout itself; if it does not, it is killed after this much more.
const EXEC_SLACK: Duration = Duration::from_secs(2);

fn shim(executable: &Path, part: Part) -> Command {
    let mut command = Command::new(executable);
    command.arg0(format!("roadstead-{}", part.name())).args([SHIM, part.name()]);
    command
}

/// Tries whether shims work here.
pub(super) async fn probe(executable: &Path) -> io::Result<FromMonitor> {
    let mut command = shim(executable, Part::Probe);
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await?;
    hear(output.stdout.as_slice())?.ok_or_else(|| io::Error::other(format!("it said nothing and {}", output.status)))
}

/// Starts a task's monitor, hands it the task's lock, and waits until the task runs or cannot.
pub(super) async fn monitor(executable: &Path, directory: &TaskDir, lock: File) -> io::Result<FromMonitor> {
    let log = OpenOptions::new().create(true).append(true).open(directory.join("shim.log"))?;
    let mut command = shim(executable, Part::Monitor);
    command.arg(directory.path()).env_clear().stdin(lock).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn()?;
    // Our own copy of the lock must go: it would outlive the shim.
    drop(command);
    let stdout = child.stdout.take();
    // It outlives us, or ends while we run: then it must be reaped.
    tokio::spawn(async move {
        if let Err(error) = child.wait().await {
            tracing::warn!(%error, "wait for a shim");
        }
    });
    let mut said = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(WORD_BYTES_MAX).read_to_end(&mut said).await?;
    }
    hear(said.as_slice())?.ok_or_else(|| io::Error::other("it ended without a word; see its shim.log"))
}

/// Runs a command inside a task.
pub(super) async fn exec(
    executable: &Path,
    directory: &TaskDir,
    line: &str,
    timeout: Duration,
) -> io::Result<Executed> {
    let mut command = shim(executable, Part::Exec);
    command.arg(directory.path()).arg(timeout.as_millis().to_string()).arg(line);
    command.stdin(Stdio::null()).stderr(Stdio::null()).env_clear().kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(timeout + EXEC_SLACK, command.output()).await else {
        return Ok(Executed::TimedOut);
    };
    match hear(output?.stdout.as_slice())? {
        Some(FromExec::Status(status)) => Ok(Executed::Status(status)),
        Some(FromExec::TimedOut) => Ok(Executed::TimedOut),
        Some(FromExec::Failed(why)) => Err(io::Error::other(why)),
        None => Err(io::Error::other("its helper ended without a word")),
    }
}
