//! The supervisor's own upgrade. On SIGUSR2 it asks the binary that is now where it was started from whether that would start,
//! ends its other processes, leaves the edge at work, and becomes that binary. The process stays the same, so whoever
//! watches it sees nothing end. A binary that would not start changes nothing.

mod between;

use super::child::Running;
use super::notice::Notice;
use anyhow::{Context, bail};
use nix::sys::signal::{self, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::time::timeout;

/// The process ids of edges that were left at work, for who comes next and is their parent.
const LEFT_VARIABLE: &str = "ROADSTEAD_LEFT";

/// For a binary to say whether it would start.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Edges that were left, and have not ended as far as is known.
static LEFT: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// What `up --check` says.
pub fn would_start() -> String {
    format!("roadstead {} would start", env!("CARGO_PKG_VERSION"))
}

/// Waits for the wish to be replaced; made before anything else, since the signal would end a process that does not (but for
/// one that comes out of another: see [`between`]).
pub struct Replacement {
    asked: Signal,
    /// For whoever asks, and where it is.
    notice: Option<(PathBuf, Notice)>,
    /// Of the `up` that comes next.
    arguments: Vec<OsString>,
}

impl Replacement {
    pub fn watch(arguments: Vec<OsString>) -> anyhow::Result<Self> {
        binary()?;
        let asked = tokio::signal::unix::signal(SignalKind::user_defined2()).context("watch for SIGUSR2")?;
        Ok(Self { asked, notice: None, arguments })
    }

    /// The platform has started; `roadstead upgrade` finds this process from now on.
    pub fn may_be_asked(&mut self, data: &Path) {
        match Notice::of_this_process() {
            Ok(notice) => {
                notice.write(data);
                self.notice = Some((data.to_owned(), notice));
            }
            Err(error) => tracing::warn!(%error, "`roadstead upgrade` will not find this process"),
        }
    }

    /// Resolves when somebody asks for it and there is a binary that would start.
    pub async fn asked(&mut self) {
        loop {
            self.asked.recv().await;
            match self.check().await {
                Ok(version) => return tracing::info!(version, "another binary takes this one's place"),
                Err(error) => {
                    let error = lifecycle::ErrorChain(error.as_ref());
                    if let Some((data, notice)) = &mut self.notice {
                        notice.refused(error.to_string());
                        notice.write(data);
                    }
                    tracing::error!(%error, "the binary there would not start; this process goes on as before");
                }
            }
        }
    }

    /// What the binary that is there now says of itself.
    async fn check(&self) -> anyhow::Result<String> {
        let binary = binary()?;
        let mut command = tokio::process::Command::new(binary);
        command.args(&self.arguments).arg("--check").stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(CHECK_TIMEOUT, command.output()).await;
        let output = output.with_context(|| format!("{} says nothing", binary.display()))?;
        let output = output.with_context(|| format!("start {}", binary.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.lines().find_map(|line| line.strip_prefix("roadstead ")?.strip_suffix(" would start"));
        match version {
            Some(version) if output.status.success() => Ok(version.to_owned()),
            _ => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                bail!("{} --check: {}: {}", binary.display(), output.status, complaint.trim())
            }
        }
    }

    /// Does not return, unless it fails. Then the edge works on all the same, for the `up` that comes next.
    pub fn replace(self, leaving: &Leaving) -> anyhow::Error {
        let error = self.become_it(leaving);
        leaving.let_go();
        error
            .context("the edge works on, for five minutes and its drain, for the next `roadstead up` to take over from")
    }

    fn become_it(self, leaving: &Leaving) -> anyhow::Error {
        let binary = match binary() {
            Ok(binary) => binary,
            Err(error) => return error,
        };
        let mut left = lock(&LEFT).clone();
        left.extend(lock(&leaving.0.left).iter().filter_map(Running::id));
        let left: Vec<String> = left.iter().map(u32::to_string).collect();
        let mut command = std::process::Command::new(binary);
        command.args(&self.arguments).env(LEFT_VARIABLE, left.join(","));
        // By the same name: it may be a link's.
        command.arg0(env::args_os().next().unwrap_or_else(|| binary.into()));
        let _ignored = between::ignore_the_wish();
        let error = command.exec();
        anyhow::Error::new(error).context(format!("become {}", binary.display()))
    }
}

/// Whether the supervisor leaves its place to another one, and what stays.
#[derive(Clone, Default)]
pub struct Leaving(Arc<State>);

#[derive(Default)]
struct State {
    leaves: AtomicBool,
    left: Mutex<Vec<Running>>,
}

impl Leaving {
    pub fn begin(&self) {
        self.0.leaves.store(true, SeqCst);
    }

    pub fn is_so(&self) -> bool {
        self.0.leaves.load(SeqCst)
    }

    /// This process stays, unless the supervisor does not leave after all.
    pub fn leave(&self, running: Running) {
        lock(&self.0.left).push(running);
    }

    /// The supervisor ends without an end of what it left, which would die with its handle.
    fn let_go(&self) {
        for running in mem::take(&mut *lock(&self.0.left)) {
            mem::forget(running);
        }
    }

    /// The supervisor ends, and nobody comes next.
    pub async fn end(&self) {
        let left = mem::take(&mut *lock(&self.0.left));
        for running in left {
            running.end().await;
        }
    }
}

/// Where this binary is. Asked first at the start: the kernel names a file that was replaced since by another name.
pub fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let found = env::current_exe().context("find this binary")?;
    let called = env::args_os().next().and_then(|name| as_called(&name, &found));
    Ok(BINARY.get_or_init(|| called.unwrap_or(found)))
}

/// The path by which a binary was called. It may have a link in it, which leads to another binary tomorrow.
fn as_called(name: &OsStr, binary: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = match Path::new(name).components().count() {
        0 | 1 => env::split_paths(&path).map(|directory| directory.join(name)).collect(),
        _ => vec![name.into()],
    };
    let file = |path: &Path| -> io::Result<_> { fs::metadata(path).map(|file| (file.dev(), file.ino())) };
    let it = file(binary).ok()?;
    let called = candidates.into_iter().find(|candidate| file(candidate).is_ok_and(|file| file == it))?;
    std::path::absolute(called).ok()
}

/// Takes note of the end of what a supervisor in this process left, once it has come: nobody else would.
pub fn await_what_was_left() {
    let left = env::var(LEFT_VARIABLE).unwrap_or_default();
    for id in left.split(',').filter_map(|id| id.parse::<u32>().ok()) {
        lock(&LEFT).push(id);
        thread::spawn(move || {
            // Of a process that is no child of this one the kernel says so at once.
            let ended = waitpid(Pid::from_raw(id as i32), None);
            lock(&LEFT).retain(|left| *left != id);
            tracing::info!(id, ?ended, "the edge before this one has ended");
        });
    }
}

/// The supervisor ends, and so does what still drains.
pub fn end_what_was_left() {
    for id in &*lock(&LEFT) {
        // One that has ended meanwhile needs no end.
        let _ended = kill(Pid::from_raw(*id as i32), signal::Signal::SIGTERM);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_named_as_it_was_called() {
        let directory = tempfile::tempdir().unwrap();
        let [binary, other, link] = ["v1", "v2", "link"].map(|name| directory.path().join(name));
        fs::write(&binary, "1").unwrap();
        fs::write(&other, "2").unwrap();
        std::os::unix::fs::symlink(&binary, &link).unwrap();
        assert_eq!(as_called(link.as_os_str(), &binary), Some(link));
        assert_eq!(as_called(other.as_os_str(), &binary), None, "another file has its name");
        assert_eq!(as_called(OsStr::new("/nowhere/roadstead"), &binary), None);
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let found = as_called(OsStr::new("sh"), &shell).unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"), "{found:?}");
    }
}
