//! Real etcd 3.4 is put through the suite that our engine passes, and asked the same random questions as our engine.

#[path = "support/etcd.rs"]
mod etcd;

use bytes::Bytes;
use etcd::Etcd;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use store::dump::{self, Existing, Summary};
use store::{
    Compare, Embedded, Event, KeyRange, Operation, OperationResponse, Order, PutRequest, RangeRequest, Revision, Store,
    StoreError, Target, TxnRequest, WatchRequest, contract,
};

/// Histories asked of both.
const HISTORIES: u64 = 20;
/// Steps of one history.
const STEPS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn real_etcd_keeps_the_contract() {
    let etcd = Etcd::start().await;
    contract::check(&etcd.client()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_moves_between_etcd_and_the_embedded_store() {
    let etcd = Etcd::start().await;
    let theirs = etcd.client();
    let data = tempfile::tempdir().unwrap();
    let ours = Embedded::open(data.path().to_owned()).await.unwrap();
    // More than a page of reading and more than a transaction of writing, and a value of almost a whole request.
    for number in 0..600 {
        Store::put(&ours, &format!("/roadstead/apps/{number}"), vec![0xff; number].into()).await.unwrap();
    }
    Store::put(&ours, "/vulcand/long", vec![0; store::REQUEST_BYTES_MAX - 1000].into()).await.unwrap();
    let there = moved(&ours, &theirs).await;
    assert_eq!(there.keys, 601);
    let back = tempfile::tempdir().unwrap();
    let back = Embedded::open(back.path().to_owned()).await.unwrap();
    let again = moved(&theirs, &back).await;
    assert_eq!(again.keys, 601);
    assert_ne!(again.cluster_id, there.cluster_id, "a filled store is another one");
    let contents = async |store: &Embedded| {
        let (_, kvs) = store.read_prefix("", 0).await.unwrap();
        kvs.into_iter().map(|kv| (kv.key, kv.value)).collect::<Vec<_>>()
    };
    assert!(contents(&back).await == contents(&ours).await, "every key and value is the same");
}

async fn moved(from: &dyn Store, to: &dyn Store) -> Summary {
    let mut dump = Vec::new();
    let written = dump::export(from, &mut dump).await.unwrap();
    let read = dump::import(to, &mut std::io::Cursor::new(dump), Existing::Refuse).await.unwrap();
    assert_eq!(read, written);
    read
}

#[derive(Clone, Debug)]
enum Step {
    Range(RangeRequest),
    Txn(TxnRequest),
    Compact(Revision),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![9 => "[a-e]{1,2}", 1 => Just(String::new())].prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        4 => key().prop_map(KeyRange::one),
        3 => key().prop_map(KeyRange::prefix),
        2 => (key(), key()).prop_map(|(key, end)| KeyRange { key, end }),
    ]
}

/// Small numbers: the test's histories are short.
fn range_request() -> impl Strategy<Value = RangeRequest> {
    let revision = prop_oneof![4 => Just(0), 3 => 1..60i64];
    (range(), 0..4i64, revision, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(range, limit, revision, keys_only, count_only)| RangeRequest {
            range,
            limit,
            revision,
            keys_only,
            count_only,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (key(), "[xyz]{0,2}", any::<bool>()).prop_map(|(key, value, prev_kv)| {
            Operation::Put(PutRequest { key, value: value.into(), lease: 0, prev_kv })
        }),
        2 => (range(), any::<bool>()).prop_map(|(range, prev_kv)| Operation::Delete { range, prev_kv }),
        2 => range_request().prop_map(Operation::Range),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    let order = prop_oneof![Just(Order::Equal), Just(Order::Greater), Just(Order::Less), Just(Order::NotEqual)];
    let target = prop_oneof![
        (0..4i64).prop_map(Target::Version),
        (0..40i64).prop_map(Target::CreateRevision),
        (0..40i64).prop_map(Target::ModRevision),
        "[xyz]{0,2}".prop_map(|value| Target::Value(value.into())),
        (0..2i64).prop_map(Target::Lease),
    ];
    (range(), order, target).prop_map(|(range, order, target)| Compare { range, order, target })
}

fn step() -> impl Strategy<Value = Step> {
    let operations = |most| prop::collection::vec(operation(), 0..most);
    prop_oneof![
        3 => range_request().prop_map(Step::Range),
        9 => (prop::collection::vec(compare(), 0..2), operations(4), operations(3))
            .prop_map(|(compare, success, failure)| Step::Txn(TxnRequest { compare, success, failure })),
        1 => (-1..60i64).prop_map(Step::Compact),
    ]
}

/// What one store answered, with revisions counted from the history's first.
#[derive(Debug, PartialEq)]
enum Answer {
    Range { revision: Revision, kvs: Vec<store::KeyValue>, count: i64, more: bool },
    Txn { revision: Revision, succeeded: bool, responses: Vec<OperationResponse> },
    Compacted,
    Refused(String),
}

async fn ask(store: &dyn Store, step: Step) -> Answer {
    let refused = |error: StoreError| match error {
        StoreError::Refused { code, message } => Answer::Refused(format!("{code:?} {message}")),
        other => panic!("no answer: {other:?}"),
    };
    match step {
        Step::Range(request) => store.range(request).await.map_or_else(refused, |answer| Answer::Range {
            revision: answer.revision,
            kvs: answer.kvs,
            count: answer.count,
            more: answer.more,
        }),
        Step::Txn(request) => store.txn(request).await.map_or_else(refused, |answer| Answer::Txn {
            revision: answer.revision,
            succeeded: answer.succeeded,
            responses: answer.responses,
        }),
        Step::Compact(revision) => store.compact(revision).await.map_or_else(refused, |()| Answer::Compacted),
    }
}

/// Where we knowingly differ: etcd does not see that a put lies inside a delete to the end of all keys (`\0`) in the same
/// transaction, and makes two changes of one key in one revision of it. We refuse it as any other duplicate.
fn is_comparable(step: &Step) -> bool {
    let Step::Txn(request) = step else { return true };
    let unbounded = |operation: &Operation| matches!(operation, Operation::Delete { range, .. } if range.end == "\0");
    !request.success.iter().chain(&request.failure).any(unbounded)
}

/// Each history runs on a fresh etcd and a fresh store of ours, so that revisions are equal, not only alike.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_and_we_answer_random_histories_alike() {
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let etcd = Etcd::start().await;
        let theirs = etcd.client();
        let data = tempfile::tempdir().unwrap();
        let ours = Embedded::open(data.path().to_owned()).await.unwrap();
        for index in 0..STEPS {
            let step = step().new_tree(&mut runner).unwrap().current();
            if !is_comparable(&step) {
                continue;
            }
            let expected = ask(&theirs, step.clone()).await;
            let answer = ask(&ours, step.clone()).await;
            assert_eq!(answer, expected, "seed {seed}, step {index}: {step:?} (left is ours)");
            if let Answer::Refused(text) = expected {
                *refusals.entry(text).or_default() += 1;
            }
        }
        let expected = history(&theirs).await;
        assert_eq!(history(&ours).await, expected, "seed {seed}: the watched histories differ (left is ours)");
        ours.close().await;
    }
    // The generator must reach what it is for.
    assert!(refusals.len() >= 4, "too few kinds of refusal were met: {refusals:?}");
}

/// All events that are still there, by a watch from the oldest revision that is kept.
async fn history(store: &dyn Store) -> Result<Vec<Event>, Revision> {
    use futures::StreamExt;
    let last = store.put("zzz", "end".into()).await.unwrap();
    let range = KeyRange::prefix("");
    let mut start_revision = 1;
    let mut compacted = None;
    loop {
        let request = WatchRequest { range: range.clone(), start_revision, prev_kv: true };
        let mut events = Vec::new();
        let mut watch = store.watch(request).await.unwrap();
        loop {
            match watch.next().await.expect("the watch goes on") {
                Ok(batch) => events.extend(batch.events),
                Err(StoreError::Compacted { compact_revision }) if compacted.is_none() => {
                    compacted = Some(compact_revision);
                    // What etcd keeps of the compacted revision itself depends on its age; the next one is whole.
                    start_revision = compact_revision + 1;
                    break;
                }
                Err(error) => panic!("{error:?}"),
            }
            let reached = events.last().is_some_and(|event| match event {
                Event::Put { kv, .. } => kv.mod_revision == last,
                Event::Delete { .. } => false,
            });
            if reached {
                return Ok(events);
            }
        }
    }
}
