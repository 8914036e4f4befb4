//! Nodes that were given up. A task of theirs is given up once it was replaced (or nobody wants it): it is forgotten, so that
//! its agent, should it come back, finds it in no desired set and stops it. What could not be replaced stays on record and
//! goes on when the node is back.

use super::Pass;
use crate::{Change, TaskRecord};
use model::{AppId, Observation, TaskState};
use std::time::Duration;

/// Host ports of a task that was given up are chosen last for this long: should its node come back, it may still run there
/// until its agent has heard what it should run.
const LOST_PORTS_SHUNNED: Duration = Duration::from_secs(600);

impl Pass<'_> {
    /// Gives up what an app has on lost nodes, but for as many tasks as it lacks of its `instances`.
    pub(super) fn lose(&mut self, app: &AppId, instances: usize) {
        let mut lost: Vec<TaskRecord> =
            self.tasks_of(app).filter(|record| self.world.is_given_up(&record.task.node)).cloned().collect();
        if lost.is_empty() {
            return;
        }
        let lacking = instances.saturating_sub(self.active(app).len());
        // Those that run, of the newest version, are kept first.
        lost.sort_by(|a, b| {
            let rank = |record: &TaskRecord| (record.is_active(), record.task.version);
            rank(b).cmp(&rank(a)).then_with(|| a.task.id.cmp(&b.task.id))
        });
        let kept = lost.iter().take(lacking).take_while(|record| record.is_active()).count();
        for record in lost.split_off(kept) {
            self.give_up(record);
        }
    }

    fn give_up(&mut self, record: TaskRecord) {
        let node = record.task.node.clone();
        let reason = match self.world.nodes.get(&node) {
            Some(node) => format!("its node {} is lost: silent since {}", node.name(), node.last_seen),
            None => format!("its node {node} was removed"),
        };
        if record.task.intent.is_run() {
            let seen = Observation { state: TaskState::Lost, ..record.seen.clone() };
            // No fault of the app: it is shown, and delays nothing.
            self.note_failure(&TaskRecord { seen, ..record.clone() }, reason.clone(), false);
        }
        if !record.task.ports.is_empty() && self.world.nodes.contains_key(&node) {
            let ports = record.task.ports.clone();
            self.change(Change::Shun { node, ports, since: self.now, until: self.now.after(LOST_PORTS_SHUNNED) });
        }
        self.change(Change::Lose { task: record.task.id.clone(), reason });
    }
}
