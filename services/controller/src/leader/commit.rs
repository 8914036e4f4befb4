//! Changes as transactions. The operations of one app (its tasks that start to drain and its route without them) stay in
//! one transaction; small ones travel together. An app with more than one transaction holds has its route in the first:
//! a route may leave a server out early, never late.

use crate::keys;
use crate::routes::RouteChange;
use bytes::Bytes;
use model::AppId;
use scheduler::{Change, World};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use store::{Operation, TXN_OPERATIONS_MAX};

/// Bytes of values one transaction carries, below etcd's bound for a request.
const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// Some changes and the writes that make them durable, one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub operations: Vec<Operation>,
    pub changes: Vec<Change>,
    pub routes: Vec<RouteChange>,
    /// Whose they are; `None`: no app's.
    pub apps: BTreeSet<Option<AppId>>,
    bytes: usize,
}

/// One change with its writes; never divided.
struct Item {
    app: Option<AppId>,
    operations: Vec<Operation>,
    change: Option<Change>,
    route: Option<RouteChange>,
}

/// Packs changes and routes, in order, into as few transactions as they fit.
pub(super) fn batches(world: &World, changes: Vec<Change>, routes: Vec<RouteChange>) -> Vec<Batch> {
    pack(per_app(world, changes, routes).into_values())
}

/// A batch again, each app by itself.
pub(super) fn apart(world: &World, batch: Batch) -> Vec<Batch> {
    let per_app = per_app(world, batch.changes, batch.routes);
    per_app.into_values().flat_map(|items| pack([items])).collect()
}

fn per_app(world: &World, changes: Vec<Change>, routes: Vec<RouteChange>) -> BTreeMap<Option<AppId>, Vec<Item>> {
    let mut per_app: BTreeMap<Option<AppId>, Vec<Item>> = BTreeMap::new();
    for route in routes {
        let key = keys::route(&route.id);
        let operations = vec![match &route.document {
            Some(document) => put(key, document),
            None => Operation::delete(key),
        }];
        let app = route.app.clone();
        let item = Item { app: app.clone(), operations, change: None, route: Some(route) };
        per_app.entry(app).or_default().push(item);
    }
    for change in changes {
        let operations = operations(&change);
        let app = app_of(world, &change);
        let item = Item { app: app.clone(), operations, change: Some(change), route: None };
        per_app.entry(app).or_default().push(item);
    }
    per_app
}

fn pack(per_app: impl IntoIterator<Item = Vec<Item>>) -> Vec<Batch> {
    let mut batches = vec![Batch::default()];
    for items in per_app {
        let operations: usize = items.iter().map(|item| item.operations.len()).sum();
        let bytes: usize = items.iter().map(Item::bytes).sum();
        let last = batches.last().expect("it starts with one and only grows");
        if !last.has_room(operations, bytes) {
            batches.push(Batch::default());
        }
        for item in items {
            let last = batches.last_mut().expect("it starts with one and only grows");
            if last.has_room(item.operations.len(), item.bytes()) {
                last.push(item);
            } else {
                let mut next = Batch::default();
                next.push(item);
                batches.push(next);
            }
        }
    }
    batches.retain(|batch| !batch.changes.is_empty() || !batch.routes.is_empty());
    batches
}

/// A request's changes in one transaction: all or nothing. For the caller to see that they fit.
pub(super) fn single(changes: Vec<Change>, routes: Vec<RouteChange>) -> Batch {
    let mut batch = Batch::default();
    for route in routes {
        let key = keys::route(&route.id);
        batch.operations.push(match &route.document {
            Some(document) => put(key, document),
            None => Operation::delete(key),
        });
        batch.routes.push(route);
    }
    for change in changes {
        batch.operations.extend(operations(&change));
        batch.changes.push(change);
    }
    batch
}

impl Batch {
    /// Writes that change nothing of the scheduler's.
    pub(super) fn of(operations: Vec<Operation>) -> Self {
        Self { operations, ..Self::default() }
    }

    /// The writes; of several to one key (a step that ends and with it the deployment) the last, since a transaction may
    /// touch a key only once.
    pub(super) fn take_operations(&mut self) -> Vec<Operation> {
        let mut last: BTreeMap<Bytes, Operation> = BTreeMap::new();
        for operation in self.operations.drain(..) {
            let key = match &operation {
                Operation::Put(put) => put.key.clone(),
                Operation::Delete { range, .. } => range.key.clone(),
                Operation::Range(request) => request.range.key.clone(),
            };
            last.insert(key, operation);
        }
        last.into_values().collect()
    }

    /// An empty one has room for anything: what fits in no transaction is refused by the store, with its reason.
    fn has_room(&self, operations: usize, bytes: usize) -> bool {
        self.operations.is_empty()
            || (self.operations.len() + operations <= TXN_OPERATIONS_MAX && self.bytes + bytes <= TRANSACTION_BYTES_MAX)
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.apps.insert(item.app);
        self.operations.extend(item.operations);
        self.changes.extend(item.change);
        self.routes.extend(item.route);
    }
}

impl Item {
    fn bytes(&self) -> usize {
        let bytes = |operation: &Operation| match operation {
            Operation::Put(put) => put.key.len() + put.value.len(),
            _ => 0,
        };
        self.operations.iter().map(bytes).sum()
    }
}

fn operations(change: &Change) -> Vec<Operation> {
    match change {
        Change::Define(app) => vec![put(keys::app(&app.id), app), put(keys::version_of(app), app)],
        Change::Remove(app) => vec![Operation::delete(keys::app(app))],
        Change::ForgetVersions { app, versions } => {
            versions.iter().map(|version| Operation::delete(keys::version(app, *version))).collect()
        }
        Change::StartDeployment(deployment) | Change::AdvanceDeployment(deployment) => {
            vec![put(keys::deployment(&deployment.id), deployment)]
        }
        Change::EndDeployment { deployment, .. } => vec![Operation::delete(keys::deployment(&deployment.id))],
        Change::Launch(task) | Change::Retire { task, .. } => vec![put(keys::task(&task.id), task)],
        Change::Forget(task) | Change::Lose { task, .. } => vec![Operation::delete(keys::task(task))],
        Change::DefineNode(node) => vec![put(keys::node(&node.id), node)],
        Change::RemoveNode(node) => vec![Operation::delete(keys::node(node))],
        Change::Shun { .. } | Change::Delay { .. } => Vec::new(),
    }
}

pub(super) fn app_of(world: &World, change: &Change) -> Option<AppId> {
    match change {
        Change::Define(app) => Some(app.id.clone()),
        Change::Remove(app) | Change::ForgetVersions { app, .. } | Change::Delay { app, .. } => Some(app.clone()),
        Change::Launch(task) | Change::Retire { task, .. } => Some(task.app.clone()),
        Change::Forget(task) | Change::Lose { task, .. } => world.tasks.get(task).map(|record| record.task.app.clone()),
        Change::Shun { .. } | Change::DefineNode(_) | Change::RemoveNode(_) => None,
        // A deployment goes with its first app.
        Change::StartDeployment(deployment)
        | Change::AdvanceDeployment(deployment)
        | Change::EndDeployment { deployment, .. } => deployment.target.keys().next().cloned(),
    }
}

pub(super) fn put(key: String, value: &impl Serialize) -> Operation {
    let json = serde_json::to_vec(value).expect("the model's types have string keys and finite numbers only");
    Operation::put(key, Bytes::from(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;
    use model::Timestamp;
    use scheduler::RetireReason;
    use std::sync::Arc;

    fn route(id: &str, app: &AppId) -> RouteChange {
        RouteChange { id: id.into(), app: Some(app.clone()), document: None }
    }

    /// `tasks` of an app that start to drain, and its route.
    fn drains(world: &mut World, name: &str, tasks: u16) -> (Vec<Change>, RouteChange) {
        let app = test_world::app(name, u32::from(tasks));
        let ports: Vec<u16> = (1..=tasks).collect();
        test_world::insert(world, &app, &ports);
        let retire = |port: u16| {
            let since = Timestamp::EPOCH;
            let intent = model::Intent::Drain { since, reason: String::new() };
            let task = model::Task { intent, ..test_world::task(&app, "node", port) };
            Change::Retire { task: Arc::new(task), reason: RetireReason::ScaledDown }
        };
        (ports.into_iter().map(retire).collect(), route(&format!("app.{name}"), &app.id))
    }

    #[test]
    fn an_apps_drains_and_its_route_are_one_transaction() {
        let mut world = World::default();
        let (mut changes, first) = drains(&mut world, "x", 100);
        let (more, second) = drains(&mut world, "y", 100);
        changes.extend(more);
        let batches = batches(&world, changes, vec![first, second]);
        assert_eq!(batches.len(), 2);
        for mut batch in batches {
            assert_eq!((batch.changes.len(), batch.routes.len()), (100, 1));
            assert_eq!(batch.take_operations().len(), 101);
        }
    }

    #[test]
    fn an_app_too_large_for_one_has_its_route_in_the_first() {
        let mut world = World::default();
        let (changes, route) = drains(&mut world, "x", 300);
        let batches = batches(&world, changes, vec![route]);
        assert_eq!(batches.iter().map(|batch| batch.changes.len()).collect::<Vec<_>>(), [127, 128, 45]);
        assert_eq!(batches.iter().map(|batch| batch.routes.len()).collect::<Vec<_>>(), [1, 0, 0]);
    }

    #[test]
    fn a_batch_comes_apart_into_its_apps() {
        let mut world = World::default();
        let (mut changes, first) = drains(&mut world, "x", 2);
        let (more, second) = drains(&mut world, "y", 3);
        changes.extend(more);
        let batch = batches(&world, changes, vec![first, second]).pop().unwrap();
        assert_eq!((batch.apps.len(), batch.changes.len()), (2, 5));
        let parts = apart(&world, batch);
        let sizes = parts.iter().map(|part| (part.apps.len(), part.changes.len(), part.routes.len()));
        assert_eq!(sizes.collect::<Vec<_>>(), [(1, 2, 1), (1, 3, 1)]);
    }

    #[test]
    fn one_key_is_written_once_by_its_last_write() {
        let app = test_world::app("x", 1);
        let changes = vec![Change::Define(Arc::new(app.clone())), Change::Remove(app.id)];
        let mut batch = single(changes, Vec::new());
        let operations = batch.take_operations();
        assert_eq!(operations.len(), 2);
        assert!(matches!(operations[0], Operation::Delete { .. }), "{operations:?}");
    }
}
