//! What a process and its children have used.

use anyhow::Context;
use std::path::Path;

/// `/proc/PID/stat` counts in these (`sysconf(_SC_CLK_TCK)` on every Linux this runs on).
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time a process has used, with its threads that ended.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The fields after the name, which may hold spaces, in parentheses (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("a number");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Time on a core, of every thread that lives, of a process and its children: exact, where `/proc/PID/stat` counts ticks.
pub fn cpu_seconds_of_all(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0;
    for pid in with_children(pid)? {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ends in this moment has no file.
            let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Memory as the processes' share of it (PSS): pages that several have are counted once.
pub fn memory_bytes_of_all(pid: u32) -> anyhow::Result<u64> {
    with_children(pid)?.into_iter().map(memory_bytes).sum()
}

pub fn memory_bytes(pid: u32) -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("a proportional share")?;
    Ok(share.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The process first.
pub fn with_children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        for thread in std::fs::read_dir(Path::new("/proc").join(parent.to_string()).join("task"))? {
            let children = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(memory_bytes(pid).unwrap() > 0);
        let before = cpu_seconds_of_all(pid).unwrap();
        // Reading it takes time: it grows.
        while cpu_seconds_of_all(pid).unwrap() <= before {}
    }
}
