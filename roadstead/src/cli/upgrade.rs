//! `roadstead upgrade`: has the supervisor of this machine become the binary that is now in its place.

use super::output::Output;
use crate::config::DATA_DEFAULT;
use crate::up::Notice;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub const EXAMPLES: &str = "Example:
  install -m 755 roadstead.new /usr/local/bin/roadstead
  roadstead upgrade

The edge fails no request meanwhile; a binary that would not start changes nothing (docs/upgrade.md).";

/// For the platform to end, and to start again.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the platform keeps everything
    #[arg(long, env = "ROADSTEAD_DATA", default_value = DATA_DEFAULT)]
    data: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { data, output } = arguments;
    let before = Notice::read(&data).filter(Notice::is_of_one_that_runs);
    let before = before.with_context(|| format!("no `roadstead up` runs on {}", data.display()))?;
    let pid = Pid::from_raw(before.process.pid);
    kill(pid, Signal::SIGUSR2).with_context(|| format!("ask `roadstead up`, process {pid}"))?;
    let Ok(after) = timeout(UPGRADE_TIMEOUT, answer(&data, &before)).await else {
        bail!("the platform has not started again within {UPGRADE_TIMEOUT:?}; its log says why");
    };
    let after = after?;
    let text = format!("roadstead {} runs, after {}; the edge served all the while", after.version, before.version);
    output.say(&text, &json!({ "before": before.version, "version": after.version, "pid": after.process.pid }))
}

/// What it says when it has done so.
async fn answer(data: &Path, before: &Notice) -> anyhow::Result<Notice> {
    loop {
        sleep(LOOK_INTERVAL).await;
        match Notice::read(data) {
            Some(after) if (&after.process, after.since_ms) != (&before.process, before.since_ms) => return Ok(after),
            Some(Notice { refusal: Some(refusal), refusals, .. }) if refusals > before.refusals => {
                bail!("the binary would not start, and nothing has changed: {refusal}")
            }
            _ if !before.is_of_one_that_runs() => {
                bail!("`roadstead up` has ended, and its edge works on for a while; its log says why")
            }
            _ => {}
        }
    }
}
