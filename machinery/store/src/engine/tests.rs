use super::*;
use crate::wire::storage::frame::Frame as Page;
use bytes::Bytes;
use pb::request_op::Request;
use proptest::prelude::*;
use prost::Message;
use std::sync::Arc;
use tokio::sync::Notify;

fn put(key: &str, value: &str, lease: i64) -> pb::PutRequest {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    pb::PutRequest { key, value, lease, ..pb::PutRequest::default() }
}

fn range(key: &str, range_end: &str, revision: Revision) -> pb::RangeRequest {
    let (key, range_end) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(range_end.as_bytes()));
    pb::RangeRequest { key, range_end, revision, ..pb::RangeRequest::default() }
}

fn operation(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn all(engine: &Engine, revision: Revision) -> Result<pb::RangeResponse, Refusal> {
    engine.range(&range("\0", "\0", revision), engine.revision())
}

fn everything() -> WatcherOptions {
    let key = Bytes::from_static(b"\0");
    WatcherOptions { range_end: key.clone(), key, prev_kv: true, without_puts: false, without_deletes: false }
}

#[test]
fn a_fresh_store_is_at_revision_1_and_was_never_compacted() {
    let engine = Engine::new(Limits::default());
    assert_eq!((engine.revision(), engine.compacted()), (1, -1));
    assert_eq!(all(&engine, 1).unwrap().count, 0);
    assert_eq!(all(&engine, 2), Err(Refusal::FutureRevision));
}

#[test]
fn nested_transactions_share_the_budget_and_the_revision() {
    let mut engine = Engine::new(Limits::default());
    let nested = |success| operation(Request::RequestTxn(pb::TxnRequest { success, ..pb::TxnRequest::default() }));
    let puts = |count: usize| (0..count).map(|index| operation(Request::RequestPut(put(&index.to_string(), "", 0))));
    let txn = |success| pb::TxnRequest { success, ..pb::TxnRequest::default() };
    let (response, record) = engine.txn(&txn(vec![nested(puts(127).collect())])).unwrap();
    assert_eq!((response.header.unwrap().revision, engine.revision()), (2, 2));
    assert!(record.is_some());
    assert_eq!(engine.txn(&txn(vec![nested(puts(128).collect())])), Err(Refusal::TooManyOperations));
    assert_eq!(engine.txn(&txn(puts(1).chain([nested(puts(1).collect())]).collect())), Err(Refusal::DuplicateKey));
    assert_eq!(engine.txn(&txn(vec![pb::RequestOp { request: None }])), Err(Refusal::KeyNotFound));
    assert_eq!(engine.revision(), 2, "a refused transaction changes nothing");
}

#[test]
fn a_lease_is_renewed_in_time_or_not_at_all() {
    let mut engine = Engine::new(Limits::default());
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(engine.lease_grant(1, 1, start).unwrap().0, 2);
    assert_eq!(engine.lease_grant(1, 5, start), Err(Refusal::LeaseExists));
    assert_eq!(engine.lease_keep_alive(1, at(1)), Some(2));
    assert_eq!(engine.leases_expired(at(2), 10), [0_i64; 0]);
    assert_eq!(engine.lease_wait(at(2)), Some(Duration::from_secs(1)));
    assert_eq!(engine.lease_time_to_live(1, at(2)), Some((1, 2)));
    assert_eq!(engine.leases_expired(at(3), 10), [1]);
    assert_eq!(engine.lease_keep_alive(1, at(3)), None, "what has run out cannot be renewed before it is revoked");
    engine.lease_revoke(1).unwrap();
    assert_eq!(engine.lease_revoke(1), Err(Refusal::LeaseNotFound));
}

#[test]
fn a_full_store_refuses_puts_and_takes_deletes() {
    let mut engine = Engine::new(Limits { store_bytes_max: 1000, ..Limits::default() });
    engine.put(&put("a", &"x".repeat(500), 0)).unwrap();
    assert_eq!(engine.put(&put("b", &"x".repeat(500), 0)).map(drop), Err(Refusal::NoSpace));
    let delete = pb::DeleteRangeRequest { key: "a".into(), ..pb::DeleteRangeRequest::default() };
    assert_eq!(engine.delete_range(&delete).unwrap().0.deleted, 1);
    engine.compact(3).unwrap();
    engine.prune();
    engine.put(&put("b", &"x".repeat(500), 0)).unwrap();
}

#[test]
fn a_snapshot_is_of_one_moment_whatever_happens_meanwhile() {
    let mut engine = Engine::new(Limits::default());
    for number in 0..3000 {
        engine.put(&put(&format!("{number:0>5}"), "before", 0)).unwrap();
    }
    let expected = all(&engine, 0).unwrap();
    let (head, mut pages) = engine.begin_snapshot();
    let mut read = vec![Page::Head(head), pages.next(&engine).unwrap()];
    for number in 0..3000 {
        engine.put(&put(&format!("{number:0>5}"), "after", 0)).unwrap();
    }
    engine.compact(engine.revision()).unwrap();
    engine.prune();
    while let Some(page) = pages.next(&engine) {
        read.push(page);
    }
    engine.end_snapshot();
    let restored = restore(read);
    assert_eq!(all(&restored, 0).unwrap(), expected);
    assert!(engine.bytes() < 3000 * 150, "what was pinned is freed afterwards");
}

#[test]
fn only_the_watchers_of_a_key_are_told() {
    let mut engine = Engine::new(Limits::default());
    let mut watchers = Watchers::default();
    let one = |key: &'static str| WatcherOptions { key: key.into(), range_end: Bytes::new(), ..everything() };
    let [mine, other, range] =
        [one("a"), one("b"), everything()].map(|options| watchers.add(options, 2, 1, Arc::new(Notify::new())));
    engine.put(&put("a", "1", 0)).unwrap();
    watchers.tell(2, engine.keys_changed_at(2));
    assert_eq!([&mine, &other, &range].map(|watcher| watcher.take_waiting()), [Some(2), None, Some(2)]);
    let events = engine.events(&mine.options, 2, 2);
    assert_eq!((events.events.len(), events.upto), (1, 2));
    [mine, other, range].iter().for_each(|watcher| watchers.remove(watcher));
    assert_eq!(watchers.len(), 0);
}

fn restore(pages: Vec<Page>) -> Engine {
    let pages = pages.into_iter().map(Ok::<Page, SnapshotError>);
    Engine::from_pages(Limits::default(), pages, Instant::now()).unwrap().0
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, String, i64),
    Delete(String, String),
    Grant(i64),
    Revoke(i64),
    Compact(Revision),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => ("[a-d]{1,2}", "[xyz]{0,3}", 0..3i64).prop_map(|(key, value, lease)| Change::Put(key, value, lease)),
        3 => ("[a-d]{1,2}", "[a-e]?").prop_map(|(key, end)| Change::Delete(key, end)),
        1 => (1..3i64).prop_map(Change::Grant),
        1 => (1..3i64).prop_map(Change::Revoke),
        1 => (0..40i64).prop_map(Change::Compact),
    ]
}

fn apply(engine: &mut Engine, change: &Change, now: Instant) -> Option<Record> {
    match change {
        Change::Put(key, value, lease) => engine.put(&put(key, value, *lease)).ok()?.1,
        Change::Delete(key, range_end) => {
            let (key, range_end) = (key.clone().into(), range_end.clone().into());
            let request = pb::DeleteRangeRequest { key, range_end, prev_kv: false };
            engine.delete_range(&request).ok()?.1
        }
        Change::Grant(id) => Some(engine.lease_grant(*id, 60, now).ok()?.1),
        Change::Revoke(id) => engine.lease_revoke(*id).ok(),
        Change::Compact(revision) => {
            let record = engine.compact(*revision).ok();
            engine.prune();
            record
        }
    }
}

fn assert_same(left: &Engine, right: &Engine) -> Result<(), TestCaseError> {
    prop_assert_eq!((left.revision(), left.compacted()), (right.revision(), right.compacted()));
    prop_assert_eq!(left.bytes(), right.bytes());
    prop_assert_eq!(left.mvcc.superseded_bytes(), right.mvcc.superseded_bytes());
    for revision in 0..=left.revision() {
        prop_assert_eq!(all(left, revision), all(right, revision));
    }
    let from = left.compacted().max(1);
    let (left_events, right_events) =
        (left.events(&everything(), from, left.revision()), right.events(&everything(), from, left.revision()));
    prop_assert_eq!(left_events.events, right_events.events);
    for id in left.lease_ids() {
        prop_assert!(left.lease_keys(id).eq(right.lease_keys(id)));
    }
    prop_assert_eq!(left.lease_ids(), right.lease_ids());
    Ok(())
}

proptest! {
    /// The log alone, and a snapshot taken at any point with the log after it, bring back the same store.
    #[test]
    fn replay_and_snapshot_bring_back_the_same_store(
        changes in prop::collection::vec(change(), 0..80), cut in 0..80usize,
    ) {
        let now = Instant::now();
        let mut engine = Engine::new(Limits::default());
        let mut replayed = Engine::new(Limits::default());
        let mut restored = None;
        for (index, change) in changes.iter().enumerate() {
            if index == cut {
                let (head, mut pages) = engine.begin_snapshot();
                let mut read = vec![Page::Head(head)];
                while let Some(page) = pages.next(&engine) {
                    read.push(page);
                }
                engine.end_snapshot();
                restored = Some(restore(read));
            }
            if let Some(record) = apply(&mut engine, change, now) {
                let payload = record.encode_to_vec();
                replayed.replay(&payload, now).unwrap();
                if let Some(restored) = &mut restored {
                    restored.replay(&payload, now).unwrap();
                }
            }
        }
        assert_same(&replayed, &engine)?;
        if let Some(restored) = restored {
            assert_same(&restored, &engine)?;
        }
    }

    #[test]
    fn any_bytes_are_replayed_or_refused(payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let _refused = Engine::new(Limits::default()).replay(&payload, Instant::now());
    }
}

#[test]
fn pages_without_an_end_are_refused() {
    let (head, _) = Engine::new(Limits::default()).begin_snapshot();
    let pages = [Ok::<Page, SnapshotError>(Page::Head(head))].into_iter();
    let refused = Engine::from_pages(Limits::default(), pages, Instant::now());
    assert!(matches!(refused, Err(SnapshotError::NoEnd)));
}
