//! The steps of a deployment, as Marathon computes them from the definitions before and after: stop what was removed,
//! start what is new (at 0 instances), then, class by class of the dependency graph, scale or restart what is new or
//! changed. Steps run in order, the actions of one step in parallel.

use crate::World;
use model::{Action, ActionKind, App, AppId, Deployment, DeploymentId, Step, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Dependency graph has cyclic dependencies")]
pub struct CyclicDependencies;

/// What a deployment starts from or leads to; `None`: the app does not exist.
pub(crate) type Definitions = BTreeMap<AppId, Option<App>>;

/// Plans the way to `target`; the apps named in `restart` are replaced even when their definition stays the same.
pub(crate) fn deployment(
    world: &World,
    id: DeploymentId,
    version: Timestamp,
    target: Definitions,
    restart: &BTreeSet<AppId>,
) -> Result<Deployment, CyclicDependencies> {
    let current = |id: &AppId| world.apps.get(id).map(|record| App::clone(&record.app));
    let original: Definitions = target.keys().map(|id| (id.clone(), current(id))).collect();
    let steps = steps(world, &original, &target, restart)?;
    Ok(Deployment { id, version, original, target, steps, current_step: 0 })
}

fn steps(
    world: &World,
    original: &Definitions,
    target: &Definitions,
    restart: &BTreeSet<AppId>,
) -> Result<Vec<Step>, CyclicDependencies> {
    let action = |kind, app: &AppId| Action { kind, app: app.clone() };
    let mut stop = Vec::new();
    let mut start = Vec::new();
    let mut classes: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    let depths = dependency_depths(world, target)?;
    for (id, after) in target {
        let Some(after) = after else {
            stop.push(action(ActionKind::StopApplication, id));
            continue;
        };
        let kind = match original.get(id).and_then(Option::as_ref) {
            None => {
                start.push(action(ActionKind::StartApplication, id));
                ActionKind::ScaleApplication
            }
            Some(before) if restart.contains(id) || !after.is_scaled(before) || has_outdated(world, after) => {
                ActionKind::RestartApplication
            }
            Some(_) => ActionKind::ScaleApplication,
        };
        classes.entry(depths.get(id).copied().unwrap_or(0)).or_default().push(action(kind, id));
    }
    let steps = [stop, start].into_iter().chain(classes.into_values());
    Ok(steps.filter(|actions| !actions.is_empty()).map(|actions| Step { actions }).collect())
}

/// Whether tasks run that were launched from another configuration (left behind by a deployment that was given up): then
/// scaling alone would not lead to the target.
fn has_outdated(world: &World, target: &App) -> bool {
    let active = world.tasks.values().filter(|record| record.task.app == target.id && record.is_active());
    active.into_iter().any(|record| world.app_of(&record.task).is_none_or(|app| !target.is_scaled(app)))
}

/// The length of the longest path of dependencies below each app.
fn dependency_depths(world: &World, target: &Definitions) -> Result<BTreeMap<AppId, usize>, CyclicDependencies> {
    let mut dependencies: BTreeMap<&AppId, &[AppId]> =
        world.apps.iter().map(|(id, record)| (id, record.app.dependencies.as_slice())).collect();
    for (id, app) in target {
        match app {
            Some(app) => dependencies.insert(id, &app.dependencies),
            None => dependencies.remove(id),
        };
    }
    // Apps are settled once everything below them is (dependencies on absent apps do not count): each round settles at
    // least one app, or the rest is a cycle.
    let mut depths: BTreeMap<AppId, usize> = BTreeMap::new();
    let mut rest: Vec<&AppId> = dependencies.keys().copied().collect();
    while !rest.is_empty() {
        let before = rest.len();
        rest.retain(|id| {
            let below = dependencies[id].iter().filter(|below| dependencies.contains_key(below));
            let depth = below.map(|below| depths.get(below).map(|depth| depth + 1)).try_fold(0, |deepest, depth| {
                let depth: usize = depth?;
                Some(depth.max(deepest))
            });
            depth.is_none_or(|depth| {
                depths.insert((*id).clone(), depth);
                false
            })
        });
        if rest.len() == before {
            return Err(CyclicDependencies);
        }
    }
    Ok(depths)
}

/// The running deployments that have one of these apps locked.
pub(crate) fn conflicts<'a>(world: &World, apps: impl IntoIterator<Item = &'a AppId>) -> Vec<Arc<Deployment>> {
    let apps: BTreeSet<&AppId> = apps.into_iter().collect();
    let conflicting = |deployment: &&Arc<Deployment>| deployment.target.keys().any(|app| apps.contains(app));
    world.deployments.values().filter(conflicting).cloned().collect()
}
