//! A store that fails, or whose answers are lost: the controller reads everything again and goes on; nothing is doubled.

use super::trial::{FakeAgent, Trial, until};
use crate::desk::{Ask, Refusal};
use crate::test_world::app;
use async_trait::async_trait;
use scheduler::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use store::meddled::{Meddled, Meddler};
use store::*;

const WORKS: u8 = 0;
/// Nothing is written, nothing is read.
const AWAY: u8 = 1;
/// The next transaction is written and its answer lost.
const LOSES_ONE_ANSWER: u8 = 2;
/// Servers of the app `x` are refused.
const REFUSES_X: u8 = 3;

struct Flaky {
    mode: AtomicU8,
    /// Requests made while it was away.
    missed: AtomicU32,
}

impl Flaky {
    async fn open(data: &std::path::Path, mode: u8) -> Arc<Meddled<Self>> {
        let store = Arc::new(Embedded::open(data.to_owned()).await.unwrap());
        Arc::new(Meddled::new(store, Self { mode: AtomicU8::new(mode), missed: AtomicU32::new(0) }))
    }

    fn away<T>(&self) -> Result<T, StoreError> {
        self.missed.fetch_add(1, Ordering::SeqCst);
        unavailable()
    }
}

fn routes_x(operation: &Operation) -> bool {
    let Operation::Put(put) = operation else { return false };
    put.key.ends_with(b"/app.x") && String::from_utf8_lossy(&put.value).contains("127.0.0.1")
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable { message: "for the test".into() })
}

#[async_trait]
impl Meddler for Flaky {
    async fn range(&self, store: &dyn Store, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            AWAY => self.away(),
            _ => store.range(request).await,
        }
    }

    async fn txn(&self, store: &dyn Store, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            AWAY => self.away(),
            LOSES_ONE_ANSWER => {
                store.txn(request).await?;
                self.mode.store(WORKS, Ordering::SeqCst);
                unavailable()
            }
            REFUSES_X if request.success.iter().any(routes_x) => {
                let message = "etcdserver: request is too large".to_owned();
                Err(StoreError::Refused { code: RefusalCode::InvalidArgument, message })
            }
            _ => store.txn(request).await,
        }
    }
}

async fn flaky(data: &std::path::Path) -> (Arc<Meddled<Flaky>>, Trial) {
    let store = Flaky::open(data, WORKS).await;
    let trial = Trial::start_on(store.clone(), |_| ()).await;
    (store, trial)
}

#[tokio::test]
async fn a_controller_started_before_its_store_waits_for_it() {
    let data = tempfile::tempdir().unwrap();
    let store = Flaky::open(data.path(), AWAY).await;
    let comes_back = async {
        until("it has asked more than once", || store.missed.load(Ordering::SeqCst) > 1).await;
        store.mode.store(WORKS, Ordering::SeqCst);
    };
    let (trial, ()) = tokio::join!(Trial::start_on(store.clone(), |_| ()), comes_back);
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    assert_eq!(agent.running().len(), 1);
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

#[tokio::test]
async fn an_app_whose_route_is_refused_holds_up_no_other() {
    let data = tempfile::tempdir().unwrap();
    let (store, trial) = flaky(data.path()).await;
    let _agent = FakeAgent::join(&trial, "one").await;
    store.mode.store(REFUSES_X, Ordering::SeqCst);
    trial.put(app("x", 1)).await;
    let x = app("x", 1).id;
    let refused = |world: &World| world.refused.contains_key(&Some(x.clone()));
    trial.until("its route is refused", refused).await;
    // Before it and after it in the order of the batches.
    trial.put(app("w", 1)).await;
    trial.put(app("y", 1)).await;
    let is_served =
        async |name: &str| trial.route(&format!("app.{name}")).await.is_some_and(|route| route.servers.len() == 1);
    let others_run = |world: &World| world.deployments.values().all(|deployment| deployment.target.contains_key(&x));
    trial.until("the others are deployed", others_run).await;
    assert!(is_served("w").await && is_served("y").await && !is_served("x").await);
    let view = trial.desk.view();
    assert!(refused(&view));
    let lines = scheduler::explain(&view, &x, model::Timestamp::EPOCH);
    assert!(lines.iter().any(|line| line.ends_with("request is too large")), "{lines:?}");

    store.mode.store(WORKS, Ordering::SeqCst);
    trial.until("it is written after all", |world| world.refused.is_empty()).await;
    trial.until_deployed().await;
    assert!(is_served("x").await);
}
