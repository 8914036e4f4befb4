//! The cluster's state: the client of its etcd, and what the founder writes into it before anything else runs.

use super::membership::Etcd;
use super::{Membership, Others, credentials};
use crate::config::Config;
use crate::up::platform_routes;
use anyhow::Context;
use identity::{Role, Tls};
use lifecycle::ErrorChain;
use rustls::ClientConfig;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use store::dump::{self, Existing};
use store::{ClientCredentials, Embedded, EtcdClient, KeyRange, Operation, Store, TxnRequest};

/// The list of the others is looked at this often.
const OTHERS_INTERVAL: Duration = Duration::from_secs(2);

const GRANT_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// What is of machines, not of what shall run on them.
const MACHINES_KEYS: [&str; 2] = ["/roadstead/cluster", "/roadstead/controller"];
const MACHINES_PREFIXES: [&str; 5] =
    ["/roadstead/join-tokens/", "/roadstead/members/", "/roadstead/nodes/", "/roadstead/tasks/", "/roadstead/vip/"];

/// A client of the state wherever it is: it follows the list of the others, which the supervisor keeps. Needs a tokio
/// runtime.
pub fn client(others: &Path, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Arc<EtcdClient>> {
    let found = Others::read(others)?;
    let client = Arc::new(connect(&found, tls)?);
    tokio::spawn(follow(others.to_owned(), found.etcd, Arc::downgrade(&client)));
    Ok(client)
}

/// An etcd of the user's knows nothing of our certificates.
fn connect(others: &Others, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<EtcdClient> {
    let (credentials, tls) = match &others.outside {
        None => (ClientCredentials::None, tls),
        Some(outside) => (outside.credentials()?, outside.tls()?),
    };
    EtcdClient::connect(&others.etcd, credentials, tls).context("connect to the state")
}

async fn follow(others: PathBuf, mut known: Vec<String>, client: Weak<EtcdClient>) {
    loop {
        tokio::time::sleep(OTHERS_INTERVAL).await;
        let Some(client) = client.upgrade() else { return };
        match Others::read(&others) {
            Ok(read) if read.etcd != known => {
                if let Err(error) = client.set_endpoints(&read.etcd) {
                    tracing::warn!(error = %ErrorChain(&error), "the list of the state's members cannot be used");
                }
                known = read.etcd;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %ErrorChain(error.as_ref()), "where the state is"),
        }
    }
}

/// The administrator's client, on a machine that keeps the state.
pub fn administrator(data: &Path) -> anyhow::Result<EtcdClient> {
    let tls = Tls::open(&credentials::directory(data), Role::Admin)?;
    connect(&Others::read(&Others::path(data))?, Some(tls.client(Some(Role::Store))))
}

/// What a new cluster's state is given before its first controller leads: who may touch what, what this machine held while
/// it was alone, the routes of S3. It may be cut off anywhere and is done again; once done it is marked, and a start waits
/// for no state.
pub async fn settle(config: &Config, membership: &Membership) -> anyhow::Result<()> {
    let data = &config.data;
    // The second is the mark of before.
    if !membership.unsettled || membership.etcd.as_ref().is_some_and(|etcd| etcd.existing) {
        return Ok(());
    }
    let client = administrator(data)?;
    if membership.etcd.is_some() {
        client.enable_auth().await.context("give each role its rights in the state")?;
    }
    move_embedded(data, &client).await?;
    let success = platform_routes(&membership.settings.domain, config.objects.listen);
    client.txn(TxnRequest { success, ..TxnRequest::default() }).await.context("write the routes of S3")?;
    // From now on its member starts as one of a cluster that is there.
    let etcd = membership.etcd.clone().map(|etcd| Etcd { existing: true, ..etcd });
    Membership { unsettled: false, etcd, ..membership.clone() }.write(data)
}

/// Gives each role the rights that this binary knows, once the state answers: a later one may have given it others.
pub async fn grant_rights(data: &Path, membership: &Membership) {
    if membership.etcd.is_none() {
        return;
    }
    loop {
        let granting = async { administrator(data)?.enable_auth().await.context("give each role its rights") };
        match granting.await {
            Ok(()) => return,
            Err(error) => tracing::debug!(error = %ErrorChain(error.as_ref()), "the roles' rights in the state"),
        }
        tokio::time::sleep(GRANT_RETRY_INTERVAL).await;
    }
}

/// A state that moved keeps what shall run, not where it ran: the machines join anew, and tasks are started on those that
/// do.
pub async fn forget_machines(store: &dyn Store) -> anyhow::Result<()> {
    let keys = MACHINES_KEYS.map(KeyRange::one);
    let prefixes = MACHINES_PREFIXES.map(|prefix| KeyRange::prefix(prefix.to_owned()));
    let success = keys.into_iter().chain(prefixes).map(|range| Operation::Delete { range, prev_kv: false }).collect();
    store.txn(TxnRequest { success, ..TxnRequest::default() }).await.context("forget the machines")?;
    Ok(())
}

/// A machine that was alone until now brings its state along; what kept it stays beside.
async fn move_embedded(data: &Path, client: &EtcdClient) -> anyhow::Result<()> {
    let directory = data.join("store");
    if !directory.try_exists()? {
        return Ok(());
    }
    let embedded = Embedded::open(directory.clone()).await.context("open the embedded store")?;
    let mut dump = Vec::new();
    let summary = dump::export(&embedded, &mut dump).await.context("read the embedded store")?;
    // Cut off before the rename, it is done again: nobody else writes yet.
    let imported = dump::import(client, &mut Cursor::new(dump), Existing::Overwrite).await;
    imported.context("write the embedded store's keys into etcd")?;
    forget_machines(client).await?;
    drop(embedded);
    let kept = data.join("store.before-cluster");
    std::fs::rename(&directory, &kept).with_context(|| format!("rename {}", directory.display()))?;
    tracing::info!(keys = summary.keys, kept = %kept.display(), "the embedded store's keys are in etcd now");
    Ok(())
}
