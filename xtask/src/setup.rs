//! Installs the peers of the real tests from Debian's packages.

use crate::shell::{self, is_installed};
use anyhow::bail;

/// Programs the tests drive, and the package each comes from.
const PEERS: [(&str, &str); 19] = [
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
    ("python3", "python3-venv"),
    ("busybox", "busybox-static"),
    ("keepalived", "keepalived"),
    ("iptables", "iptables"),
    ("pebble", "pebble"),
];

/// What only measurements need: another proxy, load, counters.
const BENCH_PEERS: [(&str, &str); 6] = [
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
];

pub fn run() -> anyhow::Result<()> {
    let mut missing = missing(&PEERS);
    // Tests that need Python packages (boto3, marathon) make a virtual environment of their own.
    if is_installed("python3") && shell::run("python3", &["-c", "import ensurepip, venv"]).is_err() {
        missing.push("python3-venv");
    }
    install(&missing)
}

pub fn for_bench() -> anyhow::Result<()> {
    install(&missing(&BENCH_PEERS))
}

fn missing(peers: &[(&str, &'static str)]) -> Vec<&'static str> {
    peers.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect()
}

fn install(missing: &[&str]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !is_installed("apt-get") {
        bail!("these packages are needed and there is no apt-get to install them: {}", missing.join(", "));
    }
    shell::run("apt-get", &["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(missing);
    // Maintainer scripts must not ask, nor start services: the tests start their own.
    shell::run("env", &[&["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"], arguments.as_slice()].concat())
}
