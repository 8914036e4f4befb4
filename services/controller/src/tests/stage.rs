//! A leader by itself over a real store, at a time the test tells: no faces, no sockets, no waiting for time to pass.

use super::trial::{Shared, hello, reports, take, until};
use crate::desk::{Answer, Ask, Desk, Refusal};
use crate::leader::{Clock, Fence, Leader, Settings};
use crate::load;
use crate::sessions::{AgentLink, Message, SessionId};
use crate::uuids::Uuids;
use lifecycle::Stop;
use model::{AppId, NodeId, Timestamp};
use protocol::{BusyServer, Desired, EdgeState, TaskState};
use routing::document::{ROUTES_PREFIX, RouteDocument};
use scheduler::Policy;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::{Embedded, Store};
use tokio::sync::{mpsc, watch};

const START_MILLIS: i64 = 1_420_980_279_120;
/// How long machines that are heard stay silent at most.
const HEARTBEAT_MILLIS: i64 = protocol::AGENT_HEARTBEAT_INTERVAL.as_millis() as i64;

pub(super) struct Stage {
    pub desk: Desk,
    pub store: Arc<dyn Store>,
    pub cluster_id: u64,
    clock: Arc<AtomicI64>,
    messages: mpsc::Sender<Message>,
    sessions: AtomicU64,
    stop: Stop,
    work: tokio::task::JoinHandle<()>,
}

impl Stage {
    pub async fn open(data: &Path) -> Self {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(data.to_owned()).await.unwrap());
        Self::on(store, Arc::new(AtomicI64::new(START_MILLIS)), None).await
    }

    async fn on(store: Arc<dyn Store>, clock: Arc<AtomicI64>, former: Option<NodeId>) -> Self {
        let (leader, desk, messages) = leader(store.clone(), clock.clone(), former).await;
        let stop = Stop::new();
        let work = {
            let stop = stop.clone();
            tokio::spawn(async move { leader.run(stop).await.unwrap() })
        };
        let cluster_id = store.cluster_id().await.unwrap();
        Self { desk, store, cluster_id, clock, messages, sessions: AtomicU64::new(0), stop, work }
    }

    /// A next leader, not at work yet.
    pub async fn next_leader(self) -> (Leader, Arc<AtomicI64>) {
        self.stop.request();
        self.work.await.unwrap();
        (leader(self.store, self.clock.clone(), None).await.0, self.clock)
    }

    /// This leader ends, and another one takes over where the clock stands.
    pub async fn change_leader(self) -> Self {
        self.succeed(None).await
    }

    /// This leader ends, and it ran on this machine.
    pub async fn succeed(self, former: Option<&str>) -> Self {
        self.stop.request();
        self.work.await.unwrap();
        Self::on(self.store, self.clock, former.map(NodeId::new)).await
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    pub async fn join(&self, node: &str) -> Machine {
        self.rejoin(Machine::rebooted(node)).await
    }

    /// The machine opens a new session, with what it runs.
    pub async fn rejoin(&self, mut machine: Machine) -> Machine {
        let session = SessionId::numbered(self.sessions.fetch_add(1, Ordering::SeqCst));
        let (desired, receiver) = watch::channel(Desired::default());
        let (logs, _logs) = mpsc::channel(1);
        let hello = Box::new(hello(&machine.node, 0));
        self.send(Message::AgentOpened { session, hello, link: AgentLink { desired, logs } }).await;
        machine.session = Some((session, receiver));
        self.hear(&mut machine).await;
        machine
    }

    /// The machine takes what it should run, runs it, and says so; the leader has heard it when this returns.
    pub async fn hear(&self, machine: &mut Machine) {
        let (session, desired) = machine.session.as_mut().expect("it has joined");
        if desired.has_changed().unwrap_or(false) {
            let latest = desired.borrow_and_update().clone();
            take(&machine.shared, latest);
        }
        let session = *session;
        let reports = reports(&machine.shared);
        self.send(Message::AgentReports { session, node: machine.node.clone(), reports }).await;
        self.taken_in().await;
    }

    /// The leader looks at the clock.
    pub async fn look(&self) {
        // A pass follows every request; the second is answered after that of the first.
        self.taken_in().await;
        self.taken_in().await;
    }

    /// What was said is heard, and what follows from it is done.
    async fn taken_in(&self) {
        until("the leader takes it in", || self.messages.capacity() == self.messages.max_capacity()).await;
        // Whatever it does next, it has done that before.
        let unknown = AppId::parse("unknown").unwrap();
        assert!(matches!(self.ask(Ask::ResetDelay { app: unknown }).await, Err(Refusal::NoApp(_))));
    }

    /// Time passes, with these machines heard as often as need be.
    pub async fn pass(&self, millis: i64, heard: &mut [&mut Machine]) {
        let mut left = millis;
        while left > 0 {
            let step = left.min(HEARTBEAT_MILLIS);
            left -= step;
            self.clock.fetch_add(step, Ordering::SeqCst);
            for machine in &mut *heard {
                self.hear(machine).await;
            }
        }
        // What followed from the last step is carried out.
        for machine in heard {
            self.hear(machine).await;
        }
    }

    pub async fn say(&self, edge: &str, cluster_id: u64, applied_revision: i64, busy: &[&str]) {
        let busy = busy.iter().map(|url| BusyServer { url: (*url).to_owned(), in_flight: 1 }).collect();
        let state = EdgeState { cluster_id, applied_revision, busy, ..EdgeState::default() };
        let (edge, node, address) = (edge.to_owned(), String::new(), String::new());
        self.send(Message::EdgeState { edge, node, address, state }).await;
        self.taken_in().await;
    }

    async fn send(&self, message: Message) {
        assert!(self.messages.send(message).await.is_ok(), "the leader has ended");
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, Refusal> {
        self.desk.ask(ask).await
    }

    /// Deploys an app on these machines.
    pub async fn deploy(&self, app: model::App, machines: &mut [&mut Machine]) {
        self.ask(Ask::Put { apps: vec![app], force: false }).await.unwrap();
        self.settle(machines).await;
    }

    /// The machines obey until no deployment is left.
    pub async fn settle(&self, machines: &mut [&mut Machine]) {
        for _ in 0..100 {
            if self.desk.view().deployments.is_empty() {
                return;
            }
            self.pass(100, machines).await;
        }
        panic!("it is not deployed: {:#?}", self.desk.view().deployments);
    }

    pub fn standing(&self, node: &str) -> &'static str {
        self.desk.view().nodes[&NodeId::new(node)].standing.name()
    }

    /// The nodes of an app's servers in the stored route.
    pub async fn routed(&self, app: &str) -> Vec<String> {
        let kv = self.store.get(&format!("{ROUTES_PREFIX}app.{app}")).await.unwrap().unwrap();
        let document: RouteDocument = serde_json::from_slice(&kv.value).unwrap();
        let world = self.desk.view();
        let node = |id: &str| world.tasks.get(&model::TaskId::new(id)).map(|record| record.task.node.to_string());
        let mut nodes: Vec<String> =
            document.servers.iter().map(|server| node(&server.id).unwrap_or_else(|| "(gone)".to_owned())).collect();
        nodes.sort();
        nodes
    }

    pub fn explain(&self, app: &str) -> Vec<String> {
        scheduler::explain(&self.desk.view(), &AppId::parse(app).unwrap(), self.now())
    }
}

async fn leader(
    store: Arc<dyn Store>,
    clock: Arc<AtomicI64>,
    former: Option<NodeId>,
) -> (Leader, Desk, mpsc::Sender<Message>) {
    let mut uuids = Uuids::new().unwrap();
    let fence = Fence::take(store.as_ref(), &mut uuids).await.unwrap();
    let loaded = load::load(store.as_ref()).await.unwrap();
    let (desk, inbox) = Desk::open(loaded.world.clone());
    let (messages, receiver) = mpsc::channel(64);
    let (domain, platform_routes) = ("localhost".to_owned(), Vec::new());
    let settings = Settings { store, policy: Policy::default(), domain, https_port: None, platform_routes };
    let leader = Leader::new(settings, fence, uuids, loaded, inbox, receiver);
    (leader.with_clock(Clock::Manual(clock)).succeeding(former), desk, messages)
}

/// A machine whose agent does as it is told, when it is heard.
pub(super) struct Machine {
    pub node: String,
    shared: Shared,
    session: Option<(SessionId, watch::Receiver<Desired>)>,
}

impl Machine {
    /// Ids of what runs here.
    pub fn running(&self) -> Vec<String> {
        let tasks = self.shared.tasks.lock().unwrap();
        let running = tasks.iter().filter(|(_, (_, state))| *state == TaskState::TaskRunning);
        running.map(|(id, _)| id.clone()).collect()
    }

    /// What the controller wants of it now, heard or not.
    pub fn desired(&self) -> Vec<String> {
        let (_, desired) = self.session.as_ref().expect("it has joined");
        desired.borrow().tasks.iter().map(|spec| spec.task_id.clone()).collect()
    }

    /// Its session was ended by the controller.
    pub fn is_dropped(&self) -> bool {
        self.session.as_ref().is_some_and(|(_, desired)| desired.has_changed().is_err())
    }

    pub fn cluster_id_told(&self) -> u64 {
        self.session.as_ref().map_or(0, |(_, desired)| desired.borrow().cluster_id)
    }

    /// After a reboot: it runs nothing, and has joined nobody.
    pub fn rebooted(node: &str) -> Self {
        Self { node: node.to_owned(), shared: Shared::default(), session: None }
    }

    /// How many tasks it was told to stop, or no longer to run, while they ran.
    pub fn stops(&self) -> usize {
        self.log().iter().filter(|line| line.starts_with("stop")).count()
    }

    /// Tasks in the order they were started and stopped.
    pub fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}
