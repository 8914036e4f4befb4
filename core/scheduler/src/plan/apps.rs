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

impl Pass<'_> {
    pub(super) fn reconcile_apps(&mut self) {
        let of_tasks = self.world.tasks.values().map(|record| &record.task.app);
        let apps: BTreeSet<AppId> = self.world.apps.keys().chain(of_tasks).cloned().collect();
        for id in apps {
            match self.goal(&id) {
                Goal::Keep(app) => self.keep(&app),
                Goal::Roll(app) => self.roll(&app),
                Goal::Gone => {
                    let active: Vec<TaskId> =
                        self.active(&id).into_iter().map(|record| record.task.id.clone()).collect();
                    for task in active {
                        self.retire(&task, RetireReason::AppRemoved);
                    }
                }
            }
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

    fn active(&self, app: &AppId) -> Vec<&TaskRecord> {
        self.tasks_of(app).filter(|record| record.is_active()).collect()
    }

    fn keep(&mut self, app: &App) {
        let active = self.active(&app.id);
        let instances = app.instances as usize;
        if active.len() < instances {
            let missing = instances - active.len();
            self.launch(app, missing);
        } else {
            let surplus = active.len() - instances;
            for task in self.victims(active, app.kill_selection, surplus) {
                self.retire(&task, RetireReason::ScaledDown);
            }
        }
    }

    /// Marathon's rolling replacement (0.8 and later), told from the counts alone: at least `minimum` tasks stay healthy, at
    /// most `maximum` are there at once. Each new task that becomes healthy lets one old task go.
    fn roll(&mut self, app: &App) {
        let instances = app.instances as usize;
        let minimum = part_of(app.instances, app.upgrade_strategy.minimum_health_capacity, f64::ceil);
        let over = part_of(app.instances, app.upgrade_strategy.maximum_over_capacity, f64::floor);
        // Neither killing first nor starting first would be allowed: one extra breaks the deadlock.
        let maximum = if minimum == instances && over == 0 { instances + 1 } else { instances + over };

        let (new, old): (Vec<_>, Vec<_>) =
            self.active(&app.id).into_iter().partition(|record| record.task.version == app.version);
        let new_count = new.len();
        let new_healthy = new.iter().filter(|record| self.world.is_healthy(record)).count();
        let kept = minimum.saturating_sub(new_healthy);
        let surplus_old = self.victims(old.clone(), app.kill_selection, old.len().saturating_sub(kept));
        let surplus_new = self.victims(new, app.kill_selection, new_count.saturating_sub(instances));
        for task in surplus_old {
            self.retire(&task, RetireReason::Replaced);
        }
        for task in surplus_new {
            self.retire(&task, RetireReason::ScaledDown);
        }
        let present = self.tasks_of(&app.id).filter(|record| !record.seen.state.is_terminal()).count();
        let missing = instances.saturating_sub(new_count);
        self.launch(app, missing.min(maximum.saturating_sub(present)));
    }

    /// The first `count` to go: those that do not work, then by the app's kill selection.
    fn victims(&self, mut tasks: Vec<&TaskRecord>, selection: KillSelection, count: usize) -> Vec<TaskId> {
        let rank = |record: &TaskRecord| match record.seen.state {
            TaskState::Running if self.world.is_healthy(record) => 2,
            TaskState::Running => 1,
            // Nobody has reported it since this controller started: it may well be healthy.
            _ if !record.is_known() => 2,
            _ => 0,
        };
        tasks.sort_by(|a, b| {
            let oldest_first = a.task.staged_at.cmp(&b.task.staged_at).then_with(|| a.task.id.cmp(&b.task.id));
            let selected = match selection {
                KillSelection::YoungestFirst => oldest_first.reverse(),
                KillSelection::OldestFirst => oldest_first,
            };
            rank(a).cmp(&rank(b)).then(selected)
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
