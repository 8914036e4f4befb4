use super::super::LIMITS;
use super::*;
use ::store::meddled::{Meddled, Meddler};
use ::store::{Embedded, RangeRequest, RangeResponse, Store, TxnRequest, TxnResponse};
use async_trait::async_trait;
use lifecycle::Stop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;
use tempfile::TempDir;

const FRONTEND: &str = "/vulcand/frontends/f1/frontend";

/// Writes the frontend just before others do, so many times; and counts how often all the state is read.
struct Rival {
    times: AtomicUsize,
    reads: AtomicUsize,
}

impl Rival {
    async fn open(times: usize) -> (TempDir, Arc<Meddled<Self>>) {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
        (data, Arc::new(Meddled::new(store, Self { times: times.into(), reads: AtomicUsize::default() })))
    }
}

#[async_trait]
impl Meddler for Rival {
    async fn range(&self, store: &dyn Store, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        if request.revision == 0 && request.range.key == PREFIXES[0] {
            self.reads.fetch_add(1, SeqCst);
        }
        store.range(request).await
    }

    async fn txn(&self, store: &dyn Store, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        let is_concerned = request.compare.iter().any(|compare| compare.range.key == FRONTEND);
        if is_concerned && self.times.try_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok() {
            let left = self.times.load(SeqCst);
            store.put(FRONTEND, format!("meddled {left}").into()).await?;
        }
        store.txn(request).await
    }
}

async fn value(store: &Meddled<Rival>) -> Option<String> {
    store.get(FRONTEND).await.unwrap().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

/// A history of a store, which nobody keeps yet, and the leader's record that it writes by.
async fn begin(store: &Arc<Meddled<Rival>>) -> Arc<History> {
    let revision = store.put("leader", "me".into()).await.unwrap();
    let history = Arc::new(History::new(store.clone(), Compare::unchanged("leader", revision), LIMITS));
    history.resume().await.unwrap();
    history
}

#[tokio::test]
async fn a_rollback_gives_way_to_others_a_few_times_and_then_says_so() {
    for (times, gets_through) in [(2, true), (ATTEMPTS_MAX - 1, true), (usize::MAX, false)] {
        let (_data, store) = Rival::open(times).await;
        let (history, stop) = (begin(&store).await, Stop::new());
        let keeper = tokio::spawn(crate::history::keep(history.clone(), stop.clone()));
        let first = store.put(FRONTEND, "1".into()).await.unwrap();
        store.put(FRONTEND, "2".into()).await.unwrap();
        let done = history.roll_back(first, &Scope::default(), false).await.unwrap();
        match done {
            Ok(Done { revision, .. }) => {
                assert!(gets_through && revision.is_some());
                assert_eq!(value(&store).await.as_deref(), Some("1"));
            }
            Err(refusal) => {
                assert!(!gets_through, "{refusal}");
                assert_eq!(refusal, Refusal::Contended { attempts: ATTEMPTS_MAX });
                assert!(value(&store).await.unwrap().starts_with("meddled"), "nothing was done");
            }
        }
        stop.request();
        keeper.await.unwrap();
    }
}

#[tokio::test]
async fn the_state_is_read_once_and_the_history_waited_for() {
    let (_data, store) = Rival::open(0).await;
    let (history, stop) = (begin(&store).await, Stop::new());
    let first = store.put(FRONTEND, "1".into()).await.unwrap();
    // A delete leaves no revision at its key.
    store.delete(FRONTEND).await.unwrap();
    let asked = history.clone();
    let rollback = tokio::spawn(async move { asked.roll_back(first, &Scope::default(), false).await.unwrap() });
    let start = Instant::now();
    while store.reads.load(SeqCst) == 0 {
        assert!(start.elapsed() < CATCH_UP_MAX, "the state is never read");
        tokio::task::yield_now().await;
    }
    // What is written from now on is none of its business.
    store.put("/vulcand/frontends/f2/frontend", "1".into()).await.unwrap();
    let keeper = tokio::spawn(crate::history::keep(history.clone(), stop.clone()));
    let done = rollback.await.unwrap().unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!((done.plan.steps.len(), store.reads.load(SeqCst)), (1, 1));
    assert_eq!(value(&store).await.as_deref(), Some("1"));
    stop.request();
    keeper.await.unwrap();
}

#[tokio::test]
async fn what_nobody_keeps_is_not_rolled_back() {
    let (_data, store) = Rival::open(0).await;
    let history = begin(&store).await;
    let first = store.put(FRONTEND, "1".into()).await.unwrap();
    store.put(FRONTEND, "2".into()).await.unwrap();
    let refused = history.roll_back(first, &Scope::default(), false).await.unwrap().err();
    assert_eq!(refused, Some(Refusal::Behind));
}
