//! Real etcd's JSON gateway and ours, asked the same random questions: sorting, filters, nested transactions and all, and
//! the JSON itself.

#[path = "support/etcd.rs"]
mod etcd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etcd::Etcd;
use identity::Verifier;
use lifecycle::Stop;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use web::{Client, Credentials, full_body};

const HISTORIES: u64 = 20;
const STEPS: usize = 80;

fn base64(text: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(text))
}

fn key() -> impl Strategy<Value = Value> {
    "[a-d]{1,2}".prop_map(base64)
}

fn range_end() -> impl Strategy<Value = Value> {
    prop_oneof![4 => Just(json!("")), 4 => "[a-e]{1,2}".prop_map(base64), 1 => Just(base64(b"\0"))]
}

fn revision() -> impl Strategy<Value = Value> {
    prop_oneof![3 => Just(json!(0)), 1 => (1..80i64).prop_map(|number| json!(number.to_string()))]
}

/// A sort target whose ties etcd may order as it likes is not compared: only keys are unique.
fn range() -> impl Strategy<Value = Value> {
    let order = prop_oneof![Just("NONE"), Just("ASCEND"), Just("DESCEND")];
    let bounds = (revision(), revision(), revision(), revision());
    (key(), range_end(), 0..4i64, revision(), order, any::<[bool; 2]>(), bounds).prop_map(
        |(
            key,
            range_end,
            limit,
            revision,
            order,
            [keys_only, count_only],
            (min_mod, max_mod, min_create, max_create),
        )| {
            json!({
                "key": key, "range_end": range_end, "limit": limit, "revision": revision, "sort_order": order,
                "keys_only": keys_only, "count_only": count_only, "min_mod_revision": min_mod,
                "max_mod_revision": max_mod, "min_create_revision": min_create, "max_create_revision": max_create,
            })
        },
    )
}

fn put() -> impl Strategy<Value = Value> {
    let ignore = prop::bool::weighted(0.15);
    let lease = prop_oneof![8 => Just(0), 1 => Just(99)];
    (key(), "[xyz]{0,2}", any::<bool>(), ignore, ignore, lease).prop_map(
        |(key, value, prev_kv, ignore_value, ignore_lease, lease)| {
            json!({
                "key": key, "value": base64(value), "prev_kv": prev_kv, "ignore_value": ignore_value,
                "ignore_lease": ignore_lease, "lease": lease,
            })
        },
    )
}

/// Not to the end of all keys: there etcd misses a key that is put as well, see `real_etcd.rs`.
fn delete_range() -> impl Strategy<Value = Value> {
    let end = prop_oneof![Just(json!("")), "[a-e]{1,2}".prop_map(base64)];
    (key(), end, any::<bool>())
        .prop_map(|(key, range_end, prev_kv)| json!({ "key": key, "range_end": range_end, "prev_kv": prev_kv }))
}

fn compare() -> impl Strategy<Value = Value> {
    let result = prop_oneof![Just("EQUAL"), Just("GREATER"), Just("LESS"), Just("NOT_EQUAL")];
    let target = prop_oneof![
        (0..4i64).prop_map(|number| json!({ "target": "VERSION", "version": number })),
        (0..60i64).prop_map(|number| json!({ "target": "CREATE", "create_revision": number })),
        (0..60i64).prop_map(|number| json!({ "target": "MOD", "mod_revision": number })),
        "[xyz]{0,2}".prop_map(|value| json!({ "target": "VALUE", "value": base64(value) })),
        (0..2i64).prop_map(|number| json!({ "target": "LEASE", "lease": number })),
        Just(json!({ "target": "VALUE" })),
    ];
    (key(), range_end(), result, target).prop_map(|(key, range_end, result, mut compare)| {
        compare["key"] = key;
        compare["range_end"] = range_end;
        compare["result"] = json!(result);
        compare
    })
}

fn txn() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => range().prop_map(|request| json!({ "request_range": request })),
        5 => put().prop_map(|request| json!({ "request_put": request })),
        2 => delete_range().prop_map(|request| json!({ "request_delete_range": request })),
    ];
    let list_of = |operation: BoxedStrategy<Value>| {
        (
            prop::collection::vec(compare(), 0..2),
            prop::collection::vec(operation.clone(), 0..4),
            prop::collection::vec(operation, 0..3),
        )
            .prop_map(
                |(compare, success, failure)| json!({ "compare": compare, "success": success, "failure": failure }),
            )
    };
    let operation = leaf.boxed().prop_recursive(2, 12, 4, move |inner| {
        list_of(inner).prop_map(|request| json!({ "request_txn": request })).boxed()
    });
    let list = |most| prop::collection::vec(operation.clone(), 0..most);
    (prop::collection::vec(compare(), 0..2), list(4), list(3))
        .prop_map(|(compare, success, failure)| json!({ "compare": compare, "success": success, "failure": failure }))
}

fn step() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        3 => range().prop_map(|request| ("/v3/kv/range", request)),
        4 => put().prop_map(|request| ("/v3/kv/put", request)),
        1 => delete_range().prop_map(|request| ("/v3/kv/deleterange", request)),
        6 => txn().prop_map(|request| ("/v3/kv/txn", request)),
    ]
}

/// Status and body, without what names the cluster.
async fn ask(endpoint: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = http::Request::post(format!("{endpoint}{path}")).body(full_body(body.to_string())).unwrap();
    let answer = Client::new(Credentials::None).fetch(request).await.unwrap();
    let mut value: Value = serde_json::from_slice(answer.body()).unwrap();
    if let Some(header) = value.get_mut("header").and_then(Value::as_object_mut) {
        for name in ["cluster_id", "member_id", "raft_term"] {
            assert!(header.remove(name).is_some(), "{name} is missing");
        }
    }
    (answer.status().as_u16(), value)
}

#[tokio::test(flavor = "multi_thread")]
async fn etcds_gateway_and_ours_answer_random_histories_alike() {
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let etcd = Etcd::start().await;
        let data = tempfile::tempdir().unwrap();
        let stop = Stop::new();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = store::Config { listen, data: data.path().to_owned(), verifier: Verifier::Open };
        let started = store::start(config, stop.clone()).await.unwrap();
        let ours = format!("http://{}", started.address("").unwrap());
        for index in 0..STEPS {
            let (path, body) = step().new_tree(&mut runner).unwrap().current();
            let expected = ask(&etcd.endpoint, path, &body).await;
            let answer = ask(&ours, path, &body).await;
            assert_eq!(answer, expected, "seed {seed}, step {index}: {path} {body} (left is ours)");
            *statuses.entry(expected.0).or_default() += 1;
        }
        stop.request();
        started.finished().await.unwrap();
    }
    assert!(statuses[&200] > statuses[&400] && statuses[&400] > 50, "the generator must reach both: {statuses:?}");
}
