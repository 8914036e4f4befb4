//! Reading the whole state at one revision.

use crate::keys;
use crate::routes::Routes;
use bytes::Bytes;
use model::{App, Deployment, Node, Task, TaskId, Timestamp};
use routing::document::{ROUTES_PREFIX, RouteDocument};
use scheduler::{AppRecord, NodeRecord, TaskRecord, World};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{KeyValue, Revision, Store, StoreError};

pub(crate) struct Loaded {
    pub world: World,
    pub routes: Routes,
    pub revision: Revision,
    /// When each task was launched: an agent that holds a later desired set has heard of it.
    pub launched_at: BTreeMap<TaskId, Revision>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read the state")]
    Store(#[from] StoreError),
    #[error("read {key}: the value is not what this version writes")]
    Value { key: String, source: serde_json::Error },
}

pub(crate) async fn load(store: &dyn Store) -> Result<Loaded, LoadError> {
    let mut world = World::default();
    let mut routes = Routes::default();
    let mut launched_at = BTreeMap::new();

    // Everything is read at the revision of the first answer.
    let (revision, apps) = store.read_prefix(keys::APPS_PREFIX, 0).await?;
    for kv in apps {
        let app: Arc<App> = Arc::new(value(&kv)?);
        world.versions.entry(app.id.clone()).or_default().insert(app.version, app.clone());
        world.apps.insert(app.id.clone(), AppRecord::new(app));
    }
    for kv in read(store, keys::VERSIONS_PREFIX, revision).await? {
        let app: Arc<App> = Arc::new(value(&kv)?);
        world.versions.entry(app.id.clone()).or_default().insert(app.version, app);
    }
    for kv in read(store, keys::TASKS_PREFIX, revision).await? {
        let task: Arc<Task> = Arc::new(value(&kv)?);
        // A draining task left its routes no later than it was written as such.
        let unrouted_at = (!task.intent.is_run()).then_some(kv.mod_revision);
        launched_at.insert(task.id.clone(), kv.create_revision);
        world.tasks.insert(task.id.clone(), TaskRecord::unreported(task, unrouted_at));
    }
    for kv in read(store, keys::DEPLOYMENTS_PREFIX, revision).await? {
        let deployment: Arc<Deployment> = Arc::new(value(&kv)?);
        world.deployments.insert(deployment.id.clone(), deployment);
    }
    for kv in read(store, keys::NODES_PREFIX, revision).await? {
        let node: Arc<Node> = Arc::new(value(&kv)?);
        let record = NodeRecord { node, connected: false, last_seen: Timestamp::EPOCH, generation: 0 };
        world.nodes.insert(record.node.id.clone(), record);
    }
    for kv in read(store, ROUTES_PREFIX, revision).await? {
        let key = String::from_utf8_lossy(&kv.key);
        let id = key.strip_prefix(ROUTES_PREFIX).unwrap_or_default();
        if Routes::owns(id) {
            let document: RouteDocument = value(&kv)?;
            routes.load(id.to_owned(), document, kv.mod_revision);
        }
    }
    for record in world.tasks.values_mut().filter(|record| record.unrouted_at.is_some()) {
        let written_at = routes.written_at.get(&record.task.app).copied();
        record.unrouted_at = written_at.or(record.unrouted_at);
    }
    Ok(Loaded { world, routes, revision, launched_at })
}

async fn read(store: &dyn Store, prefix: &str, revision: Revision) -> Result<Vec<KeyValue>, StoreError> {
    Ok(store.read_prefix(prefix, revision).await?.1)
}

fn value<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, LoadError> {
    let decode = |bytes: &Bytes| serde_json::from_slice(bytes);
    decode(&kv.value).map_err(|source| LoadError::Value { key: String::from_utf8_lossy(&kv.key).into_owned(), source })
}
