//! The agent as a process, on the real kernel: killed without warning, started again.

#[path = "support/controller.rs"]
mod controller;

use controller::{Controller, DEADLINE};
use protocol::{Check, PortBinding, TaskReport, TaskSpec, TaskState};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

fn agent(controller: &Controller, data: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_agent-harness"))
        .arg(controller.uri())
        .arg(data)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Below the ports that the kernel hands out to everyone else meanwhile (`ip_local_port_range` begins at 32768).
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 100);
    ports.by_ref().take(100).find(is_free).expect("one of a hundred ports is free")
}

/// A web server on the host's own files, behind a forwarded port.
fn web_server(task_id: &str, directory: &Path) -> TaskSpec {
    let host_port = u32::from(free_port());
    std::fs::write(directory.join("index.html"), "hello").unwrap();
    TaskSpec {
        task_id: task_id.to_owned(),
        app_id: "/web".to_owned(),
        container_name: task_id.to_owned(),
        cmd: Some(format!("exec busybox httpd -f -p 8080 -h '{}'", directory.display())),
        kill_grace_ms: 3_000,
        ports: vec![PortBinding { host_port, container_port: 8080, protocol: "tcp".to_owned(), name: String::new() }],
        checks: vec![Check {
            protocol: "HTTP".to_owned(),
            path: "/".to_owned(),
            host_port,
            grace_ms: 10_000,
            interval_ms: 1_000,
            timeout_ms: 5_000,
            max_consecutive_failures: 3,
            ..Check::default()
        }],
        ..TaskSpec::default()
    }
}

fn is_well(task: &TaskReport) -> bool {
    task.state() == TaskState::TaskRunning && task.checks.iter().all(|check| check.alive)
}

#[tokio::test]
async fn an_agent_killed_without_warning_takes_its_tasks_back() {
    let (data, pages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start().await;
    let mut first = agent(&controller, data.path());
    let task = web_server("web", pages.path());
    let port = task.ports[0].host_port;
    controller.desire(1, vec![task.clone()]).await;
    let before = controller.until_task("web", "healthy", is_well).await;

    first.kill().await.unwrap();
    // It serves on with nobody to look after it.
    let client = web::Client::default();
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(&client.get(&url).await.unwrap().body()[..], b"hello");

    let reports = controller.with(|heard| heard.reports.len());
    let mut second = agent(&controller, data.path());
    // The very first report says that it is well: nobody takes it out of a route because its agent was restarted.
    let report =
        controller.until("the first report", |heard| heard.reports.get(reports).map(|tasks| tasks[0].clone())).await;
    assert!(is_well(&report), "{report:?}");
    assert_eq!(report.started_at_ms, before.started_at_ms);

    controller.desire(2, vec![TaskSpec { stop: true, ..task }]).await;
    controller.until_task("web", "killed", |task| task.state() == TaskState::TaskKilled).await;
    std::net::TcpListener::bind(("127.0.0.1", port as u16)).unwrap();
    controller.desire(3, vec![]).await;
    controller.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    let deadline = Instant::now() + DEADLINE;
    while std::fs::read_dir(data.path().join("tasks")).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "the task's directory stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    controller.stop();
    second.kill().await.unwrap();
}

/// As a machine whose disk hangs, or a virtual one that is moved: for a while nothing of it runs, then everything goes on. Its
/// session is another's by then.
#[tokio::test]
async fn an_agent_suspended_for_two_seconds_goes_on_with_the_next_leader_and_kills_nothing() {
    let (data, pages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (Controller::start().await, Controller::start().await);
    let mut agent = agent(&first, data.path());
    let task = web_server("web", pages.path());
    let port = task.ports[0].host_port;
    first.desire(1, vec![task.clone()]).await;
    let before = first.until_task("web", "healthy", is_well).await;
    first.name(vec![first.address.to_string(), second.address.to_string()]).await;
    eventually("the controllers are written down", || data.path().join("controllers.json").exists()).await;

    let id = nix::unistd::Pid::from_raw(agent.id().unwrap() as i32);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let suspended = Instant::now();
    first.yield_to(&second);
    let client = web::Client::default();
    while suspended.elapsed() < Duration::from_secs(2) {
        let response = client.get(&format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert_eq!(&response.body()[..], b"hello", "the task does not depend on its agent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGCONT).unwrap();
    let woken = Instant::now();
    let report = second.until_task("web", "healthy", is_well).await;
    let took = woken.elapsed();
    eprintln!("the next leader heard of the agent {took:?} after it woke");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((report.started_at_ms, report.checks[0].consecutive_failures), (before.started_at_ms, 0));

    second.desire(2, vec![]).await;
    second.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    agent.kill().await.unwrap();
}

/// A store that was lost and begun anew, say: nothing is stopped on its first word.
#[tokio::test]
async fn another_clusters_empty_set_is_believed_only_when_it_stands() {
    let data = tempfile::tempdir().unwrap();
    let controller = Controller::start().await;
    let mut agent = agent(&controller, data.path());
    let task = TaskSpec {
        task_id: "t".to_owned(),
        container_name: "t".to_owned(),
        cmd: Some("sleep 600".to_owned()),
        ..TaskSpec::default()
    };
    controller.desire(100, vec![task]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    let told = Instant::now();
    controller.desire_of(controller::CLUSTER + 1, 1, vec![]).await;
    controller.until("stopped", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    let took = told.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&took), "{took:?}");
    agent.kill().await.unwrap();
}

async fn eventually(name: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {name}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Killed again and again while it starts tasks, at a different point each time.
#[tokio::test]
async fn an_agent_killed_while_it_starts_tasks_doubles_none() {
    const TASKS: usize = 12;
    let data = tempfile::tempdir().unwrap();
    let controller = Controller::start().await;
    let task = |number: usize| TaskSpec {
        task_id: format!("t-{number}"),
        container_name: format!("t-{number}"),
        cmd: Some("echo $$ >> count; exec sleep 600".to_owned()),
        ..TaskSpec::default()
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    for (round, begun) in [0, 1, 2, 4, 8].into_iter().enumerate() {
        let mut agent = agent(&controller, data.path());
        controller.until("a session", |heard| (heard.hellos.len() > round).then_some(())).await;
        controller.desire(1, tasks.clone()).await;
        let directories = || std::fs::read_dir(data.path().join("tasks")).map_or(0, Iterator::count);
        let deadline = Instant::now() + DEADLINE;
        while directories() < begun {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        agent.kill().await.unwrap();
    }
    let mut last = agent(&controller, data.path());
    let running = |tasks: &Vec<TaskReport>| {
        tasks.len() == TASKS && tasks.iter().all(|task| task.state() == TaskState::TaskRunning)
    };
    controller.until("a session", |heard| (heard.hellos.len() > 5).then_some(())).await;
    controller.desire(1, tasks.clone()).await;
    controller.until("all running", |heard| heard.reports.last().filter(|tasks| running(tasks)).map(|_| ())).await;
    let mut monitors = std::collections::BTreeMap::<String, usize>::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains("monitor") && line.contains(&data.path().display().to_string()) {
            *monitors.entry(line).or_default() += 1;
        }
    }
    assert!(monitors.len() == TASKS && monitors.values().all(|count| *count == 1), "{monitors:?}");
    controller.desire(2, vec![]).await;
    controller.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    last.kill().await.unwrap();
}

#[tokio::test]
async fn twenty_tasks_are_healthy_within_three_seconds() {
    let (data, pages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start().await;
    let mut agent = agent(&controller, data.path());
    controller.until("hello", |heard| heard.hellos.first().cloned()).await;
    let tasks: Vec<_> = (0..20).map(|number| web_server(&format!("web-{number}"), pages.path())).collect();
    let begun = Instant::now();
    controller.desire(1, tasks.clone()).await;
    let all_well = |tasks: &Vec<TaskReport>| tasks.len() == 20 && tasks.iter().all(is_well);
    controller
        .until("twenty healthy tasks", |heard| heard.reports.last().filter(|tasks| all_well(tasks)).map(|_| ()))
        .await;
    let took = begun.elapsed();
    eprintln!("20 tasks were healthy after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    controller.desire(2, vec![]).await;
    controller.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    agent.kill().await.unwrap();
}

#[tokio::test]
async fn a_command_check_runs_inside_and_the_log_is_read() {
    let data = tempfile::tempdir().unwrap();
    let controller = Controller::start().await;
    let mut agent = agent(&controller, data.path());
    let check = Check {
        protocol: "COMMAND".to_owned(),
        command: "test \"$(hostname)\" = inside".to_owned(),
        grace_ms: 10_000,
        timeout_ms: 5_000,
        ..Check::default()
    };
    let task = TaskSpec {
        task_id: "t".to_owned(),
        container_name: "inside".to_owned(),
        cmd: Some("echo said; sleep 600".to_owned()),
        checks: vec![check],
        ..TaskSpec::default()
    };
    controller.desire(1, vec![task]).await;
    controller.until_task("t", "healthy", is_well).await;
    let request = protocol::LogRequest {
        request_id: 1,
        task_id: "t".to_owned(),
        stream: "stdout".to_owned(),
        offset: 0,
        length: 100,
    };
    assert_eq!(controller.log(request).await.data, b"said\n");
    controller.desire(2, vec![]).await;
    controller.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    agent.kill().await.unwrap();
}
