//! A controller on trial, and the peers that try it.

use crate::desk::{Answer, Ask, Desk, Refusal};
use crate::service::{Config, start_with_lead};
use futures::StreamExt;
use identity::{Role, Token, Verifier};
use lifecycle::{Started, Stop};
use model::{AppId, TaskId};
use protocol::sessions_client::SessionsClient;
use protocol::{
    AgentHello, BusyServer, CheckReport, Desired, EdgeHello, EdgeState, FromAgent, FromEdge, Heartbeat, PortRange,
    Resources, TaskReport, TaskReports, TaskSpec, TaskState, from_agent, from_edge, to_agent,
};
use routing::document::{ROUTES_PREFIX, RouteDocument};
use scheduler::World;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Embedded, Store};
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

/// A named condition must hold within this time, also on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Trial {
    pub desk: Desk,
    pub store: Arc<dyn Store>,
    pub sessions: SocketAddr,
    pub api: SocketAddr,
    pub agent_token: Token,
    pub edge_token: Token,
    pub admin_token: Token,
    stop: Stop,
    started: Started,
}

impl Trial {
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, |_| ()).await
    }

    pub async fn start_with(data: &Path, configure: impl FnOnce(&mut Config)) -> Self {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(data.to_owned()).await.unwrap());
        Self::start_on(store, configure).await
    }

    pub async fn start_on(store: Arc<dyn Store>, configure: impl FnOnce(&mut Config)) -> Self {
        let tokens = [Token::generate().unwrap(), Token::generate().unwrap(), Token::generate().unwrap()];
        let [agent_token, edge_token, admin_token] = tokens;
        let accepted = vec![
            agent_token.accepted_as(Role::Agent),
            edge_token.accepted_as(Role::Edge),
            admin_token.accepted_as(Role::Admin),
        ];
        let mut config = Config::new(store.clone(), Verifier::Tokens(accepted));
        configure(&mut config);
        let stop = Stop::new();
        let (started, lead) = start_with_lead(config, stop.clone()).await.unwrap();
        let desk = lead.term().expect("without a cluster it leads at once").desk.clone();
        let sessions = started.address("sessions").unwrap();
        let api = started.address("").unwrap();
        Self { desk, store, sessions, api, agent_token, edge_token, admin_token, stop, started }
    }

    /// Ends the controller; its store stays.
    pub async fn end(self) -> Arc<dyn Store> {
        self.stop.request();
        tokio::time::timeout(DEADLINE, self.started.finished()).await.expect("it ends in time").unwrap();
        self.store
    }

    pub async fn put(&self, app: model::App) -> Answer {
        self.desk.ask(Ask::Put { apps: vec![app], force: false }).await.unwrap()
    }

    pub async fn remove(&self, app: &str) -> Result<Answer, Refusal> {
        self.desk.ask(Ask::Remove { app: AppId::parse(app).unwrap(), force: false }).await
    }

    pub async fn client(&self) -> SessionsClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.sessions)).unwrap();
        SessionsClient::new(endpoint.connect().await.unwrap())
    }

    pub async fn route(&self, id: &str) -> Option<RouteDocument> {
        let kv = self.store.get(&format!("{ROUTES_PREFIX}{id}")).await.unwrap()?;
        Some(serde_json::from_slice(&kv.value).unwrap())
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        let explained = || {
            let view = self.desk.view();
            let now = view.tasks.values().map(|record| record.seen.observed_at).max().unwrap_or_default();
            let lines = |id| scheduler::explain(&view, id, now);
            format!("{:#?}", view.deployments.values().flat_map(|one| one.target.keys()).map(lines).collect::<Vec<_>>())
        };
        until_or_explain(what, || condition(&self.desk.view()), explained).await;
    }

    pub async fn until_deployed(&self) {
        self.until("no deployment is left", |world| world.deployments.is_empty()).await;
    }
}

/// Waits for a named condition.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    until_or_explain(what, condition, String::new).await;
}

async fn until_or_explain(what: &str, condition: impl Fn() -> bool, explained: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "timed out: {what} {}", explained());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn authorised<T>(message: T, token: &Token) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {}", token.reveal())).unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// An agent that obeys at once: what it should run runs and is healthy, what it should stop is killed.
pub(super) struct FakeAgent {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<FromAgent>,
    work: tokio::task::JoinHandle<()>,
}

/// What a node runs.
#[derive(Default)]
pub(super) struct Shared {
    /// What really runs, or has ended and is still listed.
    pub tasks: Mutex<BTreeMap<String, (TaskSpec, TaskState)>>,
    generations: Mutex<Vec<u64>>,
    /// Tasks in the order they were started and stopped.
    pub log: Mutex<Vec<String>>,
}

impl FakeAgent {
    pub async fn join(trial: &Trial, node: &str) -> Self {
        Self::join_with(trial, node, BTreeMap::new(), 0).await
    }

    /// With tasks it has from before.
    pub async fn join_with(
        trial: &Trial,
        node: &str,
        tasks: BTreeMap<String, (TaskSpec, TaskState)>,
        generation: u64,
    ) -> Self {
        let (outgoing, receiver) = mpsc::channel(64);
        let hello = from_agent::Message::Hello(hello(node, generation));
        outgoing.send(FromAgent { message: Some(hello) }).await.unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let request = authorised(stream, &trial.agent_token);
        let incoming = trial.client().await.agent(request).await.unwrap().into_inner();
        let shared = Arc::new(Shared { tasks: Mutex::new(tasks), ..Shared::default() });
        let work = tokio::spawn(obey(incoming, shared.clone(), outgoing.clone()));
        let agent = Self { shared, outgoing, work };
        agent.report().await;
        agent
    }

    pub async fn report(&self) {
        report(&self.shared, &self.outgoing).await;
    }

    /// The task ends by itself.
    pub async fn fail(&self, task: &TaskId, state: TaskState) {
        if let Some(entry) = self.shared.tasks.lock().unwrap().get_mut(task.as_str()) {
            entry.1 = state;
        }
        self.report().await;
    }

    pub fn running(&self) -> Vec<TaskSpec> {
        let tasks = self.shared.tasks.lock().unwrap();
        tasks.values().filter(|(_, state)| *state == TaskState::TaskRunning).map(|(spec, _)| spec.clone()).collect()
    }

    /// Tasks in the order they were started and stopped.
    pub fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }

    pub fn generations(&self) -> Vec<u64> {
        self.shared.generations.lock().unwrap().clone()
    }

    /// Says nothing more; the session stays open.
    pub fn fall_silent(&self) {
        self.work.abort();
    }

    /// Breaks the session; what ran still runs.
    pub fn leave(self) -> BTreeMap<String, (TaskSpec, TaskState)> {
        self.work.abort();
        self.shared.tasks.lock().unwrap().clone()
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn obey(mut incoming: Streaming<protocol::ToAgent>, shared: Arc<Shared>, outgoing: mpsc::Sender<FromAgent>) {
    let mut heartbeat = tokio::time::interval(protocol::AGENT_HEARTBEAT_INTERVAL);
    loop {
        let message = tokio::select! {
            message = incoming.next() => message,
            _ = heartbeat.tick() => {
                let message = Some(from_agent::Message::Heartbeat(Heartbeat {}));
                if outgoing.send(FromAgent { message }).await.is_err() { return }
                continue;
            }
        };
        let Some(Ok(message)) = message else { return };
        match message.message {
            Some(to_agent::Message::Desired(desired)) => {
                take(&shared, desired);
                report(&shared, &outgoing).await;
            }
            Some(to_agent::Message::Log(request)) => {
                let chunk = protocol::LogChunk {
                    request_id: request.request_id,
                    offset: 0,
                    data: format!("{} of {}", request.stream, request.task_id).into_bytes(),
                    error: String::new(),
                };
                let message = Some(from_agent::Message::Log(chunk));
                if outgoing.send(FromAgent { message }).await.is_err() {
                    return;
                }
            }
            Some(to_agent::Message::Controllers(_) | to_agent::Message::Heartbeat(_)) | None => {}
        }
    }
}

/// A node of 8 cpus and 1001 ports.
pub(super) fn hello(node: &str, generation: u64) -> AgentHello {
    let resources = Resources {
        cpus_milli: 8000,
        mem_bytes: 8 << 30,
        disk_bytes: 0,
        ports: vec![PortRange { begin: 31000, end: 32000 }],
    };
    AgentHello {
        node_id: node.to_owned(),
        hostname: format!("{node}.example"),
        address: "127.0.0.1".into(),
        resources: Some(resources),
        runtime: "process".into(),
        generation,
        ..AgentHello::default()
    }
}

pub(super) fn take(shared: &Shared, desired: Desired) {
    shared.generations.lock().unwrap().push(desired.generation);
    let mut tasks = shared.tasks.lock().unwrap();
    let mut log = shared.log.lock().unwrap();
    let wanted: BTreeMap<String, TaskSpec> =
        desired.tasks.into_iter().map(|spec| (spec.task_id.clone(), spec)).collect();
    tasks.retain(|id, (_, state)| {
        let is_wanted = wanted.contains_key(id);
        if !is_wanted && *state == TaskState::TaskRunning {
            log.push(format!("stop {id}"));
        }
        is_wanted
    });
    for (id, spec) in wanted {
        let stop = spec.stop;
        let entry = tasks.entry(id.clone()).or_insert_with(|| {
            log.push(format!("start {id}"));
            (spec, TaskState::TaskRunning)
        });
        if stop && entry.1 == TaskState::TaskRunning {
            log.push(format!("stop {id}"));
            entry.1 = TaskState::TaskKilled;
        }
    }
}

async fn report(shared: &Shared, outgoing: &mpsc::Sender<FromAgent>) {
    let message = Some(from_agent::Message::Reports(TaskReports { tasks: reports(shared) }));
    // A controller that has ended hears nothing.
    let _ended = outgoing.send(FromAgent { message }).await;
}

/// What runs is healthy.
pub(super) fn reports(shared: &Shared) -> Vec<TaskReport> {
    let check = CheckReport { alive: true, first_success_ms: 1, last_success_ms: 1, ..CheckReport::default() };
    let tasks = shared.tasks.lock().unwrap().clone();
    let report = |(id, (spec, state)): (String, (TaskSpec, TaskState))| TaskReport {
        task_id: id,
        app_id: spec.app_id,
        state: state.into(),
        started_at_ms: 1,
        checks: spec.checks.iter().map(|_| check.clone()).collect(),
        ..TaskReport::default()
    };
    tasks.into_iter().map(report).collect()
}

/// An edge that says what the test makes it say.
pub(super) struct FakeEdge {
    outgoing: mpsc::Sender<FromEdge>,
    _incoming: Streaming<protocol::ToEdge>,
}

impl FakeEdge {
    pub async fn join(trial: &Trial, edge: &str) -> Self {
        let (outgoing, receiver) = mpsc::channel(64);
        let hello = EdgeHello { edge_id: edge.to_owned(), ..EdgeHello::default() };
        outgoing.send(FromEdge { message: Some(from_edge::Message::Hello(hello)) }).await.unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let request = authorised(stream, &trial.edge_token);
        let incoming = trial.client().await.edge(request).await.unwrap().into_inner();
        Self { outgoing, _incoming: incoming }
    }

    pub async fn say(&self, applied_revision: i64, busy: &[&str]) {
        let busy = busy.iter().map(|url| BusyServer { url: (*url).to_owned(), in_flight: 1 }).collect();
        let state = EdgeState { applied_revision, busy, ..EdgeState::default() };
        self.outgoing.send(FromEdge { message: Some(from_edge::Message::State(state)) }).await.unwrap();
    }
}
