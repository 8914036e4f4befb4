//! The programs that make namespaces and links.

use crate::Error;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

/// Each program with Debian's package.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("tc", "iproute2"), ("nsenter", "util-linux")];

/// Where `ip netns` keeps names (ip-netns(8)).
pub(crate) fn netns_directory() -> PathBuf {
    Path::new("/run/netns").to_owned()
}

pub(crate) fn require_root_and_programs() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in PROGRAMS {
        if !std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
            return Err(Error::Missing { program, package });
        }
    }
    Ok(())
}

pub(crate) async fn ip(arguments: &[&str]) -> Result<String, Error> {
    run("ip", arguments).await
}

pub(crate) async fn tc(arguments: &[&str]) -> Result<String, Error> {
    run("tc", arguments).await
}

async fn run(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    judge(program, arguments, output)
}

/// For destructors, which cannot wait otherwise.
pub(crate) fn ip_blocking(arguments: &[&str]) -> Result<String, Error> {
    judge("ip", arguments, std::process::Command::new("ip").args(arguments).output())
}

fn judge(program: &str, arguments: &[&str], output: std::io::Result<Output>) -> Result<String, Error> {
    let command = || format!("{program} {}", arguments.join(" "));
    let output = output.map_err(|source| Error::Io { what: format!("run `{}`", command()), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Command { command: command(), said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}
