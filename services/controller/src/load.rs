//! Reading the whole state at one revision.

use crate::keys;
use crate::routes::Routes;
use model::{App, Deployment, Node, Task, TaskId, Timestamp};
use routing::document::ROUTES_PREFIX;
use scheduler::{AppRecord, NodeRecord, TaskRecord, World};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{KeyValue, Revision, Store, StoreError};

pub(crate) struct Loaded {
    pub world: World,
    pub routes: Routes,
    pub cluster_id: u64,
    pub revision: Revision,
    /// When each task was launched: an agent that holds a later desired set has heard of it.
    pub launched_at: BTreeMap<TaskId, Revision>,
}

/// Values that this version cannot read, or that lie under another key than their own, are nobody's here: they are named
/// in the log, stay in the store, and keep nothing from starting.
pub(crate) async fn load(store: &dyn Store) -> Result<Loaded, StoreError> {
    let mut world = World::default();
    let mut routes = Routes::default();
    let mut launched_at = BTreeMap::new();

    let cluster_id = store.cluster_id().await?;
    // Everything is read at the revision of the first answer.
    let (revision, apps) = store.read_prefix(keys::APPS_PREFIX, 0).await?;
    for (app, _) in values(apps, |app: &App| keys::app(&app.id)) {
        let app = Arc::new(app);
        world.versions.entry(app.id.clone()).or_default().insert(app.version, app.clone());
        world.apps.insert(app.id.clone(), AppRecord::new(app));
    }
    for (app, _) in values(read(store, keys::VERSIONS_PREFIX, revision).await?, keys::version_of) {
        world.versions.entry(app.id.clone()).or_default().insert(app.version, Arc::new(app));
    }
    for (task, kv) in values(read(store, keys::TASKS_PREFIX, revision).await?, |task: &Task| keys::task(&task.id)) {
        // A draining task left its routes no later than it was written as such.
        let unrouted_at = (!task.intent.is_run()).then_some(kv.mod_revision);
        launched_at.insert(task.id.clone(), kv.create_revision);
        world.tasks.insert(task.id.clone(), TaskRecord::unreported(Arc::new(task), unrouted_at));
    }
    let deployments = read(store, keys::DEPLOYMENTS_PREFIX, revision).await?;
    for (deployment, _) in values(deployments, |deployment: &Deployment| keys::deployment(&deployment.id)) {
        world.deployments.insert(deployment.id.clone(), Arc::new(deployment));
    }
    for (node, _) in values(read(store, keys::NODES_PREFIX, revision).await?, |node: &Node| keys::node(&node.id)) {
        // Nobody has been heard yet.
        let record = NodeRecord::new(Arc::new(node), Timestamp::EPOCH);
        world.nodes.insert(record.node.id.clone(), record);
    }
    for kv in read(store, ROUTES_PREFIX, revision).await? {
        let key = String::from_utf8_lossy(&kv.key);
        let id = key.strip_prefix(ROUTES_PREFIX).unwrap_or_default();
        // One of ours that cannot be read is written again.
        if Routes::owns(id)
            && let Some(document) = value(&kv)
        {
            routes.load(id.to_owned(), document, kv.mod_revision);
        }
    }
    for record in world.tasks.values_mut().filter(|record| record.unrouted_at.is_some()) {
        let written_at = routes.written_at.get(&record.task.app).copied();
        record.unrouted_at = written_at.or(record.unrouted_at);
    }
    Ok(Loaded { world, routes, cluster_id, revision, launched_at })
}

async fn read(store: &dyn Store, prefix: &str, revision: Revision) -> Result<Vec<KeyValue>, StoreError> {
    Ok(store.read_prefix(prefix, revision).await?.1)
}

/// Those that can be read and lie where they belong.
fn values<T: DeserializeOwned>(
    kvs: Vec<KeyValue>,
    key_of: impl Fn(&T) -> String,
) -> impl Iterator<Item = (T, KeyValue)> {
    kvs.into_iter().filter_map(move |kv| {
        let value = value(&kv)?;
        let is_at_home = key_of(&value).as_bytes() == kv.key;
        if !is_at_home {
            let key = String::from_utf8_lossy(&kv.key);
            tracing::error!(%key, own_key = key_of(&value), "passed over: the value belongs under another key");
        }
        is_at_home.then_some((value, kv))
    })
}

fn value<T: DeserializeOwned>(kv: &KeyValue) -> Option<T> {
    let read = serde_json::from_slice(&kv.value);
    read.inspect_err(|error| {
        let key = String::from_utf8_lossy(&kv.key);
        tracing::error!(%key, %error, "passed over: the value is not what this version writes");
    })
    .ok()
}
