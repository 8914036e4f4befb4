//! A node between a controller and a runtime, both of the test's making.

#[path = "support/controller.rs"]
mod controller;
#[path = "support/fake_runtime.rs"]
mod fake_runtime;
#[path = "node/recorded_controller.rs"]
mod recorded_controller;

use agent::{BOOT_PATIENCE, Config, RuntimeKind, TasksOnStop, default_resources};
use controller::Controller;
use fake_runtime::{ENDLESS_IMAGE, FakeRuntime, MISSING_IMAGE, STARTED_AT_MS};
use lifecycle::{Started, Stop};
use protocol::{Check, LogRequest, TaskSpec, TaskState};
use runtime::How;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Node {
    stop: Stop,
    started: Started,
}

impl Node {
    async fn start(config: Config, runtime: Arc<FakeRuntime>) -> Self {
        let stop = Stop::new();
        let started = agent::start_with(config, runtime, stop.clone()).await.unwrap();
        Self { stop, started }
    }

    async fn stop(self) {
        self.stop.request();
        tokio::time::timeout(controller::DEADLINE, self.started.finished()).await.unwrap().unwrap();
    }
}

fn config(data: &Path, controller: &Controller) -> Config {
    config_for(data, controller.uri())
}

fn config_for(data: &Path, controller: String) -> Config {
    Config {
        controllers: vec![controller],
        tls: None,
        data: data.to_owned(),
        runtime: RuntimeKind::Process,
        node_id: None,
        hostname: "node-1.example".to_owned(),
        address: "127.0.0.1".to_owned(),
        resources: default_resources(),
        attributes: BTreeMap::from([("rack".to_owned(), "a".to_owned())]),
        registry: None,
        registry_credentials: web::Credentials::None,
        credentials: web::Credentials::Bearer("rs_agent".to_owned()),
        listen: Some(([127, 0, 0, 1], 0).into()),
        verifier: identity::Verifier::Open,
        tasks_on_stop: TasksOnStop::Keep,
        shim: "/proc/self/exe".into(),
        version: "test".to_owned(),
    }
}

fn spec(task_id: &str) -> TaskSpec {
    TaskSpec {
        task_id: task_id.to_owned(),
        app_id: "/app".to_owned(),
        container_name: task_id.to_owned(),
        cmd: Some("serve".to_owned()),
        kill_grace_ms: 3_000,
        ..TaskSpec::default()
    }
}

fn stopping(task_id: &str) -> TaskSpec {
    TaskSpec { stop: true, ..spec(task_id) }
}

async fn eventually(name: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + controller::DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {name}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_task_is_started_reported_stopped_and_forgotten() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    let hello = controller.until("hello", |heard| heard.hellos.first().cloned()).await;
    assert_eq!((hello.runtime.as_str(), hello.limits), ("process", vec!["runs nothing".to_owned()]));
    assert_eq!(hello.attributes["rack"], "a");
    controller.until("an empty report", |heard| (heard.reports.last()? == &[]).then_some(())).await;

    controller.desire(1, vec![spec("t")]).await;
    let report = controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    assert_eq!((report.started_at_ms, report.app_id.as_str()), (STARTED_AT_MS, "/app"));
    controller.desire(2, vec![stopping("t")]).await;
    controller.until_task("t", "killed", |task| task.state() == TaskState::TaskKilled).await;
    assert_eq!(runtime.stopped.lock().unwrap()[..], [("t".to_owned(), Duration::from_secs(3))]);
    controller.desire(3, vec![]).await;
    controller.until("forgotten", |heard| heard.reports.last()?.is_empty().then_some(())).await;
    assert_eq!(controller.with(|heard| heard.authorization.clone()), [Some("Bearer rs_agent".to_owned())]);
    node.stop().await;
    assert_eq!(runtime.ids(), Vec::<String>::new());
}

#[tokio::test]
async fn running_tasks_are_taken_back_after_a_restart_and_not_doubled() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(5, vec![spec("a"), spec("b")]).await;
    controller.until_task("b", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.until_task("a", "running", |task| task.state() == TaskState::TaskRunning).await;
    node.stop().await;
    // Nobody watches, and one ends.
    runtime.end("b", How::Code(3));
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    let report = controller.until_task("b", "failed", |task| task.state() == TaskState::TaskFailed).await;
    assert_eq!(report.exit_code, 3);
    controller.until_task("a", "running", |task| task.state() == TaskState::TaskRunning).await;
    let hellos = controller.with(|heard| heard.hellos.clone());
    assert_eq!(hellos[0].node_id, hellos[1].node_id);
    assert_eq!((hellos[1].generation, hellos[1].cluster_id), (5, controller::CLUSTER));
    let mut started = runtime.started.lock().unwrap().clone();
    started.sort();
    assert_eq!(started, ["a", "b"]);
    node.stop().await;
}

/// A node whose tasks "stays", "goes" and "stops" ran, and whose machine was lost then: the next runtime knows nothing.
async fn lost_machine() -> (tempfile::TempDir, Controller) {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(1, vec![spec("stays"), spec("goes"), spec("stops")]).await;
    let all_run = |tasks: &Vec<protocol::TaskReport>| tasks.iter().all(|task| task.state() == TaskState::TaskRunning);
    let three_run = |tasks: &&Vec<protocol::TaskReport>| tasks.len() == 3 && all_run(tasks);
    controller.until("all running", |heard| heard.reports.last().filter(three_run).map(|_| ())).await;
    node.stop().await;
    (data, controller)
}

#[tokio::test]
async fn what_was_replaced_meanwhile_is_not_started_again() {
    let (data, controller) = lost_machine().await;
    let runtime = FakeRuntime::new();
    let heard = controller.with(|heard| (heard.hellos.len(), heard.reports.len()));
    let begun = Instant::now();
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.until("hello", |now| (now.hellos.len() > heard.0).then_some(())).await;
    // A controller speaks only to those who have said what they run.
    let states = |tasks: &Vec<protocol::TaskReport>| tasks.iter().map(|task| task.state()).collect::<Vec<_>>();
    let report = controller.until("a report", |now| now.reports.get(heard.1).map(states)).await;
    assert_eq!(report, [TaskState::TaskStaging; 3], "none runs, and none is lost");
    assert_eq!(runtime.started.lock().unwrap()[..], [""; 0]);

    controller.desire(2, vec![spec("stays"), stopping("stops")]).await;
    controller.until_task("stays", "running", |task| task.state() == TaskState::TaskRunning).await;
    assert!(begun.elapsed() < BOOT_PATIENCE, "what is listed is begun at once");
    controller.until_task("stops", "killed", |task| task.state() == TaskState::TaskKilled).await;
    controller.desire(3, vec![spec("stays")]).await;
    controller.until("forgotten", |heard| (heard.reports.last()?.len() == 1).then_some(())).await;
    assert_eq!(runtime.started.lock().unwrap()[..], ["stays"]);
    assert_eq!(runtime.stopped.lock().unwrap()[..], []);
    node.stop().await;
}

#[tokio::test]
async fn with_no_controller_a_node_boots_its_tasks_after_a_moment() {
    let (data, controller) = lost_machine().await;
    controller.stop();
    let runtime = FakeRuntime::new();
    let begun = Instant::now();
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    eventually("its tasks run", || runtime.ids() == ["goes", "stays", "stops"]).await;
    assert!(begun.elapsed() >= BOOT_PATIENCE, "{:?}", begun.elapsed());
    // When the controller is back it is told.
    let controller = Controller::start_on(controller.address).await;
    controller.until_task("stays", "running", |task| task.state() == TaskState::TaskRunning).await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_told_to_stop_while_its_tasks_wait_begins_none() {
    let (data, controller) = lost_machine().await;
    controller.stop();
    for (tasks_on_stop, waiting) in [(TasksOnStop::Keep, 3), (TasksOnStop::End, 3), (TasksOnStop::Keep, 0)] {
        let runtime = FakeRuntime::new();
        let begun = Instant::now();
        let node = Node::start(Config { tasks_on_stop, ..config(data.path(), &controller) }, runtime.clone()).await;
        let face = node.started.address("").unwrap();
        let status: serde_json::Value =
            web::Client::default().get_json(&format!("http://{face}/status")).await.unwrap();
        assert_eq!(status["tasks"].as_array().unwrap().len(), waiting, "{status}");
        node.stop().await;
        assert!(begun.elapsed() < BOOT_PATIENCE);
        assert_eq!(runtime.started.lock().unwrap()[..], [""; 0]);
    }
}

#[tokio::test]
async fn a_node_with_only_dead_controllers_boots_its_tasks_and_finds_one_that_comes() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime).await;
    controller.desire(1, vec![spec("a")]).await;
    controller.until_task("a", "running", |task| task.state() == TaskState::TaskRunning).await;
    let (second, third) = (Controller::start().await, Controller::start().await);
    let addresses = [&controller, &second, &third].map(|controller| controller.address.to_string());
    controller.name(addresses.to_vec()).await;
    eventually("they are written down", || data.path().join("controllers.json").exists()).await;
    node.stop().await;
    let later = third.address;
    for dead in [&controller, &second, &third] {
        dead.stop();
    }
    let runtime = FakeRuntime::new();
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    eventually("its tasks run", || runtime.ids() == ["a"]).await;
    let third = Controller::start_on(later).await;
    third.until_task("a", "running", |task| task.state() == TaskState::TaskRunning).await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_follows_the_leader_without_touching_its_tasks() {
    let (data, first, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &first), runtime.clone()).await;
    first.desire(1, vec![spec("t")]).await;
    first.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    let second = Controller::start().await;
    first.yield_to(&second);
    second.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    let heartbeats = second.with(|heard| heard.heartbeats);
    second.until("a heartbeat", |heard| (heard.heartbeats > heartbeats).then_some(())).await;
    assert_eq!((runtime.started.lock().unwrap().len(), runtime.stopped.lock().unwrap().len()), (1, 0));
    node.stop().await;
}

#[tokio::test]
async fn a_torn_desired_set_stops_nothing_and_starts_nothing_until_a_controller_speaks() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(5, vec![spec("stays"), spec("goes")]).await;
    controller.until_task("goes", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.until_task("stays", "running", |task| task.state() == TaskState::TaskRunning).await;
    node.stop().await;
    let path = data.path().join("desired");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let heard = controller.with(|heard| (heard.hellos.len(), heard.reports.len()));
    let states = |tasks: &Vec<protocol::TaskReport>| tasks.iter().map(|task| task.state()).collect::<Vec<_>>();

    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.until("hello", |now| (now.hellos.len() > heard.0).then_some(())).await;
    let face = node.started.address("").unwrap();
    let status: serde_json::Value = web::Client::default().get_json(&format!("http://{face}/status")).await.unwrap();
    assert!(status["desired"].as_str().unwrap().starts_with("lost"), "{status}");
    // A controller speaks only to those who have said what they run.
    let report = controller.until("a report", |now| now.reports.get(heard.1).map(states)).await;
    assert_eq!(report, [TaskState::TaskUnknown; 2], "there, and no more is known");
    assert_eq!((runtime.started.lock().unwrap().len(), runtime.stopped.lock().unwrap().len()), (2, 0));

    controller.desire(6, vec![spec("stays"), spec("new")]).await;
    controller.until_task("new", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.until_task("stays", "running", |task| task.state() == TaskState::TaskRunning).await;
    let hello = controller.with(|heard| heard.hellos.last().cloned()).unwrap();
    assert_eq!((hello.generation, hello.cluster_id), (0, 0));
    eventually("what is not listed is stopped", || runtime.ids() == ["new", "stays"]).await;
    assert_eq!(runtime.stopped.lock().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_restored_cluster_is_followed_though_its_generations_are_lower() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(700, vec![spec("t")]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.desire_of(controller::CLUSTER + 1, 3, vec![spec("t"), spec("u")]).await;
    controller.until_task("u", "running", |task| task.state() == TaskState::TaskRunning).await;
    // One that knows nothing of what runs here waits; the session is another one's meanwhile.
    controller.desire_of(controller::CLUSTER + 2, 900, vec![]).await;
    controller.desire_of(controller::CLUSTER + 1, 4, vec![spec("t"), spec("u"), spec("v")]).await;
    controller.until_task("v", "running", |task| task.state() == TaskState::TaskRunning).await;
    assert_eq!(runtime.stopped.lock().unwrap()[..], []);
    node.stop().await;
}

#[tokio::test]
async fn an_older_generation_is_refused() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(7, vec![spec("t")]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.desire(6, vec![]).await;
    // Sets are taken in order: when the next one shows, the refused one has been seen.
    controller.desire(8, vec![spec("t"), spec("u")]).await;
    controller.until_task("u", "running", |task| task.state() == TaskState::TaskRunning).await;
    assert_eq!(runtime.stopped.lock().unwrap()[..], []);
    node.stop().await;
}

#[tokio::test]
async fn the_session_is_opened_again_when_it_breaks() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    controller.desire(1, vec![spec("t")]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    controller.stop();
    let again = Controller::start_on(controller.address).await;
    let hello = again.until("hello", |heard| heard.hellos.first().cloned()).await;
    assert_eq!(hello.generation, 1);
    again.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    again.until("a heartbeat", |heard| (heard.heartbeats > 0).then_some(())).await;
    assert_eq!(runtime.started.lock().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_start_is_an_error_that_says_why() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    let missing = TaskSpec { image: MISSING_IMAGE.to_owned(), ..spec("missing") };
    let hostile = TaskSpec { task_id: "../../etc".to_owned(), ..spec("x") };
    controller.desire(1, vec![missing, hostile, spec("good")]).await;
    let report = controller.until_task("missing", "error", |task| task.state() == TaskState::TaskError).await;
    assert_eq!(report.message, "image nowhere/missing:1: not found in the registry");
    let report = controller.until_task("../../etc", "error", |task| task.state() == TaskState::TaskError).await;
    assert!(report.message.contains("id"), "{}", report.message);
    controller.until_task("good", "running", |task| task.state() == TaskState::TaskRunning).await;
    assert_eq!(runtime.started.lock().unwrap()[..], ["good".to_owned()]);
    node.stop().await;
}

#[tokio::test]
async fn a_task_told_to_stop_while_its_image_is_pulled_is_killed_at_once() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    let endless = |task_id: &str, stop| TaskSpec { image: ENDLESS_IMAGE.to_owned(), stop, ..spec(task_id) };
    controller.desire(1, vec![endless("told", false), endless("dropped", false)]).await;
    let deadline = Instant::now() + controller::DEADLINE;
    while *runtime.pulling.lock().unwrap() < 2 {
        assert!(Instant::now() < deadline, "no pull was begun");
        tokio::task::yield_now().await;
    }
    controller.desire(2, vec![endless("told", true)]).await;
    let report = controller.until_task("told", "killed", |task| task.state() == TaskState::TaskKilled).await;
    assert!(report.message.contains("told to stop"), "{}", report.message);
    let only_told = |tasks: &Vec<protocol::TaskReport>| tasks.len() == 1 && tasks[0].task_id == "told";
    controller.until("the other forgotten", |heard| only_told(heard.reports.last()?).then_some(())).await;
    assert_eq!(runtime.started.lock().unwrap()[..], Vec::<String>::new());
    node.stop().await;
}

#[tokio::test]
async fn checks_are_reported_and_a_check_that_gives_up_says_so() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    let check = |command: &str| Check {
        protocol: "COMMAND".to_owned(),
        command: command.to_owned(),
        interval_ms: 100,
        timeout_ms: 5_000,
        max_consecutive_failures: 2,
        ..Check::default()
    };
    let task = TaskSpec { checks: vec![check("true"), check("false")], ..spec("t") };
    controller.desire(1, vec![task]).await;
    let report = controller
        .until_task("t", "both verdicts", |task| {
            task.checks.len() == 2 && task.checks[0].alive && task.checks[1].gave_up
        })
        .await;
    assert!(report.checks[0].first_success_ms > 0 && !report.checks[0].gave_up);
    assert!(report.checks[1].consecutive_failures >= 3 && !report.checks[1].alive);
    assert!(report.checks[1].last_failure_cause.contains("status 1"));
    // The controller decides; the node does not kill by itself.
    assert_eq!(report.state(), TaskState::TaskRunning);
    node.stop().await;
}

#[tokio::test]
async fn logs_are_read_over_the_session() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime).await;
    controller.desire(1, vec![spec("t")]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    let request = |request_id, task_id: &str, stream: &str, offset| LogRequest {
        request_id,
        task_id: task_id.to_owned(),
        stream: stream.to_owned(),
        offset,
        length: 4,
    };
    let chunk = controller.log(request(1, "t", "stdout", 4)).await;
    assert_eq!((chunk.offset, &chunk.data[..], chunk.error.as_str()), (4, &b"of t"[..], ""));
    let chunk = controller.log(request(2, "t", "stderr", -1)).await;
    assert_eq!(&chunk.data[..], b"f t\n");
    assert!(controller.log(request(3, "absent", "stdout", 0)).await.error.contains("absent"));
    assert!(controller.log(request(4, "t", "stdin", 0)).await.error.contains("stdin"));
    node.stop().await;
}

#[tokio::test]
async fn logs_of_the_last_ended_tasks_are_still_read() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime.clone()).await;
    // One more than is kept; they end one after the other.
    let tasks: Vec<String> = (0..11).map(|number| format!("t{number:02}")).collect();
    for (generation, task_id) in (1..).step_by(2).zip(&tasks) {
        controller.desire(generation, vec![spec(task_id)]).await;
        controller.until_task(task_id, "running", |task| task.state() == TaskState::TaskRunning).await;
        runtime.end(task_id, How::Code(1));
        controller.until_task(task_id, "failed", |task| task.state() == TaskState::TaskFailed).await;
        controller.desire(generation + 1, vec![]).await;
        let deadline = Instant::now() + controller::DEADLINE;
        while !runtime.ids().is_empty() {
            assert!(Instant::now() < deadline, "{task_id} is not removed");
            tokio::task::yield_now().await;
        }
    }
    let request = |request_id, task_id: &str, offset| LogRequest {
        request_id,
        task_id: task_id.to_owned(),
        stream: "stdout".to_owned(),
        offset,
        length: 5,
    };
    for (request_id, task_id) in (1..).zip(&tasks[1..]) {
        let chunk = controller.log(request(request_id, task_id, 7)).await;
        let expected = format!("{task_id}\n");
        assert_eq!((chunk.offset, &chunk.data[..], chunk.error.as_str()), (7, expected.as_bytes(), ""));
    }
    assert!(controller.log(request(100, &tasks[0], 0)).await.error.contains("no container t00"));
    node.stop().await;
}

#[tokio::test]
async fn tasks_end_with_the_node_when_asked() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let config = Config { tasks_on_stop: TasksOnStop::End, ..config(data.path(), &controller) };
    let node = Node::start(config.clone(), runtime.clone()).await;
    controller.desire(1, vec![spec("a"), spec("b")]).await;
    controller.until_task("b", "running", |task| task.state() == TaskState::TaskRunning).await;
    node.stop().await;
    assert_eq!(runtime.ids(), Vec::<String>::new());
    controller.stop();
    let node = Node::start(config, runtime.clone()).await;
    node.stop().await;
    assert_eq!(runtime.started.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_face_tells_status_and_metrics() {
    let (data, controller, runtime) = (tempfile::tempdir().unwrap(), Controller::start().await, FakeRuntime::new());
    let node = Node::start(config(data.path(), &controller), runtime).await;
    controller.desire(1, vec![spec("t")]).await;
    controller.until_task("t", "running", |task| task.state() == TaskState::TaskRunning).await;
    let face = node.started.address("").unwrap();
    let client = web::Client::default();
    let status: serde_json::Value = client.get_json(&format!("http://{face}/status")).await.unwrap();
    assert_eq!(status["tasks"][0]["state"], "TASK_RUNNING");
    let metrics = client.get(&format!("http://{face}/metrics")).await.unwrap();
    let metrics = String::from_utf8(metrics.body().to_vec()).unwrap();
    assert!(metrics.contains("roadstead_agent_tasks{state=\"TASK_RUNNING\"} 1"), "{metrics}");
    node.stop().await;
}
