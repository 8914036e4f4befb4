//! What every implementation of [`Store`] promises, as one suite: the embedded engine, the engine behind its server, and
//! real etcd are all put through it.

use crate::{
    Compare, Event, KeyRange, KeyValue, Operation, OperationResponse, Order, PAGE_KEYS, PutRequest, RangeRequest,
    RefusalCode, Revision, Store, StoreError, TXN_OPERATIONS_MAX, Target, TxnRequest, WatchBatch, WatchRequest,
    WatchStream,
};
use bytes::Bytes;
use futures::StreamExt;
use std::time::{Duration, Instant};

/// The shortest life of a lease with etcd's own election timeout, and in our engine.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// Nothing in the suite takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs every part of the suite. The store may hold other keys; those under `/contract/` are the suite's. The revisions
/// it reads are the store's own, so nothing else may write meanwhile.
///
/// # Panics
/// When a promise is broken.
pub async fn check(store: &dyn Store) {
    check_with(store, LEASE_MIN).await;
}

/// For a store whose leases may be shorter, or have to be longer.
///
/// # Panics
/// When a promise is broken.
pub async fn check_with(store: &dyn Store, lease_min: Duration) {
    keys_have_revisions(store).await;
    ranges_are_ordered_and_limited(store).await;
    a_prefix_is_read_whole_at_one_revision(store).await;
    the_past_can_be_read(store).await;
    transactions_compare_and_swap(store).await;
    transactions_see_their_own_changes(store).await;
    refusals_have_etcds_texts(store).await;
    limits_are_etcds(store).await;
    watches_report_whole_revisions_in_order(store).await;
    watches_begin_in_the_past(store).await;
    watches_carry_previous_values(store).await;
    leases_end_with_their_keys(store).await;
    leases_run_out(store, lease_min).await;
    compaction_forgets(store).await;
}

async fn keys_have_revisions(store: &dyn Store) {
    let key = "/contract/revisions";
    store.delete(key).await.unwrap();
    let first = store.put(key, Bytes::from_static(b"one")).await.unwrap();
    let second = store.put(key, Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(second, first + 1, "each change is one revision");
    let kv = store.get(key).await.unwrap().expect("the key was put");
    let expected = KeyValue {
        key: key.into(),
        value: Bytes::from_static(b"two"),
        create_revision: first,
        mod_revision: second,
        version: 2,
        lease: 0,
    };
    assert_eq!(kv, expected);
    assert!(store.delete(key).await.unwrap());
    assert!(!store.delete(key).await.unwrap());
    assert_eq!(revision(store).await, second + 1, "a delete of nothing changes nothing");
    let third = store.put(key, Bytes::new()).await.unwrap();
    let kv = store.get(key).await.unwrap().expect("the key was put again");
    assert_eq!((kv.create_revision, kv.version), (third, 1), "a new life begins at version 1");
}

async fn ranges_are_ordered_and_limited(store: &dyn Store) {
    for name in ["b", "c", "a"] {
        store.put(&format!("/contract/range/{name}"), name.into()).await.unwrap();
    }
    let prefix = KeyRange::prefix("/contract/range/");
    let all = store.get_prefix("/contract/range/").await.unwrap();
    assert_eq!(names(&all.kvs), ["/contract/range/a", "/contract/range/b", "/contract/range/c"]);
    assert_eq!((all.count, all.more), (3, false));
    let two = store.range(RangeRequest { limit: 2, ..RangeRequest::of(prefix.clone()) }).await.unwrap();
    assert_eq!((two.kvs.len(), two.count, two.more), (2, 3, true));
    let keys = store.range(RangeRequest { keys_only: true, ..RangeRequest::of(prefix.clone()) }).await.unwrap();
    assert!(keys.kvs.iter().all(|kv| kv.value.is_empty()) && keys.kvs.len() == 3);
    let count = store.range(RangeRequest { count_only: true, ..RangeRequest::of(prefix) }).await.unwrap();
    assert_eq!((count.kvs.len(), count.count), (0, 3));
    let from = KeyRange { key: "/contract/range/b".into(), end: Bytes::from_static(b"\0") };
    let from = store.range(RangeRequest { limit: 2, ..RangeRequest::of(from) }).await.unwrap();
    assert_eq!(names(&from.kvs), ["/contract/range/b", "/contract/range/c"]);
    let backwards = KeyRange { key: "/contract/range/c".into(), end: "/contract/range/a".into() };
    assert_eq!(store.range(RangeRequest::of(backwards)).await.unwrap().count, 0);
}

async fn a_prefix_is_read_whole_at_one_revision(store: &dyn Store) {
    let keys: Vec<String> = (0..=PAGE_KEYS).map(|number| format!("/contract/pages/{number:04}")).collect();
    for keys in keys.chunks(TXN_OPERATIONS_MAX) {
        let success = keys.iter().map(|key| Operation::put(key.clone(), Bytes::from_static(b"v"))).collect();
        store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    }
    let (before, found) = store.read_prefix("/contract/pages/", 0).await.unwrap();
    assert_eq!(names(&found), keys);
    store.delete(&keys[0]).await.unwrap();
    store.put("/contract/pages/9999", Bytes::new()).await.unwrap();
    let (revision, again) = store.read_prefix("/contract/pages/", before).await.unwrap();
    assert_eq!((revision, names(&again)), (before, names(&found)), "what was written later is not in it");
    assert_eq!(store.read_prefix("/contract/nothing/", 0).await.unwrap(), (before + 2, Vec::new()));
    let range = KeyRange::prefix("/contract/pages/");
    let success = vec![Operation::Delete { range, prev_kv: false }];
    store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
}

async fn the_past_can_be_read(store: &dyn Store) {
    let key = "/contract/past";
    let first = store.put(key, "then".into()).await.unwrap();
    store.put(key, "now".into()).await.unwrap();
    let request = RangeRequest { revision: first, ..RangeRequest::of(KeyRange::one(key)) };
    let past = store.range(request.clone()).await.unwrap();
    assert_eq!(past.kvs[0].value, "then");
    assert!(first < past.revision, "an answer carries the store's revision, not the one that was asked for");
    let future = store.range(RangeRequest { revision: past.revision + 1000, ..request }).await;
    refused(future, RefusalCode::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
}

async fn transactions_compare_and_swap(store: &dyn Store) {
    let key = "/contract/swap";
    store.delete(key).await.unwrap();
    let create = TxnRequest {
        compare: vec![Compare::absent(key)],
        success: vec![Operation::put(key, "1")],
        failure: vec![Operation::Range(RangeRequest::of(KeyRange::one(key)))],
    };
    let created = store.txn(create.clone()).await.unwrap();
    assert!(created.succeeded);
    let again = store.txn(create).await.unwrap();
    assert!(!again.succeeded);
    assert_eq!(again.revision, created.revision, "a transaction that changes nothing makes no revision");
    match &again.responses[..] {
        [OperationResponse::Range(found)] => assert_eq!(found.kvs[0].mod_revision, created.revision),
        other => panic!("one range was asked for: {other:?}"),
    }
    let kv = store.get(key).await.unwrap().expect("created");
    let holds = async |target: Target, order: Order| {
        let compare = Compare { range: KeyRange::one(key), order, target };
        store.txn(TxnRequest { compare: vec![compare], ..TxnRequest::default() }).await.unwrap().succeeded
    };
    assert!(holds(Target::Version(1), Order::Equal).await);
    assert!(holds(Target::Version(2), Order::Less).await);
    assert!(!holds(Target::ModRevision(kv.mod_revision), Order::NotEqual).await);
    assert!(holds(Target::CreateRevision(0), Order::Greater).await);
    assert!(holds(Target::Value("1".into()), Order::Equal).await);
    assert!(holds(Target::Value("0".into()), Order::Greater).await);
    assert!(holds(Target::Lease(0), Order::Equal).await);
    store.delete(key).await.unwrap();
    assert!(!holds(Target::Value("1".into()), Order::NotEqual).await, "the value of an absent key compares as nothing");
    assert!(holds(Target::Version(0), Order::Equal).await);
    for name in ["x", "y"] {
        store.put(&format!("/contract/swap/{name}"), "same".into()).await.unwrap();
    }
    let every = |value: &'static str| Compare {
        range: KeyRange::prefix("/contract/swap/"),
        order: Order::Equal,
        target: Target::Value(value.into()),
    };
    let txn = |compare| TxnRequest { compare: vec![compare], ..TxnRequest::default() };
    assert!(store.txn(txn(every("same"))).await.unwrap().succeeded);
    store.put("/contract/swap/y", "other".into()).await.unwrap();
    assert!(!store.txn(txn(every("same"))).await.unwrap().succeeded, "a condition holds for every key of its range");
}

async fn transactions_see_their_own_changes(store: &dyn Store) {
    let prefix = KeyRange::prefix("/contract/own/");
    store.put("/contract/own/old", "1".into()).await.unwrap();
    let put = |key: &'static str, prev_kv| {
        Operation::Put(PutRequest { key: key.into(), value: "2".into(), lease: 0, prev_kv })
    };
    let before = revision(store).await;
    let success = vec![
        put("/contract/own/old", true),
        put("/contract/own/new", true),
        Operation::Range(RangeRequest::of(prefix.clone())),
    ];
    let done = store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    assert_eq!(done.revision, before + 1, "all operations are one revision");
    match &done.responses[..] {
        [
            OperationResponse::Put { prev_kv: Some(old) },
            OperationResponse::Put { prev_kv: None },
            OperationResponse::Range(seen),
        ] => {
            assert_eq!(old.value, "1");
            assert_eq!(seen.kvs.iter().map(|kv| kv.mod_revision).collect::<Vec<_>>(), [done.revision; 2]);
        }
        other => panic!("unexpected answers: {other:?}"),
    }
    let success = vec![Operation::Delete { range: prefix, prev_kv: true }];
    let done = store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    match &done.responses[..] {
        [OperationResponse::Delete { deleted: 2, prev_kvs }] => {
            assert_eq!(names(prev_kvs), ["/contract/own/new", "/contract/own/old"]);
        }
        other => panic!("unexpected answers: {other:?}"),
    }
}

async fn refusals_have_etcds_texts(store: &dyn Store) {
    let txn = |success| store.txn(TxnRequest { success, ..TxnRequest::default() });
    let invalid = RefusalCode::InvalidArgument;
    refused(txn(vec![Operation::put("", "v")]).await, invalid, "etcdserver: key is not provided");
    refused(store.range(RangeRequest::of(KeyRange::one(""))).await, invalid, "etcdserver: key is not provided");
    let twice = vec![Operation::put("/contract/d", "1"), Operation::put("/contract/d", "2")];
    refused(txn(twice).await, invalid, "etcdserver: duplicate key given in txn request");
    let inside = Operation::Delete { range: KeyRange::prefix("/contract/d/"), prev_kv: false };
    let both = vec![Operation::put("/contract/d/x", "1"), inside];
    refused(txn(both).await, invalid, "etcdserver: duplicate key given in txn request");
    let lost = Operation::Put(PutRequest { key: "/contract/d".into(), value: "1".into(), lease: 4711, prev_kv: false });
    refused(txn(vec![lost]).await, RefusalCode::NotFound, "etcdserver: requested lease not found");
    refused(store.lease_revoke(4711).await, RefusalCode::NotFound, "etcdserver: requested lease not found");
    let forever = store.lease_grant(Duration::from_secs(9_000_000_001)).await;
    refused(forever, RefusalCode::OutOfRange, "etcdserver: too large lease TTL");
    let future = store.compact(revision(store).await + 1000).await;
    refused(future, RefusalCode::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
}

async fn limits_are_etcds(store: &dyn Store) {
    let puts = |count: usize| (0..count).map(|index| Operation::put(format!("/contract/limit/{index}"), "v")).collect();
    let txn = |success| store.txn(TxnRequest { success, ..TxnRequest::default() });
    assert_eq!(txn(puts(TXN_OPERATIONS_MAX)).await.unwrap().responses.len(), TXN_OPERATIONS_MAX);
    let text = "etcdserver: too many operations in txn request";
    refused(txn(puts(TXN_OPERATIONS_MAX + 1)).await, RefusalCode::InvalidArgument, text);
    let value = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let fits = value((3 << 19) - 512);
    store.put("/contract/limit/large", fits.clone()).await.unwrap();
    assert_eq!(store.get("/contract/limit/large").await.unwrap().map(|kv| kv.value), Some(fits));
    let too_large = store.put("/contract/limit/large", value(3 << 19)).await;
    refused(too_large, RefusalCode::InvalidArgument, "etcdserver: request is too large");
    txn(vec![Operation::Delete { range: KeyRange::prefix("/contract/limit/"), prev_kv: false }]).await.unwrap();
}

async fn watches_report_whole_revisions_in_order(store: &dyn Store) {
    let mut watch = store.watch_prefix("/contract/watch/", 0).await.unwrap();
    let puts = ["b", "a"].map(|name| Operation::put(format!("/contract/watch/{name}"), name));
    let both = store.txn(TxnRequest { success: puts.into(), ..TxnRequest::default() }).await.unwrap().revision;
    store.put("/contract/elsewhere", "unseen".into()).await.unwrap();
    store.delete("/contract/watch/a").await.unwrap();
    let batches = gather(&mut watch, 3).await;
    let events: Vec<Event> = batches.iter().flat_map(|batch| batch.events.clone()).collect();
    let [Event::Put { kv: b, prev_kv: None }, Event::Put { kv: a, .. }, Event::Delete { key, mod_revision, .. }] =
        &events[..]
    else {
        panic!("unexpected events: {events:?}")
    };
    assert_eq!((b.key.as_ref(), a.key.as_ref()), (&b"/contract/watch/b"[..], &b"/contract/watch/a"[..]));
    assert_eq!((b.mod_revision, a.mod_revision), (both, both));
    assert_eq!((key.as_ref(), *mod_revision), (&b"/contract/watch/a"[..], both + 2));
    assert!(batches.iter().filter(|batch| !batch.events.is_empty()).all(|batch| batch.revision >= both));
    let together = batches.iter().find(|batch| batch.events.iter().any(|event| event.key() == &b.key)).expect("seen");
    assert!(together.events.len() >= 2, "a revision is not split");
}

async fn watches_begin_in_the_past(store: &dyn Store) {
    let key = "/contract/history";
    let first = store.put(key, "0".into()).await.unwrap();
    for number in 1..50 {
        store.put(key, number.to_string().into()).await.unwrap();
    }
    let mut watch = store.watch_prefix(key, first).await.unwrap();
    let batches = gather(&mut watch, 50).await;
    let values: Vec<Bytes> = batches.iter().flat_map(|batch| batch.events.iter().map(put_value)).collect();
    assert_eq!(values, (0..50).map(|number| Bytes::from(number.to_string())).collect::<Vec<_>>());
    // From a revision that is still to come nothing earlier is told.
    let now = revision(store).await;
    let mut watch = store.watch_prefix(key, now + 2).await.unwrap();
    store.put(key, "before".into()).await.unwrap();
    store.put(key, "at".into()).await.unwrap();
    let batches = gather(&mut watch, 1).await;
    let values: Vec<Bytes> = batches.iter().flat_map(|batch| batch.events.iter().map(put_value)).collect();
    assert_eq!(values, ["at"]);
}

async fn watches_carry_previous_values(store: &dyn Store) {
    let key = "/contract/previous";
    store.put(key, "old".into()).await.unwrap();
    let request = WatchRequest { range: KeyRange::one(key), start_revision: 0, prev_kv: true };
    let mut watch = store.watch(request).await.unwrap();
    store.put(key, "new".into()).await.unwrap();
    store.delete(key).await.unwrap();
    let events: Vec<Event> = gather(&mut watch, 2).await.into_iter().flat_map(|batch| batch.events).collect();
    match &events[..] {
        [Event::Put { prev_kv: Some(old), .. }, Event::Delete { prev_kv: Some(new), .. }] => {
            assert_eq!((&old.value[..], &new.value[..]), (&b"old"[..], &b"new"[..]));
        }
        other => panic!("unexpected events: {other:?}"),
    }
}

async fn leases_end_with_their_keys(store: &dyn Store) {
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(60));
    // More often than a connection has streams: none is held on to.
    for _ in 0..250 {
        assert_eq!(store.lease_keep_alive(lease.id).await.unwrap(), Some(Duration::from_secs(60)));
    }
    let put = |key: &'static str, lease| {
        Operation::Put(PutRequest { key: key.into(), value: "v".into(), lease, prev_kv: false })
    };
    for name in ["/contract/lease/a", "/contract/lease/b", "/contract/lease/c"] {
        store.txn(TxnRequest { success: vec![put(name, lease.id)], ..TxnRequest::default() }).await.unwrap();
    }
    assert_eq!(store.get("/contract/lease/a").await.unwrap().map(|kv| kv.lease), Some(lease.id));
    // A put without the lease sets the key free.
    store.put("/contract/lease/b", "free".into()).await.unwrap();
    let before = revision(store).await;
    store.lease_revoke(lease.id).await.unwrap();
    let left = store.get_prefix("/contract/lease/").await.unwrap();
    assert_eq!(names(&left.kvs), ["/contract/lease/b"]);
    assert_eq!(left.revision, before + 1, "all keys of a lease go in one revision");
    assert_eq!(store.lease_keep_alive(lease.id).await.unwrap(), None);
}

async fn leases_run_out(store: &dyn Store, lease_min: Duration) {
    let lease = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    assert_eq!(lease.ttl, lease_min, "no lease is shorter");
    let put = PutRequest { key: "/contract/expiry".into(), value: "v".into(), lease: lease.id, prev_kv: false };
    let mut watch = store.watch_prefix("/contract/expiry", 0).await.unwrap();
    let granted = Instant::now();
    let success = vec![Operation::Put(put)];
    store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    let events: Vec<Event> = gather(&mut watch, 2).await.into_iter().flat_map(|batch| batch.events).collect();
    assert!(matches!(&events[..], [Event::Put { .. }, Event::Delete { .. }]), "{events:?}");
    assert!(lease_min.mul_f64(0.75) < granted.elapsed(), "it ended early");
    assert_eq!(store.lease_keep_alive(lease.id).await.unwrap(), None);
}

async fn compaction_forgets(store: &dyn Store) {
    let key = "/contract/compaction";
    let first = store.put(key, "1".into()).await.unwrap();
    let second = store.put(key, "2".into()).await.unwrap();
    let third = store.put(key, "3".into()).await.unwrap();
    store.compact(second).await.unwrap();
    let text = "etcdserver: mvcc: required revision has been compacted";
    refused(store.compact(second).await, RefusalCode::OutOfRange, text);
    let at = |revision| store.range(RangeRequest { revision, ..RangeRequest::of(KeyRange::one(key)) });
    refused(at(first).await, RefusalCode::OutOfRange, text);
    assert_eq!(at(second).await.unwrap().kvs[0].value, "2", "the compacted revision itself can still be read");
    assert_eq!(at(third).await.unwrap().kvs[0].value, "3");
    let mut from_second = store.watch_prefix(key, second).await.unwrap();
    let batches = gather(&mut from_second, 2).await;
    assert_eq!(batches.iter().flat_map(|batch| batch.events.iter().map(put_value)).collect::<Vec<_>>(), ["2", "3"]);
    let ended = match store.watch_prefix(key, first).await {
        Ok(mut watch) => tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch ends"),
        Err(error) => Some(Err(error)),
    };
    match ended {
        Some(Err(StoreError::Compacted { compact_revision })) => assert_eq!(compact_revision, second),
        other => panic!("a watch from a forgotten revision must end: {other:?}"),
    }
}

async fn revision(store: &dyn Store) -> Revision {
    store.range(RangeRequest::of(KeyRange::one("/contract/"))).await.unwrap().revision
}

/// Batches until `count` events are there, and no more of them.
async fn gather(watch: &mut WatchStream, count: usize) -> Vec<WatchBatch> {
    let mut batches: Vec<WatchBatch> = Vec::new();
    let mut seen = 0;
    while seen < count {
        let batch = tokio::time::timeout(DEADLINE, watch.next()).await;
        let batch = batch.unwrap_or_else(|_| panic!("{seen} of {count} events after {DEADLINE:?}"));
        let batch = batch.expect("the watch goes on").expect("the watch goes on");
        seen += batch.events.len();
        batches.push(batch);
    }
    assert_eq!(seen, count, "more events than changes: {batches:?}");
    batches
}

fn put_value(event: &Event) -> Bytes {
    match event {
        Event::Put { kv, .. } => kv.value.clone(),
        Event::Delete { .. } => panic!("a put was expected: {event:?}"),
    }
}

fn names(kvs: &[KeyValue]) -> Vec<&str> {
    kvs.iter().map(|kv| std::str::from_utf8(&kv.key).expect("the suite's keys are text")).collect()
}

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>, code: RefusalCode, message: &str) {
    match result {
        Err(StoreError::Refused { code: found, message: text }) => assert_eq!((found, text.as_str()), (code, message)),
        other => panic!("{message:?} was expected, not {other:?}"),
    }
}
