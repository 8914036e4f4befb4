//! What a node decides. Pure: told what is desired and what happened, it answers with [`Effect`]s.
//!
//! ```text
//!              launch            stop             end
//!   STAGING ───────────▶ RUNNING ──────▶ KILLING ─────▶ KILLED
//!      │                   └───────────────────────────▶ FINISHED | FAILED | LOST
//!      ├── could not start ▶ ERROR
//!      └── given up ▶ KILLED
//! ```
//!
//! A task is forgotten once it has ended and is no longer desired, not before: the controller must have heard.
//!
//! # A cold start
//! A machine that was away may have been replaced: what its disk says it should run may run elsewhere by now. So at a start
//! what runs is taken back at once, but what would have to be begun waits ([`Core::boot`]) until a controller's set has been
//! taken ([`Core::desire`]) or none came in good time ([`Core::begin_waiting`]). Meanwhile it is reported as `TASK_STAGING`:
//! not running, and not to be replaced.
//!
//! # Whose word counts
//! Of one cluster's sets an older generation is refused: it is of a leader that was deposed. Generations of two clusters
//! (a store restored from a backup is another one) cannot be compared, so another cluster's set is taken as it is; but one
//! that knows nothing of what runs here looks like a store that was lost or a controller that is not ours, and waits until
//! it is confirmed ([`Verdict::Confirm`]).
//!
//! A node whose desired set on disk cannot be read takes back what runs, starts nothing and stops nothing until a
//! controller has spoken ([`Core::boot_blind`]). Until then it reports what it found as `TASK_UNKNOWN`: there, and nothing
//! to conclude from.

use protocol::{CheckReport, Desired, TaskReport, TaskSpec, TaskState};
use runtime::{Exit, Found, How, Status};
use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

/// For a task that runs here and is known to nobody: Marathon's default grace.
const ORPHAN_GRACE: Duration = Duration::from_secs(3);

/// Something for the shell to do. Each is answered by an event, except `Remove`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Prepare the image and start; answered by `launched`. `again`: remove what is left of it first.
    Launch { task: Box<TaskSpec>, again: bool },
    /// Launch no further than it must; answered by that launch's own `launched`.
    GiveUpLaunch { task_id: String },
    /// Wait for its end; answered by `ended`. Begin its checks.
    Watch { task: Box<TaskSpec>, started_at_ms: i64 },
    /// SIGTERM, grace, SIGKILL; the end is told by `ended`.
    Stop { task_id: String, grace: Duration },
    /// Delete all that is left of an ended task.
    Remove { task_id: String },
}

#[derive(Debug, Default)]
pub(crate) struct Core {
    held: Held,
    tasks: BTreeMap<String, Task>,
}

/// Which desired set the node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Of the store it came from; 0: not known.
    pub(crate) cluster_id: u64,
    pub(crate) generation: u64,
    /// What was held is lost: the file could not be read, and no controller has spoken since.
    pub(crate) blind: bool,
}

/// What becomes of a set that is offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Refuse(Outdated),
    /// It would stop everything that runs, and does not come from the cluster whose set is held.
    Confirm,
}

#[derive(Debug)]
struct Task {
    spec: TaskSpec,
    state: TaskState,
    /// Told to stop, or no longer desired.
    stopping: bool,
    /// No longer desired: gone once it has ended.
    forgotten: bool,
    /// Taken back without its spec, which nobody could tell.
    blind: bool,
    /// To be begun, but not before a controller has spoken or none came.
    waiting: bool,
    /// The runtime still has what is left of an earlier run.
    remains: bool,
    message: String,
    started_at_ms: i64,
    exit_code: i32,
    checks: Vec<CheckReport>,
    observed_at_ms: i64,
}

/// A desired set that is older than the one held.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("desired set of generation {offered} refused: {held} is held")]
pub(crate) struct Outdated {
    offered: u64,
    held: u64,
}

impl Core {
    pub(crate) fn held(&self) -> Held {
        self.held
    }

    pub(crate) fn judge(&self, offered: &Desired) -> Verdict {
        let Held { cluster_id, generation, blind } = self.held;
        let same_cluster = cluster_id == offered.cluster_id || cluster_id == 0 || offered.cluster_id == 0;
        if same_cluster && !blind {
            if offered.generation < generation {
                return Verdict::Refuse(Outdated { offered: offered.generation, held: generation });
            }
            return Verdict::Take;
        }
        let mut running = self.tasks.values().filter(|task| !task.has_ended() && !task.stopping).peekable();
        let known = |task: &Task| offered.tasks.iter().any(|spec| spec.task_id == task.spec.task_id);
        if running.peek().is_some() && !running.any(known) { Verdict::Confirm } else { Verdict::Take }
    }

    /// The first thing told: the desired set on disk, and what the runtime found. What runs is taken back; what died with
    /// nobody watching, the machine's last power cut included, and what never began is to be begun and waits.
    pub(crate) fn boot(&mut self, desired: Desired, found: Vec<Found>, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.hold(&desired);
        let mut found: BTreeMap<String, Status> = found.into_iter().map(|one| (one.id, one.status)).collect();
        for spec in desired.tasks {
            if self.tasks.contains_key(&spec.task_id) {
                continue;
            }
            let status = found.remove(&spec.task_id);
            let mut task = Task::new(spec, now_ms);
            match status {
                None => task.wait(),
                Some(Status::Running { started_at_ms }) => effects.extend(task.take_back(started_at_ms, now_ms)),
                Some(Status::Ended(exit)) => {
                    let unseen = matches!(exit.how, How::Lost | How::NeverStarted);
                    task.remains = true;
                    if unseen && !task.spec.stop {
                        task.wait();
                    } else {
                        task.stopping = task.spec.stop;
                        task.end(&exit);
                    }
                }
            }
            self.tasks.insert(task.spec.task_id.clone(), task);
        }
        for (task_id, status) in found {
            match status {
                Status::Running { started_at_ms } => {
                    let mut task = Task::new(orphan(&task_id), now_ms);
                    effects.extend(task.take_back(started_at_ms, now_ms));
                    effects.extend(task.forget());
                    self.tasks.insert(task_id, task);
                }
                Status::Ended(_) => effects.push(Effect::Remove { task_id }),
            }
        }
        effects
    }

    /// The first thing told when nobody knows what is desired: what runs goes on, and nothing else happens.
    pub(crate) fn boot_blind(&mut self, found: Vec<Found>, now_ms: i64) -> Vec<Effect> {
        self.held.blind = true;
        let mut effects = Vec::new();
        for Found { id, status } in found {
            let mut task = Task::new(orphan(&id), now_ms);
            task.blind = true;
            match status {
                Status::Running { started_at_ms } => effects.extend(task.take_back(started_at_ms, now_ms)),
                Status::Ended(exit) => task.end(&exit),
            }
            self.tasks.insert(id, task);
        }
        effects
    }

    /// No controller has spoken since the start: what waited is begun. Answers with nothing when one has.
    pub(crate) fn begin_waiting(&mut self) -> Vec<Effect> {
        self.tasks.values_mut().filter(|task| task.waiting).flat_map(Task::begin).collect()
    }

    /// Tasks that wait for a controller's word.
    pub(crate) fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.waiting).count()
    }

    /// A new desired set; the caller has asked [`Core::judge`].
    pub(crate) fn desire(&mut self, desired: Desired, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.hold(&desired);
        let mut before = mem::take(&mut self.tasks);
        for spec in desired.tasks {
            let task_id = spec.task_id.clone();
            // Of a task that is listed twice the first entry counts.
            if self.tasks.contains_key(&task_id) {
                continue;
            }
            let task = match before.remove(&task_id) {
                Some(mut task) => {
                    effects.extend(task.desire(spec, now_ms));
                    task
                }
                None => {
                    let mut task = Task::new(spec, now_ms);
                    effects.extend(task.begin());
                    task
                }
            };
            self.tasks.insert(task_id, task);
        }
        for (task_id, mut task) in before {
            if task.has_ended() || task.waiting {
                effects.push(Effect::Remove { task_id });
            } else {
                effects.extend(task.forget());
                self.tasks.insert(task_id, task);
            }
        }
        effects
    }

    /// A launch came to something: the time the task started at, or why it did not.
    pub(crate) fn launched(&mut self, task_id: &str, outcome: Result<i64, String>, now_ms: i64) -> Vec<Effect> {
        let Some(task) = self.tasks.get_mut(task_id) else { return Vec::new() };
        task.observed_at_ms = now_ms;
        match outcome {
            Ok(started_at_ms) => {
                let mut effects = task.take_back(started_at_ms, now_ms);
                if task.stopping {
                    effects.extend(task.stop());
                }
                effects
            }
            Err(message) => {
                task.state = if task.stopping { TaskState::TaskKilled } else { TaskState::TaskError };
                task.message = message;
                self.sweep(task_id)
            }
        }
    }

    pub(crate) fn ended(&mut self, task_id: &str, exit: &Exit, now_ms: i64) -> Vec<Effect> {
        let Some(task) = self.tasks.get_mut(task_id).filter(|task| !task.has_ended()) else { return Vec::new() };
        task.observed_at_ms = now_ms;
        task.end(exit);
        self.sweep(task_id)
    }

    /// What a check found; whether anyone has to hear of it at once.
    pub(crate) fn checked(&mut self, task_id: &str, index: usize, report: CheckReport, now_ms: i64) -> bool {
        let Some(task) = self.tasks.get_mut(task_id) else { return false };
        let Some(known) = task.checks.get_mut(index) else { return false };
        let verdict = |report: &CheckReport| (report.alive, report.consecutive_failures, report.gave_up);
        let changed = verdict(known) != verdict(&report);
        *known = report;
        task.observed_at_ms = now_ms;
        changed
    }

    pub(crate) fn reports(&self) -> Vec<TaskReport> {
        self.tasks.values().map(Task::report).collect()
    }

    /// Running tasks whose checks have not said anything yet.
    pub(crate) fn unchecked(&self) -> bool {
        let silent = |report: &CheckReport| report.last_success_ms == 0 && report.last_failure_ms == 0;
        self.tasks.values().any(|task| task.state == TaskState::TaskRunning && task.checks.iter().any(silent))
    }

    fn hold(&mut self, desired: &Desired) {
        // A controller that does not know its cluster's id says nothing against the one that is known.
        let cluster_id = if desired.cluster_id == 0 { self.held.cluster_id } else { desired.cluster_id };
        self.held = Held { cluster_id, generation: desired.generation, blind: false };
    }

    fn sweep(&mut self, task_id: &str) -> Vec<Effect> {
        if self.tasks.get(task_id).is_some_and(|task| task.forgotten) {
            self.tasks.remove(task_id);
            return vec![Effect::Remove { task_id: task_id.to_owned() }];
        }
        Vec::new()
    }
}

impl Task {
    fn new(spec: TaskSpec, now_ms: i64) -> Self {
        let checks = spec.checks.iter().map(|_| CheckReport::default()).collect();
        Self {
            spec,
            state: TaskState::TaskStaging,
            stopping: false,
            forgotten: false,
            blind: false,
            waiting: false,
            remains: false,
            message: String::new(),
            started_at_ms: 0,
            exit_code: 0,
            checks,
            observed_at_ms: now_ms,
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(self.state, TaskState::TaskStaging | TaskState::TaskRunning | TaskState::TaskKilling)
    }

    /// To be begun later; what is to stop needs no waiting.
    fn wait(&mut self) {
        if self.spec.stop {
            self.end_unbegun();
        } else {
            self.waiting = true;
            self.message = "waits for a controller's word".to_owned();
        }
    }

    fn begin(&mut self) -> Vec<Effect> {
        if self.spec.stop {
            self.end_unbegun();
            return Vec::new();
        }
        self.waiting = false;
        self.message.clear();
        vec![Effect::Launch { task: Box::new(self.spec.clone()), again: self.remains }]
    }

    fn end_unbegun(&mut self) {
        self.waiting = false;
        self.stopping = true;
        self.state = TaskState::TaskKilled;
        self.message = "told to stop before it was started".to_owned();
    }

    /// It runs. A start that was interrupted has no time yet: then it is now.
    fn take_back(&mut self, started_at_ms: i64, now_ms: i64) -> Vec<Effect> {
        let started_at_ms = if started_at_ms > 0 { started_at_ms } else { now_ms };
        self.state = TaskState::TaskRunning;
        self.started_at_ms = started_at_ms;
        let mut effects = vec![Effect::Watch { task: Box::new(self.spec.clone()), started_at_ms }];
        if self.spec.stop && !self.stopping {
            effects.extend(self.stop());
        }
        effects
    }

    /// A set that lists this task again. Only whether it is to stop may change in a task's life.
    fn desire(&mut self, spec: TaskSpec, now_ms: i64) -> Vec<Effect> {
        if mem::take(&mut self.blind) {
            return self.recognize(spec, now_ms);
        }
        let shorter = spec.kill_grace_ms < self.spec.kill_grace_ms;
        self.forgotten = false;
        self.spec.kill_grace_ms = spec.kill_grace_ms;
        if self.waiting {
            self.spec.stop = spec.stop;
            self.observed_at_ms = now_ms;
            return self.begin();
        }
        if spec.stop && !self.has_ended() && (!self.spec.stop || shorter) {
            self.spec.stop = true;
            return self.stop();
        }
        self.spec.stop |= spec.stop;
        Vec::new()
    }

    /// A task taken back blindly is told what it is: now it can be checked, and one that died unseen is begun again.
    fn recognize(&mut self, spec: TaskSpec, now_ms: i64) -> Vec<Effect> {
        let (state, started_at_ms) = (self.state, self.started_at_ms);
        if state == TaskState::TaskRunning {
            *self = Self::new(spec, now_ms);
            return self.take_back(started_at_ms, now_ms);
        }
        if matches!(state, TaskState::TaskLost | TaskState::TaskError) && !spec.stop {
            *self = Self { remains: true, ..Self::new(spec, now_ms) };
            return self.begin();
        }
        self.spec = spec;
        Vec::new()
    }

    fn stop(&mut self) -> Vec<Effect> {
        self.stopping = true;
        if self.state == TaskState::TaskStaging {
            // Its image is fetched, or it is being started: then it is stopped as soon as that is over.
            return vec![Effect::GiveUpLaunch { task_id: self.spec.task_id.clone() }];
        }
        self.state = TaskState::TaskKilling;
        let grace = Duration::from_millis(self.spec.kill_grace_ms);
        vec![Effect::Stop { task_id: self.spec.task_id.clone(), grace }]
    }

    fn forget(&mut self) -> Vec<Effect> {
        self.forgotten = true;
        if self.stopping { Vec::new() } else { self.stop() }
    }

    fn end(&mut self, exit: &Exit) {
        self.state = match exit.how {
            _ if self.stopping => TaskState::TaskKilled,
            How::Code(0) => TaskState::TaskFinished,
            How::Code(_) | How::Signal(_) => TaskState::TaskFailed,
            How::NeverStarted => TaskState::TaskError,
            How::Lost => TaskState::TaskLost,
        };
        self.exit_code = exit.code();
        self.started_at_ms = exit.started_at_ms;
        self.message = exit.to_string();
    }

    fn report(&self) -> TaskReport {
        TaskReport {
            task_id: self.spec.task_id.clone(),
            app_id: self.spec.app_id.clone(),
            app_version: self.spec.app_version.clone(),
            state: if self.blind { TaskState::TaskUnknown } else { self.state }.into(),
            message: self.message.clone(),
            started_at_ms: self.started_at_ms,
            checks: self.checks.clone(),
            container_name: self.spec.container_name.clone(),
            exit_code: self.exit_code,
            observed_at_ms: self.observed_at_ms,
        }
    }
}

/// What little is known of a container that no desired set lists.
fn orphan(task_id: &str) -> TaskSpec {
    TaskSpec { task_id: task_id.to_owned(), kill_grace_ms: ORPHAN_GRACE.as_millis() as u64, ..TaskSpec::default() }
}

#[cfg(test)]
mod tests;
