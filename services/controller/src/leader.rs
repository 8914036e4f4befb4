//! The one task that owns the world. It takes in what users ask, what agents and edges say, and the passing of time; plans;
//! makes each change durable before it applies it; and tells: users their answer, readers a new view, agents their
//! desired sets. Nothing else writes the controller's keys: every transaction compares the leader's key, so that an
//! older controller that is still about can change nothing.

mod answer;
mod commit;
mod fence;
mod observe;
mod peers;
mod tell;
mod write;

use crate::desk::Inbox;
use crate::load::{self, Loaded};
use crate::routes::Routes;
use crate::sessions::{AgentLink, Message, SessionId};
use crate::uuids::Uuids;
use lifecycle::{ErrorChain, Stop};
use model::{NodeId, TaskId, Timestamp};
use protocol::TaskSpec;
use routing::document::RouteDocument;
use scheduler::{EdgeRecord, Policy, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Revision, Store};
use tokio::sync::mpsc;

pub(crate) use fence::Fence;

/// The world is looked at this often while something is under way…
const PENDING_INTERVAL: Duration = Duration::from_millis(100);
/// …and this often otherwise.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Messages of sessions taken in before the next pass.
const MESSAGES_PER_PASS_MAX: usize = 256;
/// Forgotten tasks whose node is remembered.
const FORGOTTEN_MAX: usize = 100;
/// A task that is to stop and that its agent has not spoken of for this long is not there.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(5);
/// Edges that were there before this controller started come back within this time, or are gone; so are edges that fell
/// silent.
const EDGE_SILENCE_MAX: Duration = protocol::SESSION_SILENCE_MAX;
/// Stands for the edges that may come back.
pub(crate) const UNKNOWN_EDGES: &str = "(edges not heard of yet)";

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
    /// Where the tasks ran that were forgotten last: their nodes still keep the end of what they wrote.
    forgotten: VecDeque<(TaskId, NodeId)>,
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
            forgotten: VecDeque::new(),
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

    async fn pass(&mut self) -> Result<(), LeaderError> {
        if self.doubtful && !self.reload().await {
            return Ok(());
        }
        let now = now();
        self.forget_silent(now);
        let uuids = &mut self.uuids;
        let planned = scheduler::plan(&self.world, now, &self.settings.policy, &mut || uuids.next());
        let routes = self.plan_routes(&planned.changes);
        let batches = commit::batches(&self.world, planned.changes, routes);
        if let Err(error) = self.write_each(batches).await? {
            tracing::error!(error = %ErrorChain(&error), "the plan could not be written");
        }
        self.publish();
        self.push_desired();
        Ok(())
    }

    /// Reads everything again, keeping what only sessions know; false when the store does not answer.
    async fn reload(&mut self) -> bool {
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
                (self.world.edges, self.world.shunned_ports) = (old.edges, old.shunned_ports);
                self.world.refused = old.refused;
                (self.routes, self.revision, self.launched_at) = (loaded.routes, loaded.revision, loaded.launched_at);
                (self.doubtful, self.unpublished) = (false, true);
                true
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "the state cannot be read");
                false
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
}

/// The one clock of the controller.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
