//! A store that fails, or whose answers are lost: the controller reads everything again and goes on; nothing is doubled.

use super::trial::{FakeAgent, Trial};
use crate::desk::{Ask, Refusal};
use crate::test_world::app;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use store::*;

const WORKS: u8 = 0;
/// Nothing is written, nothing is read.
const AWAY: u8 = 1;
/// The next transaction is written and its answer lost.
const LOSES_ONE_ANSWER: u8 = 2;

struct Flaky {
    inner: Arc<dyn Store>,
    mode: AtomicU8,
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable { message: "for the test".into() })
}

#[async_trait]
impl Store for Flaky {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            AWAY => unavailable(),
            _ => self.inner.range(request).await,
        }
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            AWAY => unavailable(),
            LOSES_ONE_ANSWER => {
                self.inner.txn(request).await?;
                self.mode.store(WORKS, Ordering::SeqCst);
                unavailable()
            }
            _ => self.inner.txn(request).await,
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        self.inner.watch(request).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError> {
        self.inner.lease_keep_alive(id).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.inner.lease_revoke(id).await
    }
}

async fn flaky(data: &std::path::Path) -> (Arc<Flaky>, Trial) {
    let inner: Arc<dyn Store> = Arc::new(Embedded::open(data.to_owned()).await.unwrap());
    let store = Arc::new(Flaky { inner, mode: AtomicU8::new(WORKS) });
    let trial = Trial::start_on(store.clone(), |_| ()).await;
    (store, trial)
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_promised_and_nothing_stops() {
    let data = tempfile::tempdir().unwrap();
    let (store, trial) = flaky(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 2)).await;
    trial.until_deployed().await;
    let before = agent.running();
    store.mode.store(AWAY, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = trial.desk.ask(Ask::Put { apps: vec![app("x", 5)], force: false }).await;
        assert!(matches!(refused, Err(Refusal::Store(StoreError::Unavailable { .. }))));
    }
    assert_eq!(trial.desk.view().tasks.len(), 2);
    store.mode.store(WORKS, Ordering::SeqCst);
    trial.put(app("x", 3)).await;
    trial.until_deployed().await;
    let after = agent.running();
    assert!(after.len() == 3 && before.iter().all(|spec| after.contains(spec)));
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_again() {
    let data = tempfile::tempdir().unwrap();
    let (store, trial) = flaky(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.until("the agent is known", |world| world.nodes.len() == 1).await;
    store.mode.store(LOSES_ONE_ANSWER, Ordering::SeqCst);
    let refused = trial.desk.ask(Ask::Put { apps: vec![app("x", 3)], force: false }).await;
    assert!(matches!(refused, Err(Refusal::Store(_))));
    trial.until("the app is found", |world| !world.apps.is_empty()).await;
    trial.until_deployed().await;

    // And a plan's: the tasks that were launched are not launched again.
    let started = agent.log().len();
    trial.put(app("y", 1)).await;
    trial.until_deployed().await;
    store.mode.store(LOSES_ONE_ANSWER, Ordering::SeqCst);
    let victim = trial.desk.view().tasks.keys().find(|task| task.as_str().starts_with("x.")).unwrap().clone();
    agent.fail(&victim, protocol::TaskState::TaskLost).await;
    trial
        .until("it is replaced", |world| {
            !world.tasks.contains_key(&victim)
                && world.tasks.values().filter(|record| world.is_healthy(record)).count() == 4
        })
        .await;
    assert_eq!(agent.log().len(), started + 2);
}
