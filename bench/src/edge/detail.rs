//! What does not drift: user instructions (callgrind) and system calls (strace) per request, on one kept connection.
//!
//! Each is counted for a few and for many requests; the difference leaves out what starting and ending cost.

use super::backend::Backend;
use super::idle::ask_on;
use super::proxy::{Face, HOST, OTHER_HOSTS, Peer, Proxy, Setup};
use anyhow::Context;
use std::path::Path;
use tokio::net::TcpStream;

const FEW: usize = 500;
const MANY: usize = 3_500;

pub async fn run() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    println!("per request on one kept connection");
    for peer in Peer::ALL {
        let instructions = per_request(peer, &backend, instructions).await?;
        let calls = per_request(peer, &backend, system_calls).await?;
        println!("  {peer}: {instructions:.0} user instructions, {calls:.2} system calls");
    }
    Ok(())
}

async fn per_request(
    peer: Peer,
    backend: &Backend,
    count: impl AsyncFn(Peer, &Backend, usize) -> anyhow::Result<u64>,
) -> anyhow::Result<f64> {
    let (few, many) = (count(peer, backend, FEW).await?, count(peer, backend, MANY).await?);
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

async fn instructions(peer: Peer, backend: &Backend, requests: usize) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir()?;
    let out = format!("--callgrind-out-file={}/%p", directory.path().display());
    let under = ["valgrind", "--tool=callgrind", "--trace-children=yes", "--quiet", &out];
    counted(peer, backend, &under, requests).await?;
    let total = |path: &Path| {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")))?;
        line.trim().parse::<u64>().ok()
    };
    let files = std::fs::read_dir(directory.path())?.filter_map(Result::ok);
    let sum: u64 = files.filter_map(|file| total(&file.path())).sum();
    (sum > 0).then_some(sum).with_context(|| format!("callgrind counted {peer}"))
}

async fn system_calls(peer: Peer, backend: &Backend, requests: usize) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("counts");
    let out = path.display().to_string();
    counted(peer, backend, &["strace", "-f", "-c", "-o", &out], requests).await?;
    let text = std::fs::read_to_string(&path)?;
    let line = text.lines().rev().find(|line| line.trim_end().ends_with("total"));
    // Share, seconds, microseconds per call, calls.
    let calls = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    calls.with_context(|| format!("strace counted {peer}: {text}"))
}

/// Runs a proxy under a tool that writes its count when the proxy has ended.
async fn counted(peer: Peer, backend: &Backend, under: &[&str], requests: usize) -> anyhow::Result<()> {
    let proxy = Proxy::set_up(Setup { peer, face: Face::Plain, other_hosts: OTHER_HOSTS, under }, backend).await?;
    let mut connection = TcpStream::connect(proxy.address).await?;
    for _ in 0..requests {
        ask_on(&mut connection, HOST, "/").await?;
    }
    drop(connection);
    proxy.server.end().await
}
