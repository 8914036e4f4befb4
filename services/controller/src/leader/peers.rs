//! What agents and edges say.

use super::commit::{self, Batch};
use super::{Agent, Leader, LeaderError, observe};
use crate::keys;
use crate::routes;
use crate::sessions::Message;
use lifecycle::ErrorChain;
use model::{Node, NodeId, PortRange, Resources, TaskId};
use scheduler::{EdgeRecord, NodeRecord};
use std::sync::Arc;

impl Leader {
    /// Whether the world may need something now.
    pub(super) async fn take_in(&mut self, message: Message) -> Result<bool, LeaderError> {
        match message {
            Message::AgentOpened { session, hello, link } => {
                let id = NodeId::new(hello.node_id.clone());
                // The generations of another cluster (one that was restored) say nothing here.
                let is_ours = hello.cluster_id == 0 || hello.cluster_id == self.cluster_id;
                let held = if is_ours { hello.generation } else { 0 };
                self.join(node(*hello)).await?;
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
                let events = observe::observe(&mut self.world, &node, reports, self.clock.now(), was_told);
                self.seen(&node);
                self.unpublished = true;
                events.into_iter().for_each(|event| self.tell(event));
                Ok(true)
            }
            Message::AgentSeen { session, node } => {
                let node = NodeId::new(node);
                // It is heard once it has said what it runs: a machine that was rebooted must not be believed to run what
                // it ran before.
                let speaks = |agent: &Agent| agent.session == session && agent.reported.is_some();
                if !self.agents.get(&node).is_some_and(speaks) {
                    return Ok(false);
                }
                let was_silent = self.world.nodes.get(&node).is_some_and(|record| !record.standing.is_heard());
                self.seen(&node);
                Ok(was_silent)
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
            Message::EdgeState { edge, node, address, state } => {
                let busy = state.busy.into_iter().map(|server| routes::place(server.url)).collect();
                // Of another store's changes it may have applied many; of ours, none. (0: an edge that does not say.)
                let is_ours = state.cluster_id == 0 || state.cluster_id == self.cluster_id;
                let applied_revision = if is_ours { state.applied_revision } else { 0 };
                let challenges_revision = if is_ours { state.challenges_revision } else { 0 };
                let node = (!node.is_empty()).then(|| NodeId::new(node));
                let last_seen = self.clock.now();
                let record = EdgeRecord { address, node, applied_revision, challenges_revision, busy, last_seen };
                let before = self.world.edges.insert(edge, record.clone());
                let said = |record: EdgeRecord| (record.applied_revision, record.challenges_revision, record.busy);
                let unchanged = before.is_some_and(|before| said(before) == said(record));
                self.unpublished |= !unchanged;
                Ok(!unchanged)
            }
        }
    }

    fn seen(&mut self, node: &NodeId) {
        if let Some(record) = self.world.nodes.get_mut(node) {
            record.last_seen = self.clock.now();
            self.unpublished = true;
        }
    }

    /// Writes a node down, where what its agent says of it has changed.
    async fn join(&mut self, node: Node) -> Result<(), LeaderError> {
        let draining = self.world.nodes.get(&node.id).is_some_and(|record| record.node.draining);
        let node = Arc::new(Node { draining, ..node });
        let known = self.world.nodes.get(&node.id).is_some_and(|record| record.node == node);
        if !known {
            let mut write = Batch::of(vec![commit::put(keys::node(&node.id), &node)]);
            if let Err(error) = self.write(&mut write).await? {
                // It is written when the agent comes again; until then it is known here.
                tracing::error!(error = %ErrorChain(&error), node = %node.id, "the node could not be written");
            }
        }
        let now = self.clock.now();
        let record = self.world.nodes.entry(node.id.clone()).or_insert_with(|| NodeRecord::new(node.clone(), now));
        (record.node, record.connected) = (node, true);
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
        draining: false,
    }
}
