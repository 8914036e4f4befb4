//! Installs the peers of the real tests from Debian's packages and PyPI.

use crate::shell::{self, is_installed};
use anyhow::bail;
use std::path::{Path, PathBuf};

/// Programs the tests drive, and the package each comes from.
const PEERS: [(&str, &str); 16] = [
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("haproxy", "haproxy"),
    ("dockerd", "docker.io"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("aws", "awscli"),
    ("s3cmd", "s3cmd"),
    ("rclone", "rclone"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("setpriv", "util-linux"),
    ("python3", "python3"),
    ("busybox", "busybox-static"),
];

/// Python packages, in a virtual environment of the build directory.
const PYTHON_PACKAGES: [&str; 1] = ["boto3"];

pub fn run() -> anyhow::Result<()> {
    let missing: Vec<&str> =
        PEERS.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        if !is_installed("apt-get") {
            bail!("these programs are needed and there is no apt-get to install them: {}", missing.join(", "));
        }
        shell::run("apt-get", &["update", "-qq"])?;
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(&missing);
        // Maintainer scripts must not ask, nor start services: the tests start their own.
        shell::run(
            "env",
            &[&["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"], arguments.as_slice()].concat(),
        )?;
    }
    python()
}

/// The interpreter with the Python packages, for tests: `target/peers/python/bin/python3`.
pub fn python_path() -> PathBuf {
    Path::new("target").join("peers/python/bin/python3")
}

fn python() -> anyhow::Result<()> {
    let python = python_path();
    if !python.is_file() {
        shell::run("python3", &["-m", "venv", "target/peers/python"])?;
    }
    let python = python.to_string_lossy();
    for package in PYTHON_PACKAGES {
        if shell::run(&python, &["-c", &format!("import {package}")]).is_err() {
            shell::run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package])?;
        }
    }
    Ok(())
}
