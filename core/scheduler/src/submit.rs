//! What users ask for, as changes: definitions, removals, restarts, kills, cancelled deployments. One request is one
//! transaction of the controller.

use crate::deployment::{self, Definitions};
use crate::{Backoff, Change, CyclicDependencies, MakeUuid, Policy, RetireReason, World};
use model::{App, AppId, Deployment, DeploymentId, Intent, Node, NodeId, TaskId, TaskState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Service ports are given out from this range (Marathon's `--local_port_min` and `--local_port_max`).
pub const SERVICE_PORTS: std::ops::Range<u16> = 10_000..20_000;

/// What a request comes to.
#[derive(Debug)]
pub struct Submitted {
    pub changes: Vec<Change>,
    pub version: Timestamp,
    pub deployment: Option<Arc<Deployment>>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("App '{0}' does not exist")]
    NoApp(AppId),
    #[error("An app with id [{0}] already exists.")]
    Exists(AppId),
    #[error("Task '{0}' does not exist")]
    NoTask(TaskId),
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(DeploymentId),
    #[error("Node '{0}' does not exist")]
    NoNode(NodeId),
    #[error("App is locked by one or more deployments")]
    Locked(Vec<DeploymentId>),
    #[error(transparent)]
    Cyclic(#[from] CyclicDependencies),
    #[error("no service port is free between {} and {}", SERVICE_PORTS.start, SERVICE_PORTS.end)]
    ServicePorts,
}

/// Defines an app that does not exist yet.
pub fn create(
    world: &World,
    app: App,
    force: bool,
    now: Timestamp,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    if world.apps.contains_key(&app.id) {
        return Err(Refused::Exists(app.id));
    }
    put(world, vec![app], force, now, make_uuid)
}

/// Defines apps anew, as one deployment; without apps nothing happens.
pub fn put(
    world: &World,
    mut apps: Vec<App>,
    force: bool,
    now: Timestamp,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    let version = next_version(world, apps.iter().map(|app| &app.id), now);
    assign_service_ports(world, &mut apps)?;
    let mut target = Definitions::new();
    for mut app in apps {
        app.version = version;
        target.insert(app.id.clone(), Some(app));
    }
    submit(world, version, target, &BTreeSet::new(), force, make_uuid)
}

pub fn remove(
    world: &World,
    app: &AppId,
    force: bool,
    now: Timestamp,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    if !world.apps.contains_key(app) {
        return Err(Refused::NoApp(app.clone()));
    }
    let version = next_version(world, [app], now);
    submit(world, version, Definitions::from([(app.clone(), None)]), &BTreeSet::new(), force, make_uuid)
}

/// Replaces every task of an app, under a new version of the same definition.
pub fn restart(
    world: &World,
    app: &AppId,
    force: bool,
    now: Timestamp,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    let record = world.apps.get(app).ok_or_else(|| Refused::NoApp(app.clone()))?;
    let version = next_version(world, [app], now);
    let target = App { version, ..App::clone(&record.app) };
    let target = Definitions::from([(app.clone(), Some(target))]);
    submit(world, version, target, &BTreeSet::from([app.clone()]), force, make_uuid)
}

/// Kills tasks. They are replaced, or with `scale` their apps are scaled down by their number.
pub fn kill(
    world: &World,
    tasks: &[TaskId],
    scale: bool,
    force: bool,
    now: Timestamp,
    policy: &Policy,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    let mut killed_per_app: BTreeMap<AppId, u32> = BTreeMap::new();
    let mut kills = Vec::new();
    for id in tasks.iter().collect::<BTreeSet<_>>() {
        let record = world.tasks.get(id).ok_or_else(|| Refused::NoTask(id.clone()))?;
        if record.is_active() {
            *killed_per_app.entry(record.task.app.clone()).or_default() += 1;
            kills.push(retire(record, RetireReason::Killed, now, policy));
        }
    }
    let version = next_version(world, killed_per_app.keys(), now);
    if !scale {
        return Ok(Submitted { changes: kills, version, deployment: None });
    }
    let mut target = Definitions::new();
    for (id, killed) in killed_per_app {
        let record = world.apps.get(&id).ok_or_else(|| Refused::NoApp(id.clone()))?;
        let instances = record.app.instances.saturating_sub(killed);
        target.insert(id, Some(App { version, instances, ..App::clone(&record.app) }));
    }
    let mut submitted = submit(world, version, target, &BTreeSet::new(), force, make_uuid)?;
    submitted.changes.extend(kills);
    Ok(submitted)
}

/// Without `force`: a new deployment back to where this one came from. With it: the apps stay as they are.
pub fn cancel(
    world: &World,
    id: &DeploymentId,
    force: bool,
    now: Timestamp,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    let deployment = world.deployments.get(id).ok_or_else(|| Refused::NoDeployment(id.clone()))?;
    let version = next_version(world, deployment.target.keys(), now);
    if force {
        let changes = vec![given_up(deployment)];
        return Ok(Submitted { changes, version, deployment: None });
    }
    submit(world, version, deployment.original.clone(), &BTreeSet::new(), true, make_uuid)
}

/// Forgets an app's back-off.
pub fn reset_delay(world: &World, app: &AppId, now: Timestamp) -> Result<Submitted, Refused> {
    if !world.apps.contains_key(app) {
        return Err(Refused::NoApp(app.clone()));
    }
    let change = Change::Delay { app: app.clone(), backoff: Backoff::default(), failure: None };
    Ok(Submitted { changes: vec![change], version: now, deployment: None })
}

/// Empties a node for maintenance, or lets it take tasks again.
pub fn drain_node(world: &World, id: &NodeId, draining: bool, now: Timestamp) -> Result<Submitted, Refused> {
    let record = world.nodes.get(id).ok_or_else(|| Refused::NoNode(id.clone()))?;
    let node = Node { draining, ..Node::clone(&record.node) };
    let changes = if *record.node == node { Vec::new() } else { vec![Change::DefineNode(Arc::new(node))] };
    Ok(Submitted { changes, version: now, deployment: None })
}

/// Forgets a node. What ran on it counts as lost.
pub fn remove_node(world: &World, id: &NodeId, now: Timestamp) -> Result<Submitted, Refused> {
    if !world.nodes.contains_key(id) {
        return Err(Refused::NoNode(id.clone()));
    }
    Ok(Submitted { changes: vec![Change::RemoveNode(id.clone())], version: now, deployment: None })
}

/// A task on its way out: by way of draining when an edge may have requests in flight to it.
pub(crate) fn retire(record: &crate::TaskRecord, reason: RetireReason, now: Timestamp, policy: &Policy) -> Change {
    let may_be_routed = !record.task.ports.is_empty()
        && (record.seen.state == TaskState::Running || !record.is_known())
        && reason != RetireReason::Unhealthy;
    let intent = if policy.drain && may_be_routed && record.task.intent.is_run() {
        Intent::Drain { since: now, reason: reason.to_string() }
    } else {
        Intent::Stop { since: now, reason: reason.to_string() }
    };
    Change::Retire { task: Arc::new(model::Task { intent, ..model::Task::clone(&record.task) }), reason }
}

fn submit(
    world: &World,
    version: Timestamp,
    target: Definitions,
    restart: &BTreeSet<AppId>,
    force: bool,
    make_uuid: MakeUuid<'_>,
) -> Result<Submitted, Refused> {
    if target.is_empty() {
        return Ok(Submitted { changes: Vec::new(), version, deployment: None });
    }
    let conflicting = deployment::conflicts(world, target.keys());
    if !force && !conflicting.is_empty() {
        return Err(Refused::Locked(conflicting.iter().map(|deployment| deployment.id.clone()).collect()));
    }
    let mut changes: Vec<Change> = conflicting.iter().map(given_up).collect();
    let id = DeploymentId::new(make_uuid());
    let deployment = Arc::new(deployment::deployment(world, id, version, target, restart)?);
    for (id, app) in &deployment.target {
        changes.push(match app {
            Some(app) => Change::Define(Arc::new(app.clone())),
            None => Change::Remove(id.clone()),
        });
    }
    changes.push(Change::StartDeployment(deployment.clone()));
    Ok(Submitted { changes, version, deployment: Some(deployment) })
}

fn given_up(deployment: &Arc<Deployment>) -> Change {
    Change::EndDeployment { deployment: deployment.clone(), failure: Some("cancelled".to_owned()) }
}

/// Versions of an app grow strictly, also when the clock does not.
fn next_version<'a>(world: &World, apps: impl IntoIterator<Item = &'a AppId>, now: Timestamp) -> Timestamp {
    let latest = |app: &AppId| world.versions.get(app)?.keys().next_back().copied();
    let newest = apps.into_iter().filter_map(latest).max();
    newest.map_or(now, |newest| now.max(newest.after(Duration::from_millis(1))))
}

/// A service port of 0 becomes the one the app had at that place before, or the lowest that no app has.
fn assign_service_ports(world: &World, apps: &mut [App]) -> Result<(), Refused> {
    let stored = world.apps.values().flat_map(|record| &record.app.ports);
    let mut taken: BTreeSet<u16> =
        stored.chain(apps.iter().flat_map(|app| &app.ports)).map(|port| port.service_port).collect();
    for app in apps {
        let previous = world.apps.get(&app.id).map(|record| record.app.ports.as_slice()).unwrap_or_default();
        let own: BTreeSet<u16> = app.ports.iter().map(|port| port.service_port).collect();
        // With required ports a declared port is the host port, and 0 leaves the choice to the node.
        let unassigned = |service_port: u16| service_port == 0 && !app.require_ports;
        for (index, port) in app.ports.iter_mut().enumerate().filter(|(_, port)| unassigned(port.service_port)) {
            let kept =
                previous.get(index).map(|port| port.service_port).filter(|kept| *kept != 0 && !own.contains(kept));
            let lowest = || SERVICE_PORTS.into_iter().find(|candidate| !taken.contains(candidate));
            port.service_port = kept.or_else(lowest).ok_or(Refused::ServicePorts)?;
            taken.insert(port.service_port);
        }
    }
    Ok(())
}
