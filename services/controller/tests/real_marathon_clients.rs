//! marathon-python, as people's scripts use it, against a controller with a store, a gate and an agent that obeys.

use controller::Config;
use futures::StreamExt;
use identity::{Role, Token, Verifier};
use lifecycle::Stop;
use protocol::sessions_client::SessionsClient;
use protocol::{
    AgentHello, CheckReport, FromAgent, Heartbeat, PortRange, Resources, TaskReport, TaskReports, TaskState,
};
use protocol::{Desired, from_agent, to_agent};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use store::Embedded;
use tokio::process::Command;
use tokio::sync::mpsc;
use tonic::Request;
use tonic::transport::Channel;

const MARATHON_PYTHON: &str = "marathon==0.13.0";
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn marathon_python_does_all_it_can() {
    let python = python_with_marathon().await;
    let data = tempfile::tempdir().unwrap();
    let (admin, agent) = (Token::generate().unwrap(), Token::generate().unwrap());
    let accepted = vec![admin.accepted_as(Role::Admin), agent.accepted_as(Role::Agent)];
    let store = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
    let stop = Stop::new();
    let started = controller::start(Config::new(store, Verifier::Tokens(accepted)), stop.clone()).await.unwrap();
    let agent = tokio::spawn(obey(started.address("sessions").unwrap(), agent));

    let url = format!("http://{}", started.address("").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/marathon_client.py");
    let run = Command::new(python).arg(script).args([&url, admin.reveal()]).kill_on_drop(true).output();
    let output = tokio::time::timeout(SCRIPT_TIME_MAX, run).await.expect("the script ends in time").unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(printed.trim(), "ok");
    agent.abort();
    stop.request();
    started.finished().await.unwrap();
}

/// A virtual environment, made once.
async fn python_with_marathon() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("marathon-python");
    let python = home.join("bin/python");
    let imports = Command::new(&python).args(["-c", "import marathon"]).stderr(Stdio::null()).status().await;
    if !imports.is_ok_and(|status| status.success()) {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status().await;
        assert!(made.expect("python3 is installed").success(), "Debian's package python3-venv is installed");
        let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", MARATHON_PYTHON]).status().await;
        assert!(installed.unwrap().success(), "{MARATHON_PYTHON} can be installed");
    }
    python
}

/// An agent whose tasks run and are healthy at once, and end when they are told to.
async fn obey(sessions: SocketAddr, token: Token) {
    let (outgoing, receiver) = mpsc::channel(64);
    let ports = vec![PortRange { begin: 31000, end: 32000 }];
    let hello = AgentHello {
        node_id: "node".into(),
        hostname: "node.example".into(),
        address: "127.0.0.1".into(),
        resources: Some(Resources { cpus_milli: 8000, mem_bytes: 8 << 30, disk_bytes: 0, ports }),
        runtime: "process".into(),
        ..AgentHello::default()
    };
    let send = async |message| outgoing.send(FromAgent { message: Some(message) }).await.expect("the session is open");
    send(from_agent::Message::Hello(hello)).await;
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let authorization = format!("Bearer {}", token.reveal()).parse().unwrap();
    request.metadata_mut().insert("authorization", authorization);
    let channel = Channel::from_shared(format!("http://{sessions}")).unwrap();
    let mut client = SessionsClient::new(channel.connect().await.unwrap());
    let mut incoming = client.agent(request).await.unwrap().into_inner();
    send(from_agent::Message::Reports(TaskReports::default())).await;
    let mut heartbeat = tokio::time::interval(protocol::AGENT_HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            message = incoming.next() => match message {
                Some(Ok(message)) => if let Some(to_agent::Message::Desired(desired)) = message.message {
                    send(from_agent::Message::Reports(reports(desired))).await;
                },
                _ => return,
            },
            _ = heartbeat.tick() => send(from_agent::Message::Heartbeat(Heartbeat {})).await,
        }
    }
}

fn reports(desired: Desired) -> TaskReports {
    let check = CheckReport { alive: true, first_success_ms: 1, last_success_ms: 1, ..CheckReport::default() };
    let report = |spec: protocol::TaskSpec| TaskReport {
        task_id: spec.task_id,
        app_id: spec.app_id,
        app_version: spec.app_version,
        state: if spec.stop { TaskState::TaskKilled } else { TaskState::TaskRunning }.into(),
        started_at_ms: 1,
        checks: spec.checks.iter().map(|_| check.clone()).collect(),
        ..TaskReport::default()
    };
    TaskReports { tasks: desired.tasks.into_iter().map(report).collect() }
}
