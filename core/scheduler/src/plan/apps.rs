//! What each app should have now, and the tasks to launch and retire to get there.

use super::Pass;
use crate::{RetireReason, TaskRecord};
use model::{ActionKind, App, AppId, Deployment, KillSelection, TaskId, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What an app is on its way to.
enum Goal {
    /// So many tasks of whatever version; new ones are of this one.
    Keep(Arc<App>),
    /// Every task of this version, replaced without falling below its upgrade strategy.
    Roll(Arc<App>),
    Gone,
}

/// A replacement half done: the tasks there should be and those that are to give way to them.
struct Split {
    new_count: usize,
    old_count: usize,
    /// In the order in which they go.
    old_to_go: Vec<TaskId>,
    new_to_go: Vec<TaskId>,
    maximum: usize,
}

impl Split {
    fn of(pass: &Pass<'_>, app: &App, new: Vec<&TaskRecord>, old: Vec<&TaskRecord>) -> Self {
        let instances = app.instances as usize;
        let minimum = part_of(app.instances, app.upgrade_strategy.minimum_health_capacity, f64::ceil);
        let over = part_of(app.instances, app.upgrade_strategy.maximum_over_capacity, f64::floor);
        // Neither killing first nor starting first would be allowed: one extra breaks the deadlock.
        let maximum = if minimum == instances && over == 0 { instances + 1 } else { instances + over };

        let (new_count, old_count) = (new.len(), old.len());
        let new_healthy = new.iter().filter(|record| pass.world.is_up(record)).count();
        let kept = minimum.saturating_sub(new_healthy);
        let old_to_go = pass.victims(old, app.kill_selection, old_count.saturating_sub(kept));
        let new_to_go = pass.victims(new, app.kill_selection, new_count.saturating_sub(instances));
        Self { new_count, old_count, old_to_go, new_to_go, maximum }
    }
}

impl Pass<'_> {
    pub(super) fn reconcile_apps(&mut self) {
        let of_tasks = self.world.tasks.values().map(|record| &record.task.app);
        let apps: BTreeSet<AppId> = self.world.apps.keys().chain(of_tasks).cloned().collect();
        for id in apps {
            let instances = match self.goal(&id) {
                Goal::Keep(app) => {
                    self.keep(&app);
                    app.instances
                }
                Goal::Roll(app) => {
                    self.roll(&app);
                    app.instances
                }
                Goal::Gone => {
                    let active: Vec<TaskId> =
                        self.active(&id).into_iter().map(|record| record.task.id.clone()).collect();
                    for task in active {
                        self.retire(&task, RetireReason::AppRemoved);
                    }
                    0
                }
            };
            self.lose(&id, instances as usize);
        }
    }

    fn goal(&self, id: &AppId) -> Goal {
        let current = self.world.apps.get(id).map(|record| record.app.clone());
        let keep = |app: Option<Arc<App>>| app.map_or(Goal::Gone, Goal::Keep);
        let Some(deployment) = self.world.deployment_of(id) else { return keep(current) };
        let Some((step, kind)) = last_action(deployment, id) else { return keep(current) };
        if deployment.current_step < step {
            // Its turn has not come: it stays as it was, an app that is new at 0.
            let original = deployment.original.get(id).and_then(Option::as_ref);
            return match (original, current) {
                (Some(original), _) => Goal::Keep(Arc::new(original.clone())),
                (None, Some(app)) => Goal::Keep(Arc::new(App { instances: 0, ..App::clone(&app) })),
                (None, None) => Goal::Gone,
            };
        }
        match (kind, current) {
            (ActionKind::RestartApplication, Some(app)) => Goal::Roll(app),
            (_, current) => keep(current),
        }
    }

    pub(super) fn active(&self, app: &AppId) -> Vec<&TaskRecord> {
        self.tasks_of(app).filter(|record| self.world.counts(record)).collect()
    }

    /// Wanted or not, they are there.
    fn present(&self, app: &AppId) -> impl Iterator<Item = &TaskRecord> {
        let is_there =
            |record: &&TaskRecord| !record.seen.state.is_terminal() && !self.world.is_given_up(&record.task.node);
        self.tasks_of(app).filter(is_there)
    }

    fn keep(&mut self, app: &App) {
        if self.present(&app.id).any(|record| self.world.is_draining(&record.task.node)) {
            return self.move_off(app);
        }
        let active = self.active(&app.id);
        let instances = app.instances as usize;
        if active.len() < instances {
            let missing = instances - active.len();
            self.launch(app, missing, |_| true);
        } else {
            let surplus = active.len() - instances;
            for task in self.victims(active, app.kill_selection, surplus) {
                self.retire(&task, RetireReason::ScaledDown);
            }
        }
    }

    fn roll(&mut self, app: &App) {
        let version = app.version;
        let (new, old) = self.active(&app.id).into_iter().partition(|record| record.task.version == version);
        let split = Split::of(self, app, new, old);
        let going = split.old_to_go.len();
        self.replace(app, split, going, RetireReason::Replaced, |record| record.task.version == version);
    }

    /// Replaces the tasks of draining nodes as a roll replaces those of old versions; but none goes unless there is room for
    /// it elsewhere: an app that no other node can take (its constraints, their resources) stays where it is.
    fn move_off(&mut self, app: &App) {
        let is_leaving = |record: &&TaskRecord| self.world.is_draining(&record.task.node);
        let (old, new) = self.active(&app.id).into_iter().partition(is_leaving);
        let split = Split::of(self, app, new, old);
        let instances = app.instances as usize;
        let room = self.room(app, instances.saturating_sub(split.new_count));
        let going_max = (room + split.new_count + split.old_count).saturating_sub(instances);
        self.replace(app, split, going_max, RetireReason::NodeDraining, |_| true);
    }

    /// Marathon's rolling replacement (0.8 and later), told from the counts alone: at least `minimum` tasks stay healthy, at
    /// most `maximum` are there at once. Each new task that becomes healthy lets one old task go.
    fn replace(
        &mut self,
        app: &App,
        split: Split,
        going_max: usize,
        reason: RetireReason,
        is_new: impl Fn(&TaskRecord) -> bool,
    ) {
        for task in split.old_to_go.iter().take(going_max) {
            self.retire(task, reason);
        }
        for task in &split.new_to_go {
            self.retire(task, RetireReason::ScaledDown);
        }
        let present = self.present(&app.id).count();
        let missing = (app.instances as usize).saturating_sub(split.new_count);
        self.launch(app, missing.min(split.maximum.saturating_sub(present)), is_new);
    }

    /// The first `count` to go: those that do not work, those of draining nodes, then by the app's kill selection.
    fn victims(&self, mut tasks: Vec<&TaskRecord>, selection: KillSelection, count: usize) -> Vec<TaskId> {
        let rank = |record: &TaskRecord| match record.seen.state {
            TaskState::Running if self.world.is_up(record) => 3,
            // Its node is silent: it may well be healthy.
            TaskState::Running if self.world.is_healthy(record) => 2,
            TaskState::Running => 1,
            // Nobody has reported it since this controller started: so may this one.
            _ if !record.is_known() => 3,
            _ => 0,
        };
        tasks.sort_by(|a, b| {
            let oldest_first = a.task.staged_at.cmp(&b.task.staged_at).then_with(|| a.task.id.cmp(&b.task.id));
            let selected = match selection {
                KillSelection::YoungestFirst => oldest_first.reverse(),
                KillSelection::OldestFirst => oldest_first,
            };
            let of_leaving = |record: &TaskRecord| self.world.is_draining(&record.task.node);
            rank(a).cmp(&rank(b)).then(of_leaving(b).cmp(&of_leaving(a))).then(selected)
        });
        tasks.into_iter().take(count).map(|record| record.task.id.clone()).collect()
    }
}

/// The step and kind of the action that brings an app to its target (starting at 0 comes before it).
fn last_action(deployment: &Deployment, id: &AppId) -> Option<(usize, ActionKind)> {
    let steps = deployment.steps.iter().enumerate().rev();
    let mut actions = steps.flat_map(|(index, step)| step.actions.iter().map(move |action| (index, action)));
    actions.find(|(_, action)| action.app == *id).map(|(index, action)| (index, action.kind))
}

/// `round(instances × part)`; a part outside 0 to 1 counts as the nearer end.
fn part_of(instances: u32, part: f64, round: fn(f64) -> f64) -> usize {
    // The sum of two decimal fractions may lie a hair off an integer, which must not round away from it.
    const HAIR: f64 = 1e-9;
    let exact = f64::from(instances) * part.clamp(0.0, 1.0);
    let nearest = exact.round();
    if (exact - nearest).abs() < HAIR { nearest as usize } else { round(exact) as usize }
}
