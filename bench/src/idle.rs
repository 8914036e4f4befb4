//! What three machines at rest cost: memory and CPU of every process of each, in network namespaces.

use crate::process;
use anyhow::{Context, ensure};
use netlab::{Lab, Node};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const BINARY: &str = "target/release/roadstead";
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// After the start: caches fill, elections end.
const SETTLING: Duration = Duration::from_secs(20);

struct Machine {
    node: Node,
    data: TempDir,
    supervisor: Child,
}

/// What one process holds and has used.
#[derive(Clone, Copy, Default)]
struct Use {
    memory_bytes: u64,
    cpu_seconds: f64,
}

pub async fn run(seconds: u64) -> anyhow::Result<()> {
    let lab = Lab::new("idle").await?;
    let mut machines = Vec::new();
    for number in 1..=3_u8 {
        let node = lab.node(&format!("m{number}"), ([10, 90, 0, 10 + number].into(), 24)).await?;
        let data = tempfile::tempdir()?;
        let address = format!("10.90.0.{}", 10 + number);
        let first = ["up", "--vip", "10.90.0.100/24"].map(str::to_owned).to_vec();
        let arguments = if number == 1 { first } else { vec!["join".into(), token(&machines)?] };
        let mut command = node.command(BINARY).into_std();
        command.args(arguments).args(["--address", &address, "--name", node.name(), "--runtime", "process"]);
        command.arg("--data").arg(data.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = command.spawn().context("start a machine")?;
        machines.push(Machine { node, data, supervisor });
        connected(&machines[0], machines.len()).await?;
    }
    tokio::time::sleep(SETTLING).await;
    let before: Vec<_> = machines.iter().map(processes).collect::<anyhow::Result<_>>()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after: Vec<_> = machines.iter().map(processes).collect::<anyhow::Result<_>>()?;
    print(&before, &after, seconds as f64);
    for machine in &mut machines {
        machine.node.kill().await?;
        machine.supervisor.wait()?;
    }
    lab.remove().await?;
    Ok(())
}

fn ask(data: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(BINARY).args(arguments).arg("--data").arg(data).args(["--output", "json"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn token(machines: &[Machine]) -> anyhow::Result<String> {
    let made = ask(machines[0].data.path(), &["node", "token"])?;
    Ok(made["token"].as_str().context("a token is text")?.to_owned())
}

async fn connected(first: &Machine, count: usize) -> anyhow::Result<()> {
    let looking = async {
        loop {
            let nodes = ask(first.data.path(), &["node", "list"]).unwrap_or_default();
            let connected =
                nodes.as_array().map_or(0, |nodes| nodes.iter().filter(|node| node["state"] == "connected").count());
            if connected == count {
                return;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, looking).await.with_context(|| format!("{count} machines were not connected"))
}

/// By what each process is.
fn processes(machine: &Machine) -> anyhow::Result<BTreeMap<String, Use>> {
    let mut found = BTreeMap::new();
    for pid in machine.node.pids()? {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let program = words.next().unwrap_or_default();
        let name = if program.ends_with("roadstead") { words.next().unwrap_or_default() } else { program };
        let pid = u32::try_from(pid)?;
        let used = Use { memory_bytes: process::memory_bytes(pid)?, cpu_seconds: process::cpu_seconds(pid)? };
        found.insert(if name == "join" { "up".into() } else { name }, used);
    }
    Ok(found)
}

fn print(before: &[BTreeMap<String, Use>], after: &[BTreeMap<String, Use>], seconds: f64) {
    for (number, (before, after)) in before.iter().zip(after).enumerate() {
        let mut total = Use::default();
        println!("machine {}", number + 1);
        for (name, now) in after {
            let past = before.get(name).copied().unwrap_or_default();
            let spent = Use { cpu_seconds: now.cpu_seconds - past.cpu_seconds, ..*now };
            println!("  {}", line(name, spent, seconds));
            if !name.ends_with("etcd") {
                total.memory_bytes += spent.memory_bytes;
                total.cpu_seconds += spent.cpu_seconds;
            }
        }
        println!("  {}", line("without etcd", total, seconds));
    }
}

fn line(name: &str, used: Use, seconds: f64) -> String {
    let mebibytes = used.memory_bytes as f64 / f64::from(1 << 20);
    format!("{name:<14} {mebibytes:6.1} MiB  {:5.2} % of a core", used.cpu_seconds / seconds * 100.0)
}
