//! Moving deployments on: a step whose actions have all ended gives way to the next. There is no timeout and no automatic
//! way back (Marathon's rule): a deployment that cannot end waits until someone cancels it, and `explain` says why.

use super::Pass;
use crate::{Change, TaskRecord};
use model::{Action, ActionKind, App, AppId, Deployment};
use std::sync::Arc;

impl Pass<'_> {
    pub(super) fn advance_deployments(&mut self) {
        let running: Vec<Arc<Deployment>> = self.world.deployments.values().cloned().collect();
        for deployment in running {
            let Some(step) = deployment.current() else {
                self.change(Change::EndDeployment { deployment, failure: None });
                continue;
            };
            if step.actions.iter().all(|action| self.has_ended(&deployment, action)) {
                let next = Deployment { current_step: deployment.current_step + 1, ..Deployment::clone(&deployment) };
                let next = Arc::new(next);
                self.change(Change::AdvanceDeployment(next.clone()));
                if next.current().is_none() {
                    self.change(Change::EndDeployment { deployment: next, failure: None });
                }
            }
        }
    }

    fn has_ended(&self, deployment: &Deployment, action: &Action) -> bool {
        let target = deployment.target.get(&action.app).and_then(Option::as_ref);
        match (action.kind, target) {
            (ActionKind::StartApplication, _) => true,
            (ActionKind::ScaleApplication, Some(app)) => self.is_at(app, |_| true),
            (ActionKind::RestartApplication, Some(app)) => self.is_at(app, |record| record.task.version == app.version),
            (ActionKind::StopApplication, _) | (_, None) => self.leftovers(&action.app, |_| true) == 0,
        }
    }

    /// Exactly the app's instances are healthy, and nothing else of it is left.
    fn is_at(&self, app: &App, is_current: impl Fn(&TaskRecord) -> bool) -> bool {
        let healthy = self.tasks_of(&app.id).filter(|record| self.world.is_up(record) && is_current(record));
        let unwanted = |record: &TaskRecord| !record.task.intent.is_run() || !is_current(record);
        healthy.count() == app.instances as usize
            && self.active(&app.id).len() == app.instances as usize
            && self.leftovers(&app.id, unwanted) == 0
    }

    /// Tasks that match and are still there. What a node that is away has left cannot hold up a deployment: it is stopped
    /// when the node is back.
    fn leftovers(&self, app: &AppId, matches: impl Fn(&TaskRecord) -> bool) -> usize {
        let is_away = |record: &TaskRecord| {
            let stops = !record.task.intent.is_run() && !self.world.is_connected(&record.task.node);
            stops || self.world.is_given_up(&record.task.node)
        };
        self.tasks_of(app).filter(|record| matches(record) && !is_away(record)).count()
    }
}
