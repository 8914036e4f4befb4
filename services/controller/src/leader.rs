//! The one task that owns the world. It takes in what users ask, what agents and edges say, and the passing of time; plans;
//! makes each change durable before it applies it; and tells: users their answer, readers a new view, agents their
//! desired sets. Nothing else writes the controller's keys: every transaction compares the leader's key, so that an
//! older controller that is still about can change nothing.

mod answer;
mod clock;
mod commit;
mod fence;
mod observe;
mod peers;
mod silence;
mod tell;
mod write;

use crate::desk::Inbox;
use crate::load::{self, Loaded};
use crate::routes::Routes;
use crate::sessions::{AgentLink, Message, SessionId};
use crate::uuids::Uuids;
use lifecycle::{ErrorChain, Stop};
use model::{Node, NodeId, TaskId};
use protocol::TaskSpec;
use routing::document::RouteDocument;
use scheduler::{EdgeRecord, NodeRecord, Policy, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use store::{Revision, Store};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub(crate) use clock::Clock;
pub(crate) use fence::{Campaign, Fence, look};

/// The world is looked at this often while something is under way…
const PENDING_INTERVAL: Duration = Duration::from_millis(100);
/// …and this often otherwise, or when a silence, a grace or a delay ends before.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// The agent beside a leader that died is heard by the next leader within this time, or is suspected.
const FORMER_LEADER_PATIENCE: Duration = Duration::from_millis(250);
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

#[derive(Clone)]
pub(crate) struct Settings {
    pub store: Arc<dyn Store>,
    pub policy: Policy,
    pub domain: String,
    /// Where browsers reach HTTPS; `None`: 443.
    pub https_port: Option<u16>,
    pub platform_routes: Vec<(String, RouteDocument)>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    #[error("another controller has taken over")]
    Superseded,
}

pub(crate) struct Leader {
    settings: Settings,
    clock: Clock,
    fence: Fence,
    uuids: Uuids,
    inbox: Inbox,
    messages: mpsc::Receiver<Message>,
    world: World,
    routes: Routes,
    /// Of the store: what is said of another one's revisions means nothing here.
    cluster_id: u64,
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
        let Loaded { world, routes, cluster_id, revision, launched_at } = loaded;
        let mut leader = Self {
            settings,
            clock: Clock::System,
            fence,
            uuids,
            inbox,
            messages,
            world,
            routes,
            cluster_id,
            revision,
            launched_at,
            agents: BTreeMap::new(),
            forgotten: VecDeque::new(),
            doubtful: false,
            unpublished: true,
        };
        leader.begin();
        leader
    }

    /// Silence counts from here: nobody can have spoken to this leader before.
    fn begin(&mut self) {
        let now = self.clock.now();
        self.world.nodes.values_mut().for_each(|record| record.last_seen = now);
        if !self.world.tasks.is_empty() {
            // Until they are back nobody knows that no request is in flight to a draining task.
            let unknown = EdgeRecord { last_seen: now, ..EdgeRecord::default() };
            self.world.edges.insert(UNKNOWN_EDGES.to_owned(), unknown);
        }
    }

    /// The machine on which the leader before this one ran may well be dead with it: it has less time than any other to be
    /// heard before its servers leave the routes.
    pub(crate) fn succeeding(mut self, former: Option<NodeId>) -> Self {
        let silence = self.settings.policy.suspect_after.saturating_sub(FORMER_LEADER_PATIENCE);
        if let Some(record) = former.and_then(|former| self.world.nodes.get_mut(&former)) {
            record.last_seen = record.last_seen.before(silence);
        }
        self
    }

    /// Goes by a clock that a test moves.
    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self.begin();
        self
    }

    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), LeaderError> {
        self.pass().await?;
        // A point in time, so that many messages that need no pass cannot put one off.
        let mut next_pass = Instant::now() + self.patience();
        loop {
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
                () = sleep_until(next_pass) => true,
            };
            let mut needs_pass = needs_pass;
            for _ in 0..MESSAGES_PER_PASS_MAX {
                let Ok(message) = self.messages.try_recv() else { break };
                needs_pass |= self.take_in(message).await?;
            }
            if needs_pass {
                self.pass().await?;
                next_pass = Instant::now() + self.patience();
            }
        }
    }

    async fn pass(&mut self) -> Result<(), LeaderError> {
        if self.doubtful && !self.reload().await {
            return Ok(());
        }
        let now = self.clock.now();
        self.judge(now);
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
                self.keep_seen_nodes(old.nodes);
                (self.world.edges, self.world.shunned_ports) = (old.edges, old.shunned_ports);
                self.world.refused = old.refused;
                (self.world.brake, self.world.braked_at) = (old.brake, old.braked_at);
                (self.routes, self.revision, self.launched_at) = (loaded.routes, loaded.revision, loaded.launched_at);
                self.cluster_id = loaded.cluster_id;
                (self.doubtful, self.unpublished) = (false, true);
                true
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "the state cannot be read");
                false
            }
        }
    }

    /// After everything was read again: what was seen of nodes, which is not stored.
    fn keep_seen_nodes(&mut self, mut seen: BTreeMap<NodeId, NodeRecord>) {
        let now = self.clock.now();
        for (id, record) in &mut self.world.nodes {
            match seen.remove(id) {
                // What its agent said last may not have been written; whether it drains is the store's word.
                Some(known) => {
                    let draining = record.node.draining;
                    let node = Arc::new(Node { draining, ..Node::clone(&known.node) });
                    *record = NodeRecord { node, ..known };
                }
                None => record.last_seen = now,
            }
        }
        seen.retain(|id, _| self.agents.contains_key(id));
        self.world.nodes.extend(seen);
    }
}
