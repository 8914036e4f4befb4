//! Kills one instance as an operator's `kill -9` would: every process of the task gets SIGKILL, whatever runs it.
//! A task's processes are told by their environment.

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;

/// Marathon's variable that names the task.
const TASK_VARIABLE: &[u8] = b"MESOS_TASK_ID=";

/// Sends SIGKILL to every process whose environment names the task; how many there were.
pub fn task(task_id: &str) -> anyhow::Result<usize> {
    let mark = format!("MESOS_TASK_ID={task_id}");
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process that ends meanwhile, or is another user's, cannot be read: it is not the task's.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill process {pid}"))?;
            killed += 1;
        }
    }
    ensure!(killed > 0, "no process carries {mark}");
    Ok(killed)
}

/// The tasks that these processes belong to.
pub fn tasks_of(pids: &[i32]) -> BTreeSet<String> {
    // A process that ends meanwhile cannot be read.
    let environment = |pid: &i32| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let task = |environment: Vec<u8>| {
        let value = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(TASK_VARIABLE))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    pids.iter().map(environment).filter_map(task).collect()
}
