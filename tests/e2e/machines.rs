//! Machines of a cluster, made of network namespaces. Root, etcd.
#![allow(dead_code)] // each test file uses its part of it

use crate::support::{self, BINARY, Process, children_of, until};
use netlab::{Lab, Node};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Stdio;
use tempfile::TempDir;

pub const APP: &str = "/killed";
pub const VIP: &str = "10.89.0.100";

pub struct Machine {
    pub node: Node,
    pub data: TempDir,
    pub process: Option<Process>,
}

pub struct Cluster {
    pub machines: Vec<Machine>,
    pub lab: Lab,
}

impl Machine {
    pub fn data(&self) -> String {
        self.data.path().display().to_string()
    }

    /// Runs `roadstead` until its machine is ready.
    pub fn run(&mut self, arguments: &[&str]) {
        self.spawn(arguments);
        self.until_ready();
    }

    /// Runs `roadstead` in the machine's namespace until it ends by itself or is killed.
    pub fn spawn(&mut self, arguments: &[&str]) {
        let data = self.data();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.path().join("log")).unwrap();
        let mut command = self.node.command(BINARY).into_std();
        command.args(arguments).args(["--data", &data]).args(["--runtime", "process"]);
        command.args(["--resources", "cpus:8;mem:8192;ports:[31000-31099]"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(Process(child.expect("nsenter is installed")));
    }

    pub fn until_ready(&self) {
        until(&format!("{} is ready", self.node.name()), || {
            let answer = self.try_ask(&["node", "list"])?;
            // Alone, a machine's id is made of its name.
            let is_own = |node: &&Value| node["address"] == "127.0.0.1" || node["id"] == self.node.name();
            let own = answer.as_array()?.iter().find(is_own)?.clone();
            (own["state"] == "connected").then_some(())
        });
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.process.take().expect("it runs").end(Signal::SIGTERM);
    }

    /// What it has logged, over all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).expect("it has a log")
    }

    /// What a command prints as JSON; `None` when it fails.
    pub fn try_ask(&self, arguments: &[&str]) -> Option<Value> {
        self.try_run(std::process::Command::new(BINARY), arguments)
    }

    /// The same inside the machine, for what listens on its loopback.
    pub fn try_ask_inside(&self, arguments: &[&str]) -> Option<Value> {
        self.try_run(self.node.command(BINARY).into_std(), arguments)
    }

    fn try_run(&self, mut command: std::process::Command, arguments: &[&str]) -> Option<Value> {
        command.args(arguments).args(["--data", &self.data(), "--output", "json"]);
        let output = command.output().expect("the binary starts");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("commands print JSON"))
    }

    /// The process of this machine that plays a part.
    pub fn process_of(&self, part: &str) -> Option<u32> {
        let supervisor = self.process.as_ref()?.id();
        let named = |parent: u32, index: usize, name: &str| {
            children_of(parent).into_iter().find(|pid| argument(*pid, index).as_deref() == Some(name))
        };
        match part {
            "up" => Some(supervisor),
            "etcd" => named(named(supervisor, 1, "etcd-member")?, 0, "etcd"),
            role => named(supervisor, 1, role),
        }
    }
}

impl Cluster {
    /// Machines `m1` and so on, on which nothing runs yet.
    pub async fn of(lab: &str, count: u8) -> Self {
        let lab = Lab::new(lab).await.expect("root, ip, tc and nsenter are there");
        let mut machines = Vec::new();
        for number in 1..=count {
            let address = ([10, 89, 0, 10 + number].into(), 24);
            let node = lab.node(&format!("m{number}"), address).await.unwrap();
            let data = tempfile::Builder::new().prefix("roadstead-cluster-").tempdir().unwrap();
            machines.push(Machine { node, data, process: None });
        }
        Self { machines, lab }
    }

    /// One machine that was alone: it has run two tasks of the app, and was stopped.
    pub async fn of_one_alone(lab: &str) -> Self {
        let mut cluster = Self::of(lab, 1).await;
        let machine = &mut cluster.machines[0];
        machine.run(&["up", "--name", "alone"]);
        let run = ["app", "run", APP, "--cmd", "exec sleep 100000", "--cpus", "0.1", "--mem", "32", "--instances", "2"];
        machine.try_ask(&run).expect("the app is deployed");
        machine.stop();
        cluster
    }

    pub async fn begin(lab: &str) -> Self {
        let mut cluster = Self::of(lab, 3).await;
        let vip = format!("{VIP}/24");
        cluster.machines[0].run(&["up", "--address", "10.89.0.11", "--name", "m1", "--vip", &vip]);
        let token = cluster.machines[0].try_ask(&["node", "token"]).expect("a token is made");
        let token = token["token"].as_str().expect("a token is text").to_owned();
        for index in [1, 2] {
            let (name, address) = (format!("m{}", index + 1), format!("10.89.0.1{}", index + 1));
            cluster.machines[index].run(&["join", &token, "--address", &address, "--name", &name]);
        }
        until("all three vote", || {
            let nodes = cluster.machines[0].try_ask(&["node", "list"])?;
            let votes = nodes.as_array()?.iter().filter(|node| node["etcd"] == "voter").count();
            (votes == 3).then_some(())
        });
        cluster
    }

    /// The first machine that answers.
    pub fn ask(&self, arguments: &[&str]) -> Option<Value> {
        self.machines.iter().find_map(|machine| machine.try_ask(arguments))
    }

    pub async fn end(mut self) {
        for machine in &mut self.machines {
            machine.node.kill().await.expect("processes can be killed");
            machine.process = None;
        }
        self.lab.remove().await.expect("the lab can be removed");
    }
}

pub fn run_alone(test: impl Future<Output = ()>) {
    let _alone = support::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(test);
}

pub fn argument(pid: u32, index: usize) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let word = line.split(|byte| *byte == 0).nth(index)?.to_vec();
    let word = String::from_utf8(word).ok()?;
    // A program goes by its name, however it was found.
    Some(word.rsplit('/').next().unwrap_or_default().to_owned())
}
