//! Three machines, made of network namespaces: every process is killed in turn, under deployments, and nothing is doubled,
//! lost or left behind. Root, etcd.

mod machines;
mod support;

use machines::{APP, Cluster, Machine, VIP, argument, run_alone};
use netlab::Node;
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{BINARY, Process, pids, processes_of_task, send, until};

/// What runs on each machine besides its tasks; `up` is the supervisor, `etcd` the state's member itself.
const PROCESSES: [&str; 8] = ["etcd", "state", "data", "edge", "agent", "vip", "etcd-member", "up"];
/// Kills by default; `cargo xtask soak kill` asks for more.
const KILLS_DEFAULT: usize = 10;
const KILLS_VARIABLE: &str = "ROADSTEAD_KILLS";
/// Where an etcd of the user's listens.
const ETCD: &str = "http://127.0.0.1:23790";

/// Tasks of the app that have a process on this machine.
fn tasks_with_processes() -> BTreeSet<String> {
    let of_app = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let variable =
            environment.split(|byte| *byte == 0).find(|variable| variable.starts_with(b"MESOS_TASK_ID=killed."))?;
        String::from_utf8(variable.to_vec()).ok()?.strip_prefix("MESOS_TASK_ID=").map(str::to_owned)
    };
    pids().into_iter().filter_map(of_app).collect()
}

/// Scales up and down and restarts, over and over, through whichever machine answers.
fn deploy(data: Vec<String>, stop: &AtomicBool) {
    let changes: [&[&str]; 4] = [
        &["app", "scale", APP, "6"],
        &["app", "restart", APP],
        &["app", "scale", APP, "3"],
        &["app", "scale", APP, "5"],
    ];
    for (round, change) in changes.into_iter().cycle().enumerate() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let data = &data[round % data.len()];
        // One that meets a machine that is being killed fails; the next goes to another.
        let _may_fail = std::process::Command::new(BINARY)
            .args(change)
            .args(["--data", data, "--force", "--timeout", "5"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn every_process_is_killed_in_turn_under_deployments_and_nothing_is_doubled_lost_or_left() {
    run_alone(kill_every_process());
}

async fn kill_every_process() {
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let mut cluster = Cluster::begin("kill").await;
    let run = [
        "app",
        "run",
        APP,
        "--cmd",
        "exec python3 -m http.server $PORT0",
        "--health",
        "/",
        "--cpus",
        "0.1",
        "--mem",
        "32",
    ];
    cluster.ask(&[run.as_slice(), &["--instances", "5"]].concat()).expect("the app is deployed");

    let stop = AtomicBool::new(false);
    let data: Vec<String> = cluster.machines.iter().map(Machine::data).collect();
    std::thread::scope(|scope| {
        let deploying = scope.spawn(|| deploy(data, &stop));
        // Three machines and eight processes have no common divisor: in 24 kills each is killed once.
        for kill in 0..kills {
            let (machine, part) = (&mut cluster.machines[kill % 3], PROCESSES[kill % PROCESSES.len()]);
            let name = machine.node.name().to_owned();
            eprintln!("kill {} of {kills}: {part} on {name}", kill + 1);
            let pid = until(&format!("{part} runs on {name}"), || machine.process_of(part));
            send(pid, Signal::SIGKILL);
            if part == "up" {
                machine.process = None;
                machine.run(&["up"]);
            }
            until(&format!("{part} runs again on {name}"), || machine.process_of(part).filter(|other| *other != pid));
        }
        stop.store(true, Ordering::SeqCst);
        deploying.join().expect("the deployments end");
    });

    until("all machines are well", || {
        let nodes = cluster.ask(&["node", "list"])?;
        let well = nodes.as_array()?.iter().filter(|node| node["state"] == "connected" && node["etcd"] == "voter");
        (well.count() == 3).then_some(())
    });
    until("the app is scaled to 5", || cluster.ask(&["app", "scale", APP, "5", "--force"]));
    let listed = until("exactly the listed tasks have processes", || {
        let app = cluster.ask(&["app", "show", APP])?;
        let listed: BTreeSet<String> =
            app["tasks"].as_array()?.iter().filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect();
        (listed.len() == 5 && app["tasksHealthy"] == 5 && listed == tasks_with_processes()).then_some(listed)
    });
    let roots: BTreeMap<&String, usize> = listed.iter().map(|task| (task, roots_of(task))).collect();
    assert!(roots.values().all(|count| *count == 1), "each task runs once: {roots:?}");
    let holders = cluster.machines.iter().map(|machine| machine.node.clone());
    let mut held = 0;
    for node in holders {
        held += usize::from(node.addresses().await.unwrap().contains(&VIP.parse().unwrap()));
    }
    assert_eq!(held, 1, "the address has one holder");

    until("the app is removed", || cluster.ask(&["app", "remove", APP, "--force"]));
    until("no process of a task is left", || tasks_with_processes().is_empty().then_some(()));
    for machine in &cluster.machines {
        let node = &machine.node;
        until(&format!("no host port is left open on {}", node.name()), || {
            open_host_ports(node).is_empty().then_some(())
        });
        let shims = node.pids().unwrap().into_iter().filter(|pid| is_shim(*pid as u32)).count();
        assert_eq!(shims, 0, "no shim is left on {}", node.name());
    }
    cluster.end().await;
}

#[test]
fn a_machine_that_was_alone_brings_what_it_ran_into_its_cluster() {
    run_alone(begin_a_cluster_where_something_runs());
}

async fn begin_a_cluster_where_something_runs() {
    let mut cluster = Cluster::of_one_alone("alone").await;
    let machine = &mut cluster.machines[0];
    let token = |machine: &Machine| machine.try_ask(&["token", "show"]).expect("there is a token")["token"].clone();
    let token_before = token(machine);
    machine.run(&["up", "--address", "10.89.0.11", "--name", "m1"]);
    until("the app runs in the cluster", || app_runs(machine));
    assert_eq!(token(machine), token_before, "whoever had a token has it still");
    let listed = machine.try_ask(&["node", "list"]).expect("the machines are listed");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    cluster.end().await;
}

#[test]
fn the_state_is_exported_into_an_etcd_of_the_users_and_the_platform_runs_on_it() {
    run_alone(run_on_an_etcd_of_the_users());
}

async fn run_on_an_etcd_of_the_users() {
    let mut cluster = Cluster::of_one_alone("outside").await;
    let machine = &mut cluster.machines[0];
    let outside = tempfile::tempdir().unwrap();
    let etcd = run_etcd(&machine.node, outside.path());
    let export = || {
        let data = machine.data();
        let mut command = machine.node.command(BINARY).into_std();
        command.args(["store", "export", "--data", &data, "--etcd", ETCD]).output().expect("the binary starts")
    };
    until("the keys are exported", || export().status.success().then_some(()));
    let again = export();
    assert!(String::from_utf8_lossy(&again.stderr).contains("the store is in use"), "{again:?}");

    // The platform finds its keys there, and needs the embedded store no more.
    std::fs::remove_dir_all(machine.data.path().join("store")).unwrap();
    machine.run(&["up", "--address", "10.89.0.11", "--name", "m1", "--etcd", ETCD]);
    until("the app runs", || app_runs(machine));

    // It starts while its etcd is away, and waits for it.
    machine.stop();
    drop(etcd);
    machine.spawn(&["up"]);
    until("the last of its processes runs", || machine.process_of("agent"));
    let etcd = run_etcd(&machine.node, outside.path());
    machine.until_ready();
    until("the app runs again", || app_runs(machine));
    cluster.end().await;
    drop(etcd);
}

/// An etcd of the user's.
fn run_etcd(node: &Node, data: &Path) -> Process {
    let mut etcd = node.command("etcd").into_std();
    etcd.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
    etcd.args(["--listen-peer-urls", "http://127.0.0.1:23800"]);
    etcd.arg("--data-dir").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    Process(etcd.spawn().expect("etcd is installed"))
}

/// Both tasks of the app are listed and have a process.
fn app_runs(machine: &Machine) -> Option<()> {
    let app = machine.try_ask(&["app", "show", APP])?;
    (app["tasksRunning"] == 2 && tasks_with_processes().len() == 2).then_some(())
}

#[test]
fn a_machine_that_is_removed_says_so_once_and_its_member_rests() {
    run_alone(remove_a_machine());
}

async fn remove_a_machine() {
    const TOLD: &str = "this machine was removed from its cluster";
    let cluster = Cluster::begin("remove").await;
    let removed = &cluster.machines[2];
    until("m3 is removed", || cluster.machines[0].try_ask(&["node", "remove", "m3", "--force"]));
    until("m3 says so", || removed.log().contains(TOLD).then_some(()));
    until("its member rests", || removed.log().contains("it is not started again").then_some(()));
    assert_eq!(removed.process_of("etcd-member"), None);
    assert_eq!(removed.log().matches(TOLD).count(), 1, "{}", removed.log());
    until("the others go on", || cluster.machines[0].try_ask(&["node", "list"]));
    cluster.end().await;
}

/// Processes of a task whose parent is not of the task: one for each time it runs.
fn roots_of(task: &str) -> usize {
    let all: BTreeSet<u32> = processes_of_task(task).into_iter().collect();
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()
    };
    all.iter().filter(|pid| parent(**pid).is_some_and(|parent| !all.contains(&parent))).count()
}

fn is_shim(pid: u32) -> bool {
    argument(pid, 0).is_some_and(|name| name.starts_with("roadstead-monitor") || name.starts_with("roadstead-init"))
}

/// Listeners among the host ports, in the node's namespace.
fn open_host_ports(node: &Node) -> Vec<String> {
    let output = node.command("ss").args(["-Hltn"]).as_std_mut().output().expect("iproute2 is installed");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let local = |line: &str| line.split_whitespace().nth(3).unwrap_or_default().to_owned();
    let is_host_port = |address: &String| {
        let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        port.is_some_and(|port| (31_000..31_100).contains(&port))
    };
    lines.lines().map(local).filter(is_host_port).collect()
}
