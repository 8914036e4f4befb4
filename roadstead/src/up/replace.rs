//! The supervisor's own upgrade: on SIGUSR2 it ends what it must, leaves the edge at work, and becomes the binary that is now
//! where it was started from. The process stays the same, so whoever watches it sees nothing end.

use anyhow::Context;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// The process id of an edge that was left at work, for who comes next and is its parent.
const LEFT_VARIABLE: &str = "ROADSTEAD_LEFT_EDGE";

/// Whether the supervisor leaves its place to another one, and what stays.
#[derive(Clone, Default)]
pub struct Leaving(Arc<State>);

#[derive(Default)]
struct State {
    leaves: AtomicBool,
    /// 0: nothing.
    left: AtomicU32,
}

impl Leaving {
    pub fn begin(&self) {
        self.0.leaves.store(true, SeqCst);
    }

    pub fn is_so(&self) -> bool {
        self.0.leaves.load(SeqCst)
    }

    /// This process stays.
    pub fn left(&self, id: Option<u32>) {
        self.0.left.store(id.unwrap_or_default(), SeqCst);
    }
}

/// Where this binary is. Asked first at the start: the kernel names a file that was replaced since by another name.
pub fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let binary = env::current_exe().context("find this binary")?;
    Ok(BINARY.get_or_init(|| binary))
}

/// Resolves when somebody asks for it.
pub async fn asked() -> io::Result<()> {
    signal(SignalKind::user_defined2())?.recv().await;
    Ok(())
}

/// Does not return, unless it fails.
pub fn replace(leaving: &Leaving) -> anyhow::Error {
    let binary = match binary() {
        Ok(binary) => binary,
        Err(error) => return error,
    };
    let left = leaving.0.left.load(SeqCst).to_string();
    let error = Command::new(binary).args(env::args_os().skip(1)).env(LEFT_VARIABLE, left).exec();
    anyhow::Error::new(error).context(format!("become {}", binary.display()))
}

/// Takes note of the end of what a supervisor in this process left, once it has come: nobody else would.
pub fn await_what_was_left() {
    let left = env::var(LEFT_VARIABLE).ok().and_then(|id| id.parse().ok()).filter(|id| *id > 0);
    let Some(id) = left else { return };
    thread::spawn(move || {
        // Of a process that is no child of this one the kernel says so at once.
        let ended = waitpid(Pid::from_raw(id), None);
        tracing::info!(id, ?ended, "the edge before this one has ended");
    });
}
