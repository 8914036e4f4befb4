//! The processes that hold a task, all of them this same binary.
//!
//! ```text
//! agent ── spawns ──▶ monitor ── spawns ──▶ init (pid 1 of the task's pid namespace) ── spawns ──▶ the task
//! ```
//!
//! The **monitor** outlives the agent. It binds the task's host ports, then moves itself into new user, pid and network
//! namespaces: a listener stays in the namespace it was made in, a connection it makes later is made inside. So one
//! single-threaded process forwards between the two without ever switching. It writes logs and status to disk and holds the
//! task's lock while it lives.
//!
//! **Init** makes the mount, uts and ipc namespaces, builds the root directory, starts the task, passes signals on and
//! reaps. The kernel kills it when the monitor dies (and its end of the control socket says so too), and with it
//! everything in the pid namespace. So nothing of a task outlives its monitor, however that ends.
//!
//! Namespaces can only be made by a process with one thread, and only `exec` gives a clean one to a threaded agent: hence
//! [`run_if_shim`], first thing in `main`.

mod capabilities;
mod command;
mod exec;
mod forward;
mod init;
mod loopback;
mod monitor;
mod namespaces;
mod probe;
mod rootfs;
mod wire;

use std::path::PathBuf;

pub(crate) use wire::{FromExec, FromMonitor, hear};

/// The first argument that makes this binary a shim.
pub(crate) const SHIM: &str = "shim";

/// What kind of shim; the second argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Monitor,
    Init,
    Exec,
    Probe,
}

impl Part {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Init => "init",
            Self::Exec => "exec",
            Self::Probe => "probe",
        }
    }
}

/// Becomes a shim and never returns, when the arguments ask for one. Must be called before any thread is started and
/// before anything is read from standard input.
pub fn run_if_shim() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != SHIM) {
        return;
    }
    let part = arguments.next().unwrap_or_default();
    let directory = PathBuf::from(arguments.next().unwrap_or_default());
    let rest: Vec<_> = arguments.collect();
    let parts = [Part::Monitor, Part::Init, Part::Exec, Part::Probe];
    let status = match parts.into_iter().find(|known| part == known.name()) {
        Some(Part::Monitor) => monitor::run(directory),
        Some(Part::Init) => init::run(directory),
        Some(Part::Exec) => exec::run(directory, &rest),
        Some(Part::Probe) => probe::run(),
        None => {
            eprintln!("`{SHIM}` is for the agent only: it holds a running task");
            2
        }
    };
    std::process::exit(status)
}
