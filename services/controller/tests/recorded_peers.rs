//! Today's controller, an agent and an edge of the version before: their words are replayed byte by byte. See
//! `machinery/protocol/tests/previous/README.md`.
//!
//! The recorded agent ran tasks of another controller; where its words name them, the names of today's are put, which are as
//! long.

use bytes::{Buf, BufMut, Bytes};
use controller::Config;
use identity::Verifier;
use lifecycle::Stop;
use protocol::{Desired, FromAgent, TaskReport, TaskState, ToAgent, from_agent, to_agent};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Embedded;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};

const AGENT: &[u8] = include_bytes!("../../../machinery/protocol/tests/previous/agent-to-controller.frames");
const EDGE: &[u8] = include_bytes!("../../../machinery/protocol/tests/previous/edge-to-controller.frames");
const DEADLINE: Duration = Duration::from_secs(20);

/// Messages as bytes, untouched.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The messages of a recording.
fn messages(mut recording: &'static [u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = recording.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        messages.push(Bytes::from_static(&rest[..length]));
        recording = &rest[length..];
    }
    messages
}

/// The same bytes, with other names of the same lengths.
fn renamed(message: &Bytes, names: &[(String, String)]) -> Bytes {
    let mut bytes = message.to_vec();
    for (before, after) in names {
        assert_eq!(before.len(), after.len(), "{before} {after}");
        for start in 0..bytes.len().saturating_sub(before.len() - 1) {
            if bytes[start..].starts_with(before.as_bytes()) {
                bytes[start..start + after.len()].copy_from_slice(after.as_bytes());
            }
        }
    }
    bytes.into()
}

/// A peer's session, in bytes.
struct Session {
    said: mpsc::Sender<Bytes>,
    heard: Streaming<Bytes>,
}

impl Session {
    async fn open(controller: SocketAddr, kind: &'static str, hello: &Bytes) -> Self {
        let channel = Endpoint::from_shared(format!("http://{controller}")).unwrap().connect().await.unwrap();
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap();
        let (said, queue) = mpsc::channel(16);
        said.send(hello.clone()).await.unwrap();
        let path = PathAndQuery::from_static(kind);
        let heard = client.streaming(Request::new(ReceiverStream::new(queue)), path, Raw).await.unwrap();
        Self { said, heard: heard.into_inner() }
    }

    /// Passes over everything until the desired set is as expected.
    async fn until(&mut self, what: &str, accept: impl Fn(&Desired) -> bool) -> Desired {
        let hearing = async {
            loop {
                let message: ToAgent = prost_of(self.heard.message().await.unwrap().expect("the session goes on"));
                if let Some(to_agent::Message::Desired(desired)) = message.message
                    && accept(&desired)
                {
                    return desired;
                }
            }
        };
        tokio::time::timeout(DEADLINE, hearing).await.unwrap_or_else(|_| panic!("never told: {what}"))
    }
}

fn prost_of<M: prost::Message + Default>(bytes: Bytes) -> M {
    M::decode(bytes).unwrap()
}

struct Controller {
    api: String,
    sessions: SocketAddr,
    client: web::Client,
    _data: tempfile::TempDir,
    _stop: Stop,
}

impl Controller {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
        let stop = Stop::new();
        let started = controller::start(Config::new(store, Verifier::Open), stop.clone()).await.unwrap();
        let api = format!("http://{}", started.address("").unwrap());
        let sessions = started.address("sessions").unwrap();
        Self { api, sessions, client: web::Client::default(), _data: data, _stop: stop }
    }

    async fn eventually(&self, name: &str, path: &str, accept: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer: Value = self.client.get_json(&format!("{}{path}", self.api)).await.unwrap();
            if accept(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {name}: {answer}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn reports(message: &Bytes) -> Option<Vec<TaskReport>> {
    match prost_of::<FromAgent>(message.clone()).message {
        Some(from_agent::Message::Reports(reports)) => Some(reports.tasks),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_works_with_an_agent_of_the_previous_version() {
    let controller = Controller::start().await;
    let recorded = messages(AGENT);
    let mut session = Session::open(controller.sessions, "/roadstead.sessions.v0.Sessions/Agent", &recorded[0]).await;
    // It runs nothing yet.
    session.said.send(recorded[1].clone()).await.unwrap();
    controller.eventually("the node is known", "/v1/nodes", |nodes| nodes.to_string().contains("node-1.example")).await;

    let app = json!({
        "id": "/web", "cmd": "exec busybox httpd -f -p $PORT0", "cpus": 0.1, "mem": 16, "instances": 2,
        "healthChecks": [{ "protocol": "HTTP", "path": "/" }],
    });
    let url = format!("{}/v2/apps", controller.api);
    let _app: Value = controller.client.send_json(http::Method::POST, &url, &app).await.unwrap();
    let desired = session.until("two tasks", |desired| desired.tasks.len() == 2).await;
    let recorded_reports: Vec<Vec<TaskReport>> = recorded.iter().filter_map(reports).collect();
    let theirs = recorded_reports.iter().find(|tasks| tasks.len() == 2).unwrap();
    let mut names = vec![(theirs[0].app_version.clone(), desired.tasks[0].app_version.clone())];
    names.extend(theirs.iter().zip(&desired.tasks).map(|(old, new)| (old.task_id.clone(), new.task_id.clone())));

    // As recorded up to where both are healthy: staging, running, the checks.
    let mut rest = recorded[2..].iter();
    let both_are_well = |tasks: &Vec<TaskReport>| tasks.len() == 2 && tasks.iter().all(|task| task.checks[0].alive);
    for message in rest.by_ref() {
        session.said.send(renamed(message, &names)).await.unwrap();
        if reports(message).is_some_and(|tasks| both_are_well(&tasks)) {
            break;
        }
    }
    controller.eventually("both are healthy", "/v2/apps//web", |app| app["app"]["tasksHealthy"] == 2).await;
    controller.eventually("the deployment has ended", "/v2/deployments", |deployments| deployments == &json!([])).await;

    let delete = controller.client.call(http::Method::DELETE, &format!("{url}//web"), None, web::empty_body()).await;
    assert!(delete.unwrap().status().is_success());
    session.until("both are to stop", |desired| desired.tasks.iter().all(|task| task.stop)).await;
    // The rest: the log, one is killed and forgotten, then the other.
    let killed = |tasks: Vec<TaskReport>| tasks.iter().any(|task| task.state() == TaskState::TaskKilled);
    assert!(rest.clone().filter_map(reports).any(killed));
    for message in rest {
        session.said.send(renamed(message, &names)).await.unwrap();
    }
    session.until("nothing is left", |desired| desired.tasks.is_empty()).await;
    controller.eventually("the app is gone", "/v2/apps", |apps| apps["apps"] == json!([])).await;
}

/// Its table is of no cluster it could name; what it says counts all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_listens_to_an_edge_of_the_previous_version() {
    let controller = Controller::start().await;
    let recorded = messages(EDGE);
    let mut session = Session::open(controller.sessions, "/roadstead.sessions.v0.Sessions/Edge", &recorded[0]).await;
    for message in &recorded[1..] {
        session.said.send(message.clone()).await.unwrap();
    }
    // Everything was taken: the controller ends the session only when the edge does.
    let Session { said, heard } = &mut session;
    tokio::time::timeout(DEADLINE, said.reserve_many(said.max_capacity())).await.unwrap().unwrap();
    let (closed, _) = mpsc::channel(1);
    *said = closed;
    let ending = async {
        loop {
            match heard.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(status) => panic!("{status}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, ending).await.unwrap();
}
