//! Kills one instance as an operator's `kill -9` would: every process of the task gets SIGKILL, whatever runs it.

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
