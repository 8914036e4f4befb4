//! What became of tasks: those that ended are forgotten (and replaced, since their app then lacks them), those that are
//! sick or never started are killed.

use super::Pass;
use crate::{Backoff, Change, Failure, RetireReason, TaskRecord, launch_delay};
use model::{TaskId, TaskState};
use std::time::Duration;

/// A port that another program was found to hold is chosen last for this long.
const PORT_SHUNNED: Duration = Duration::from_secs(60);
/// What a failed start says, in any case, when its host port was taken: the process runtime (`PORT_TAKEN` in its
/// `shim/forward.rs`), dockerd about the ports of other containers, and the kernel, in Go's words, about all others.
const PORT_TAKEN_PHRASES: [&str; 3] = ["host port is taken", "port is already allocated", "address already in use"];
/// Versions kept of each app, besides those that tasks and deployments still need (Marathon's `--zk_max_versions`).
const VERSIONS_MAX: usize = 50;

impl Pass<'_> {
    pub(super) fn forget_ended(&mut self) {
        let ended: Vec<TaskRecord> =
            self.world.tasks.values().filter(|record| record.seen.state.is_terminal()).cloned().collect();
        for record in ended {
            // An end that nobody asked for is a failure; finishing is one too, since apps run for ever. A task that was
            // killed or lost says nothing against its app.
            let failed = matches!(record.seen.state, TaskState::Failed | TaskState::Error | TaskState::Finished);
            let unwanted = record.task.intent.is_run();
            if unwanted {
                self.note_failure(&record, record.seen.message.clone(), failed);
                self.shun_ports(&record);
            }
            self.change(Change::Forget(record.task.id.clone()));
        }
    }

    /// Other failures say nothing against a port: the lowest free one is the next task's, too.
    fn shun_ports(&mut self, record: &TaskRecord) {
        let failed = matches!(record.seen.state, TaskState::Failed | TaskState::Error);
        let message = record.seen.message.to_lowercase();
        let port_taken = PORT_TAKEN_PHRASES.iter().any(|phrase| message.contains(phrase));
        if failed && port_taken && !record.task.ports.is_empty() {
            let (node, ports) = (record.task.node.clone(), record.task.ports.clone());
            self.change(Change::Shun { node, ports, since: self.now, until: self.now.after(PORT_SHUNNED) });
        }
    }

    pub(super) fn judge_health(&mut self) {
        let mut verdicts: Vec<(TaskId, RetireReason)> = Vec::new();
        for record in self.world.tasks.values().filter(|record| record.is_active() && record.is_known()) {
            // What a node that is away has come to cannot be known. A task that its machine has to begin again (it was
            // rebooted) has the whole time again.
            let staged = record.seen.state == TaskState::Staging && self.world.is_connected(&record.task.node);
            if record.seen.state == TaskState::Running && record.seen.is_given_up() {
                verdicts.push((record.task.id.clone(), RetireReason::Unhealthy));
            } else if staged && self.now.since(record.seen.observed_at) >= self.policy.staging_timeout {
                verdicts.push((record.task.id.clone(), RetireReason::NeverStarted));
            }
        }
        for (task, reason) in verdicts {
            if let Some(record) = self.world.tasks.get(&task).cloned() {
                let cause = record.seen.checks.iter().find_map(|check| check.last_failure_cause.as_deref());
                let message = match cause {
                    Some(cause) => format!("{reason}: {cause}"),
                    None => reason.to_string(),
                };
                self.note_failure(&record, message, true);
                self.retire(&task, reason);
            }
        }
        self.forgive();
    }

    pub(super) fn note_failure(&mut self, record: &TaskRecord, message: String, delays: bool) {
        let Some(app) = self.world.apps.get(&record.task.app) else { return };
        // Tasks of an older version say nothing about this one.
        let delays = delays && record.task.version >= app.app.version;
        let backoff = if delays { app.backoff.failed(&app.app, self.now) } else { app.backoff };
        let failure = Some(Failure::of(record, message, self.now));
        self.change(Change::Delay { app: record.task.app.clone(), backoff, failure });
    }

    /// Forgets the delays of apps one of whose tasks has been healthy for as long as the delay was.
    fn forgive(&mut self) {
        let mut forgiven = Vec::new();
        for (id, app) in self.world.apps.iter().filter(|(_, app)| app.backoff.failures > 0) {
            let delay = launch_delay(&app.app, app.backoff.failures);
            let proven = |record: &TaskRecord| {
                let since = record.seen.started_at.map(|started_at| self.now.since(started_at));
                let launched_after = app.backoff.until.is_none_or(|until| record.task.staged_at >= until);
                launched_after && self.world.is_healthy(record) && since.is_some_and(|since| since >= delay)
            };
            if self.tasks_of(id).any(proven) {
                forgiven.push(id.clone());
            }
        }
        for app in forgiven {
            self.change(Change::Delay { app, backoff: Backoff::default(), failure: None });
        }
    }

    /// Drops the oldest versions past the bound, and all versions of apps that are gone.
    pub(super) fn forget_versions(&mut self) {
        let mut forgotten = Vec::new();
        for (id, versions) in &self.world.versions {
            let bound = if self.world.apps.contains_key(id) { VERSIONS_MAX } else { 0 };
            let surplus = versions.len().saturating_sub(bound);
            if surplus == 0 || (bound == 0 && self.world.deployment_of(id).is_some()) {
                continue;
            }
            let current = self.world.apps.get(id).map(|app| app.app.version);
            let deployment = self.world.deployment_of(id);
            let original = deployment.and_then(|deployment| deployment.original.get(id)?.as_ref());
            let used: Vec<_> = self.tasks_of(id).map(|record| record.task.version).collect();
            let needed = |version| {
                current == Some(version)
                    || used.contains(&version)
                    || original.is_some_and(|original| original.version == version)
            };
            let oldest = versions.keys().copied().filter(|version| !needed(*version)).take(surplus);
            let dropped: Vec<_> = oldest.collect();
            if !dropped.is_empty() {
                forgotten.push(Change::ForgetVersions { app: id.clone(), versions: dropped });
            }
        }
        for change in forgotten {
            self.change(change);
        }
    }
}
