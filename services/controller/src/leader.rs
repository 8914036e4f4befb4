//! The one task that owns the world. It takes in what users ask, what agents and edges say, and the passing of time; plans;
//! makes each change durable before it applies it; and tells: users their answer, readers a new view, agents their
//! desired sets. Nothing else writes the controller's keys: every transaction compares the leader's key, so that an
//! older controller that is still about can change nothing.

mod commit;
mod fence;
mod observe;

use crate::desk::{Answer, Ask, Event, EventKind, Inbox, LogRefusal, LogRequest, Refusal, Request};
use crate::load::{self, LoadError, Loaded};
use crate::routes::Routes;
use crate::sessions::{AgentLink, Message, SessionId};
use crate::uuids::Uuids;
use crate::{desired, keys};
use commit::Batch;
use lifecycle::{ErrorChain, Stop};
use model::{Node, NodeId, PortRange, Resources, TaskId, Timestamp};
use protocol::{Desired, TaskSpec};
use routing::document::RouteDocument;
use scheduler::{Change, EdgeRecord, NodeRecord, Policy, RetireReason, World, submit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Revision, Store, StoreError, TXN_OPERATIONS_MAX, TxnRequest};
use tokio::sync::mpsc;

pub(crate) use fence::Fence;

/// The world is looked at this often while something is under way…
const PENDING_INTERVAL: Duration = Duration::from_millis(100);
/// …and this often otherwise.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Messages of sessions taken in before the next pass.
const MESSAGES_PER_PASS_MAX: usize = 256;
/// A task that is to stop and that its agent has not spoken of for this long is not there.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(5);
/// Edges that were there before this controller started come back within this time, or are gone; so are edges that fell
/// silent.
const EDGE_SILENCE_MAX: Duration = protocol::SESSION_SILENCE_MAX;
/// Stands for the edges that may come back.
const UNKNOWN_EDGES: &str = "(edges not heard of yet)";

// The pure core cannot name the sessions' bound; it must be the same one.
const _: () = assert!(EDGE_SILENCE_MAX.as_millis() == scheduler::EDGE_SILENCE_MAX.as_millis());

pub(crate) struct Settings {
    pub store: Arc<dyn Store>,
    pub policy: Policy,
    pub domain: String,
    pub platform_routes: Vec<(String, RouteDocument)>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    #[error("another controller has taken over")]
    Superseded,
    #[error("load the state")]
    Load(#[from] LoadError),
}

pub(crate) struct Leader {
    settings: Settings,
    fence: Fence,
    uuids: Uuids,
    inbox: Inbox,
    messages: mpsc::Receiver<Message>,
    world: World,
    routes: Routes,
    /// Of the newest write this world holds.
    revision: Revision,
    /// When each task that was read from the store was launched.
    launched_at: BTreeMap<TaskId, Revision>,
    agents: BTreeMap<NodeId, Agent>,
    /// A write may or may not have happened: everything is read again before the next plan.
    doubtful: bool,
    /// The view is behind the world.
    unpublished: bool,
}

/// A node's open session.
struct Agent {
    session: SessionId,
    link: AgentLink,
    /// The generation of the desired set it held when the session began.
    held: u64,
    reported: Option<BTreeSet<TaskId>>,
    sent: Option<Vec<TaskSpec>>,
}

impl Leader {
    pub(crate) fn new(
        settings: Settings,
        fence: Fence,
        uuids: Uuids,
        loaded: Loaded,
        inbox: Inbox,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let Loaded { mut world, routes, revision, launched_at } = loaded;
        if !world.tasks.is_empty() {
            // Until then nobody knows that no request is in flight to a draining task.
            world.edges.insert(UNKNOWN_EDGES.to_owned(), EdgeRecord { last_seen: now(), ..EdgeRecord::default() });
        }
        Self {
            settings,
            fence,
            uuids,
            inbox,
            messages,
            world,
            routes,
            revision,
            launched_at,
            agents: BTreeMap::new(),
            doubtful: false,
            unpublished: true,
        }
    }

    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), LeaderError> {
        self.pass().await?;
        loop {
            let interval = if self.is_pending() { PENDING_INTERVAL } else { IDLE_INTERVAL };
            let needs_pass = tokio::select! {
                () = stop.requested() => return Ok(()),
                Some(request) = self.inbox.requests.recv() => {
                    self.answer(request).await?;
                    true
                }
                Some(message) = self.messages.recv() => self.take_in(message).await?,
                Some(request) = self.inbox.logs.recv() => {
                    self.pass_on(request);
                    false
                }
                () = tokio::time::sleep(interval) => true,
            };
            let mut needs_pass = needs_pass;
            for _ in 0..MESSAGES_PER_PASS_MAX {
                let Ok(message) = self.messages.try_recv() else { break };
                needs_pass |= self.take_in(message).await?;
            }
            if needs_pass {
                self.pass().await?;
            }
        }
    }

    /// Whether time alone may change something soon.
    fn is_pending(&self) -> bool {
        self.doubtful
            || !self.world.deployments.is_empty()
            || self.world.apps.values().any(|record| record.backoff.failures > 0)
            || self.world.tasks.values().any(|record| !record.task.intent.is_run())
    }

    // ---- planning -------------------------------------------------------------------------------------------------

    async fn pass(&mut self) -> Result<(), LeaderError> {
        if self.doubtful && !self.reload().await? {
            return Ok(());
        }
        let now = now();
        self.forget_silent(now);
        let uuids = &mut self.uuids;
        let planned = scheduler::plan(&self.world, now, &self.settings.policy, &mut || uuids.next());
        if let Err(error) = self.commit(planned.changes, false).await? {
            tracing::error!(error = %ErrorChain(&error), "the plan could not be written");
        }
        self.publish();
        self.push_desired();
        Ok(())
    }

    /// Makes changes and the routes that follow from them durable, and applies them.
    async fn commit(&mut self, changes: Vec<Change>, whole: bool) -> Result<Result<(), StoreError>, LeaderError> {
        let mut after = self.world.clone();
        changes.iter().for_each(|change| after.apply(change));
        let routes = self.routes.plan(&after, &self.settings.domain, &self.settings.platform_routes);
        let whole_fits = changes.len() * 2 + routes.len() <= TXN_OPERATIONS_MAX;
        let batches = if whole && whole_fits {
            vec![commit::single(changes, routes)]
        } else {
            commit::batches(&self.world, changes, routes)
        };
        for batch in batches {
            if let Err(error) = self.write(batch).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn write(&mut self, mut batch: Batch) -> Result<Result<(), StoreError>, LeaderError> {
        if !batch.operations.is_empty() {
            let success = batch.take_operations();
            let request = TxnRequest { compare: vec![self.fence.compare()], success, failure: Vec::new() };
            match self.settings.store.txn(request).await {
                Ok(response) if response.succeeded => self.revision = response.revision,
                Ok(_) => return Err(LeaderError::Superseded),
                Err(error) => {
                    // A refusal changed nothing; anything else may have.
                    self.doubtful = !matches!(error, StoreError::Refused { .. });
                    return Ok(Err(error));
                }
            }
        }
        self.unpublished = true;
        for route in &batch.routes {
            self.routes.apply(route, self.revision);
        }
        for change in &batch.changes {
            let events = self.events_of(change);
            self.world.apply(change);
            if let Change::Retire { task, .. } = change
                && let Some(record) = self.world.tasks.get_mut(&task.id)
            {
                // Its server left the route with the last write of the route, which is this one if it was in it.
                let written_at = self.routes.written_at.get(&task.app).copied();
                record.unrouted_at = record.unrouted_at.or(written_at).or(Some(self.revision));
            }
            events.into_iter().for_each(|event| self.tell(event));
        }
        Ok(Ok(()))
    }

    /// Reads everything again, keeping what only sessions know.
    async fn reload(&mut self) -> Result<bool, LeaderError> {
        match load::load(self.settings.store.as_ref()).await {
            Ok(loaded) => {
                let old = std::mem::replace(&mut self.world, loaded.world);
                for (id, record) in &mut self.world.tasks {
                    if let Some(known) = old.tasks.get(id) {
                        record.seen = known.seen.clone();
                    }
                }
                for (id, record) in &mut self.world.apps {
                    if let Some(known) = old.apps.get(id) {
                        (record.backoff, record.last_failure) = (known.backoff, known.last_failure.clone());
                    }
                }
                for (id, record) in old.nodes {
                    self.world.nodes.insert(id, record);
                }
                self.world.edges = old.edges;
                (self.routes, self.revision, self.launched_at) = (loaded.routes, loaded.revision, loaded.launched_at);
                (self.doubtful, self.unpublished) = (false, true);
                Ok(true)
            }
            Err(error @ LoadError::Value { .. }) => Err(error.into()),
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "the state cannot be read");
                Ok(false)
            }
        }
    }

    fn forget_silent(&mut self, now: Timestamp) {
        let before = self.world.edges.len();
        self.world.edges.retain(|_, edge| now.since(edge.last_seen) < EDGE_SILENCE_MAX);
        self.unpublished |= self.world.edges.len() != before;
        for (node, agent) in &self.agents {
            let Some(reported) = &agent.reported else { continue };
            for task in observe::stopped_unseen(&self.world, node, reported, now, UNSEEN_PATIENCE) {
                if let Some(record) = self.world.tasks.get_mut(&task) {
                    record.seen = observe::gone(record, now);
                    self.unpublished = true;
                }
            }
        }
    }

    // ---- telling --------------------------------------------------------------------------------------------------

    fn publish(&mut self) {
        if std::mem::take(&mut self.unpublished) {
            self.inbox.view.store(Arc::new(self.world.clone()));
        }
    }

    /// Hands each agent its whole desired set where it has changed.
    fn push_desired(&mut self) {
        for (id, agent) in &mut self.agents {
            let tasks = desired::desired(&self.world, id);
            if agent.sent.as_ref() == Some(&tasks) {
                continue;
            }
            // A controller that starts anew goes on from the store's revision, so generations never fall.
            let generation = u64::try_from(self.revision).unwrap_or(0).max(agent.held);
            agent.link.desired.send_replace(Desired { generation, tasks: tasks.clone() });
            agent.sent = Some(tasks);
            if let Some(record) = self.world.nodes.get_mut(id) {
                record.generation = generation;
            }
        }
    }

    fn tell(&self, kind: EventKind) {
        // Without listeners there is no one to tell.
        let _listeners = self.inbox.events.send(Arc::new(Event { at: now(), kind }));
    }

    /// Asked before the change is applied.
    fn events_of(&self, change: &Change) -> Vec<EventKind> {
        match change {
            Change::StartDeployment(deployment) => vec![
                EventKind::DeploymentStarted { deployment: deployment.clone() },
                EventKind::DeploymentStep { deployment: deployment.clone(), step: 0, done: false },
            ],
            Change::AdvanceDeployment(deployment) => {
                let done = deployment.current_step.saturating_sub(1);
                let mut events =
                    vec![EventKind::DeploymentStep { deployment: deployment.clone(), step: done, done: true }];
                if deployment.current().is_some() {
                    let step = deployment.current_step;
                    events.push(EventKind::DeploymentStep { deployment: deployment.clone(), step, done: false });
                }
                events
            }
            Change::EndDeployment { deployment, failure: Some(reason) } => {
                vec![EventKind::DeploymentFailed { deployment: deployment.clone(), reason: reason.clone() }]
            }
            Change::EndDeployment { deployment, failure: None } => {
                let removed = deployment.target.iter().filter(|(_, app)| app.is_none());
                let terminated = removed.map(|(app, _)| EventKind::AppTerminated { app: app.clone() });
                let succeeded = EventKind::DeploymentSucceeded { deployment: deployment.clone() };
                terminated.chain([succeeded]).collect()
            }
            Change::Retire { task, reason: RetireReason::Unhealthy } => {
                let record = self.world.tasks.get(&task.id);
                let checks = record.iter().flat_map(|record| &record.seen.checks);
                let cause = checks.filter_map(|check| check.last_failure_cause.clone()).next();
                vec![EventKind::UnhealthyKill { task: task.clone(), reason: cause.unwrap_or_default() }]
            }
            _ => Vec::new(),
        }
    }

    // ---- users ----------------------------------------------------------------------------------------------------

    async fn answer(&mut self, request: Request) -> Result<(), LeaderError> {
        let Request { ask, reply } = request;
        let answer = self.decide(ask).await?;
        self.publish();
        // A caller that has gone does not read the answer.
        let _caller = reply.send(answer);
        Ok(())
    }

    async fn decide(&mut self, ask: Ask) -> Result<Result<Answer, Refusal>, LeaderError> {
        if self.doubtful && !self.reload().await? {
            let message = "the controller's last write was not answered".to_owned();
            return Ok(Err(Refusal::Store(StoreError::Unavailable { message })));
        }
        let (world, now, uuids) = (&self.world, now(), &mut self.uuids);
        let make_uuid = &mut || uuids.next();
        let submitted = match ask {
            Ask::Put { apps, force } => submit::put(world, apps, force, now, make_uuid),
            Ask::Remove { app, force } => submit::remove(world, &app, force, now, make_uuid),
            Ask::Restart { app, force } => submit::restart(world, &app, force, now, make_uuid),
            Ask::KillTasks { tasks, scale, force } => {
                submit::kill(world, &tasks, scale, force, now, &self.settings.policy, make_uuid)
            }
            Ask::CancelDeployment { id, force } => submit::cancel(world, &id, force, now, make_uuid),
            Ask::ResetDelay { app } => submit::reset_delay(world, &app, now),
        };
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let deployment = submitted.deployment.map(|deployment| deployment.id.clone());
        let answer = Answer { version: submitted.version, deployment };
        Ok(self.commit(submitted.changes, true).await?.map(|()| answer).map_err(Refusal::Store))
    }

    fn pass_on(&self, request: LogRequest) {
        let Some(record) = self.world.tasks.get(&request.task) else {
            let refusal = LogRefusal::NoTask(request.task);
            let _caller = request.reply.send(Err(refusal));
            return;
        };
        let node = record.task.node.clone();
        let Some(agent) = self.agents.get(&node) else {
            let _caller = request.reply.send(Err(LogRefusal::Away(node)));
            return;
        };
        if let Err(error) = agent.link.logs.try_send(request) {
            let (mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) = error;
            let _caller = request.reply.send(Err(LogRefusal::Away(node)));
        }
    }

    // ---- sessions -------------------------------------------------------------------------------------------------

    /// Whether the world may need something now.
    async fn take_in(&mut self, message: Message) -> Result<bool, LeaderError> {
        match message {
            Message::AgentOpened { session, hello, link } => {
                let id = NodeId::new(hello.node_id.clone());
                let held = hello.generation;
                self.join(node(hello)).await?;
                // An older session of this node loses its link, and ends.
                self.agents.insert(id, Agent { session, link, held, reported: None, sent: None });
                Ok(true)
            }
            Message::AgentReports { session, node, reports } => {
                let node = NodeId::new(node);
                let Some(agent) = self.agents.get_mut(&node).filter(|agent| agent.session == session) else {
                    return Ok(false);
                };
                agent.reported = Some(reports.iter().map(|report| TaskId::new(report.task_id.clone())).collect());
                let (held, launched_at) = (agent.held, &self.launched_at);
                let was_told = |task: &TaskId| {
                    launched_at.get(task).is_some_and(|launched_at| u64::try_from(*launched_at).unwrap_or(0) <= held)
                };
                let events = observe::observe(&mut self.world, &node, reports, now(), was_told);
                self.seen(&node);
                self.unpublished = true;
                events.into_iter().for_each(|event| self.tell(event));
                Ok(true)
            }
            Message::AgentSeen { session, node } => {
                let node = NodeId::new(node);
                if self.agents.get(&node).is_some_and(|agent| agent.session == session) {
                    self.seen(&node);
                }
                Ok(false)
            }
            Message::AgentClosed { session, node } => {
                let node = NodeId::new(node);
                if self.agents.get(&node).is_some_and(|agent| agent.session == session) {
                    self.agents.remove(&node);
                    if let Some(record) = self.world.nodes.get_mut(&node) {
                        record.connected = false;
                    }
                    self.unpublished = true;
                }
                Ok(true)
            }
            Message::EdgeState { edge, state } => {
                let busy = state.busy.into_iter().map(|server| server.url).collect();
                let record = EdgeRecord { applied_revision: state.applied_revision, busy, last_seen: now() };
                let before = self.world.edges.insert(edge, record.clone());
                let unchanged = before.is_some_and(|before| {
                    (before.applied_revision, before.busy) == (record.applied_revision, record.busy)
                });
                self.unpublished |= !unchanged;
                Ok(!unchanged)
            }
        }
    }

    fn seen(&mut self, node: &NodeId) {
        if let Some(record) = self.world.nodes.get_mut(node) {
            record.last_seen = now();
        }
    }

    /// Writes a node down, where what its agent says of it has changed.
    async fn join(&mut self, node: Node) -> Result<(), LeaderError> {
        let node = Arc::new(node);
        let known = self.world.nodes.get(&node.id).is_some_and(|record| record.node == node);
        if !known {
            let write = Batch::of(vec![commit::put(keys::node(&node.id), &node)]);
            if let Err(error) = self.write(write).await? {
                // It is written when the agent comes again; until then it is known here.
                tracing::error!(error = %ErrorChain(&error), node = %node.id, "the node could not be written");
            }
        }
        let generation = self.world.nodes.get(&node.id).map_or(0, |record| record.generation);
        let record = NodeRecord { node: node.clone(), connected: true, last_seen: now(), generation };
        self.world.nodes.insert(node.id.clone(), record);
        self.unpublished = true;
        Ok(())
    }
}

fn node(hello: protocol::AgentHello) -> Node {
    let offered = hello.resources.unwrap_or_default();
    let port = |port: u32| u16::try_from(port).ok();
    let range = |range: protocol::PortRange| Some(PortRange { begin: port(range.begin)?, end: port(range.end)? });
    Node {
        id: NodeId::new(hello.node_id),
        hostname: hello.hostname,
        address: hello.address,
        resources: Resources {
            cpus_milli: offered.cpus_milli,
            mem_bytes: offered.mem_bytes,
            disk_bytes: offered.disk_bytes,
            ports: offered.ports.into_iter().filter_map(range).collect(),
        },
        attributes: hello.attributes.into_iter().collect(),
        runtime: hello.runtime,
        limits: hello.limits,
    }
}

impl From<submit::Refused> for Refusal {
    fn from(refused: submit::Refused) -> Self {
        match refused {
            submit::Refused::NoApp(app) => Self::NoApp(app),
            submit::Refused::NoTask(task) => Self::NoTask(task),
            submit::Refused::NoDeployment(deployment) => Self::NoDeployment(deployment),
            submit::Refused::Locked(deployments) => Self::Locked(deployments),
            invalid @ (submit::Refused::Cyclic(_) | submit::Refused::ServicePorts) => {
                Self::Invalid(invalid.to_string())
            }
        }
    }
}

/// The one clock of the controller.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
