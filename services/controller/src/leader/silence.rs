//! Who has been silent for how long, and when to look again.

use super::{EDGE_SILENCE_MAX, IDLE_INTERVAL, Leader, PENDING_INTERVAL, UNSEEN_PATIENCE, observe};
use model::Timestamp;
use scheduler::{Standing, next_deadline};
use std::time::Duration;

impl Leader {
    /// Judges the nodes; what is suspected, lost or back is told to who reads the log.
    pub(super) fn judge(&mut self, now: Timestamp) {
        let brake_before = self.world.brake;
        for (node, before) in self.world.judge(now, &self.settings.policy) {
            self.unpublished = true;
            let Some(record) = self.world.nodes.get(&node) else { continue };
            let (before, standing, silent_since) = (before.name(), record.standing.name(), record.last_seen);
            match record.standing {
                Standing::Suspected { .. } | Standing::Lost { .. } => {
                    tracing::warn!(%node, before, standing, %silent_since, "a node is silent");
                }
                Standing::Live | Standing::Draining => tracing::info!(%node, before, standing, "a node is heard"),
            }
        }
        if self.world.brake != brake_before {
            self.unpublished = true;
            match &self.world.brake {
                Some(brake) => tracing::warn!(reason = %brake, "the brake holds"),
                None => tracing::info!("the brake is off"),
            }
        }
    }

    pub(super) fn forget_silent(&mut self, now: Timestamp) {
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

    /// How long nothing but time can pass by: until the next deadline, or less while something is under way.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_pending() {
            return PENDING_INTERVAL;
        }
        let now = self.clock.now();
        let deadline = next_deadline(&self.world, now, &self.settings.policy);
        deadline.map_or(IDLE_INTERVAL, |deadline| deadline.since(now).min(IDLE_INTERVAL))
    }

    /// Whether a pass may have left something for the next one.
    fn is_pending(&self) -> bool {
        self.doubtful
            || !self.world.deployments.is_empty()
            || self.world.tasks.values().any(|record| !record.task.intent.is_run())
    }
}
