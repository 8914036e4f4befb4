//! The history of the routes, and the way back, over the whole controller.

use super::trial::{DEADLINE, Trial};
use crate::history::{History, Limits, Scope};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Embedded, Operation, Store, TxnRequest};

async fn ask(trial: &Trial, method: Method, path: &str, body: Value) -> (u16, Value) {
    let client = web::Client::new(web::Credentials::Bearer(trial.admin_token.reveal().to_owned()));
    let url = format!("http://{}{path}", trial.api);
    let body = if method == Method::GET { String::new() } else { body.to_string() };
    let answer = client.call(method, &url, Some("application/json"), web::full_body(body)).await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

async fn history(trial: &Trial) -> Vec<Value> {
    let (status, answer) = ask(trial, Method::GET, "/v1/routes/history?limit=2000", Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["revisions"].as_array().unwrap().clone()
}

/// Waits until a revision is kept.
async fn kept(trial: &Trial, revision: i64) -> Value {
    let start = Instant::now();
    loop {
        let (status, record) = ask(trial, Method::GET, &format!("/v1/routes/history/{revision}"), Value::Null).await;
        if status == 200 {
            return record;
        }
        assert!(start.elapsed() < DEADLINE, "revision {revision} is never kept: {record}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rollback(trial: &Trial, revision: i64, dry_run: bool) -> (u16, Value) {
    ask(trial, Method::POST, "/v1/routes/rollback", json!({ "revision": revision, "dry_run": dry_run })).await
}

/// Several puts and deletes at one revision.
async fn change(store: &Arc<dyn Store>, changes: &[(&str, Option<&str>)]) -> i64 {
    let operation = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => Operation::put(key.to_string(), value.to_string()),
        None => Operation::delete(key.to_string()),
    };
    let success = changes.iter().map(operation).collect();
    store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap().revision
}

async fn value(store: &Arc<dyn Store>, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

const FRONTEND: &str = "/vulcand/frontends/f1/frontend";
const BACKEND: &str = "/vulcand/backends/b1/backend";
const OWN: &str = "/roadstead/routes/own";

pub(super) async fn changes_are_kept_and_taken_back(store: Arc<dyn Store>) {
    let trial = Trial::start_on(store.clone(), |_| ()).await;
    let document = r#"{"v":0,"rule":"Host(`a`)","servers":[]}"#;
    // All of one transaction is one entry, whatever prefixes it has.
    let first =
        change(&store, &[(FRONTEND, Some("{\"Route\":\"1\"}")), (BACKEND, Some("{}")), (OWN, Some(document))]).await;
    let start = Instant::now();
    while kept(&trial, first).await["changes"].as_array().unwrap().len() < 3 {
        assert!(start.elapsed() < DEADLINE, "a part of revision {first} is never kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = change(&store, &[(FRONTEND, Some("{\"Route\":\"2\"}"))]).await;
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap();
    let heartbeat = store::PutRequest {
        key: "/vulcand/backends/b1/servers/s1".into(),
        value: "{}".into(),
        lease: lease.id,
        prev_kv: false,
    };
    store.txn(TxnRequest { success: vec![Operation::Put(heartbeat)], ..TxnRequest::default() }).await.unwrap();
    let app = change(&store, &[("/roadstead/routes/app.x-test", Some(document))]).await;
    let third = change(&store, &[(FRONTEND, None), ("vulcand/hosts/h/host", Some("{}"))]).await;
    let record = kept(&trial, second).await;
    assert_eq!(
        record["changes"],
        json!([{ "key": FRONTEND, "before": "{\"Route\":\"1\"}", "after": "{\"Route\":\"2\"}" }])
    );
    kept(&trial, third).await;
    kept(&trial, app).await;

    let (status, planned) = rollback(&trial, second, true).await;
    assert_eq!((status, planned["changes"].as_array().unwrap().len()), (200, 2), "{planned}");
    assert!(planned["left"].to_string().contains(r#"app.x-test","why":"app""#), "{planned}");
    assert_eq!(value(&store, FRONTEND).await, None, "a dry run changes nothing");

    let (status, done) = rollback(&trial, first, false).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(value(&store, FRONTEND).await.as_deref(), Some("{\"Route\":\"1\"}"));
    assert_eq!(value(&store, "vulcand/hosts/h/host").await, None);
    assert!(value(&store, "/vulcand/backends/b1/servers/s1").await.is_some(), "what lives on a lease is left alone");
    // It is a change itself, and can be taken back.
    let back = done["revision"].as_i64().unwrap();
    assert_eq!(
        kept(&trial, back).await["changes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|change| change["key"] == FRONTEND)
            .count(),
        1
    );
    let (status, again) = rollback(&trial, third, false).await;
    assert_eq!((status, value(&store, FRONTEND).await), (200, None), "{again}");
    let (status, refused) = rollback(&trial, 1_000_000_000, true).await;
    assert_eq!((status, refused["message"].as_str().unwrap().contains("not there yet")), (400, true), "{refused}");
    let keys: Vec<String> = history(&trial).await.iter().map(|entry| entry["changes"].to_string()).collect();
    assert!(!keys.iter().any(|changes| changes.contains("servers/s1")), "heartbeats are not kept: {keys:?}");
    // What changes while nobody leads is kept by who leads next.
    let store = trial.end().await;
    let meanwhile = change(&store, &[(OWN, None)]).await;
    let trial = Trial::start_on(store, |_| ()).await;
    assert_eq!(kept(&trial, meanwhile).await["changes"][0]["key"], OWN);
    trial.end().await;
}

#[tokio::test]
async fn changes_of_routes_are_kept_and_taken_back() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
    changes_are_kept_and_taken_back(store).await;
}

#[tokio::test]
async fn servers_that_programs_wrote_are_left_alone_and_told() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let (store, server) = (trial.store.clone(), "/vulcand/backends/b1/servers/s1");
    let first =
        change(&store, &[(FRONTEND, Some("{\"Route\":\"1\"}")), (server, Some("{\"URL\":\"http://gone\"}"))]).await;
    let moved = change(&store, &[(server, Some("{\"URL\":\"http://new\"}"))]).await;
    let both = change(&store, &[(FRONTEND, None), (BACKEND, Some("{}"))]).await;
    for revision in [moved, both] {
        kept(&trial, revision).await;
    }
    let revisions =
        |entries: &[Value]| entries.iter().filter_map(|entry| entry["revision"].as_i64()).collect::<Vec<_>>();
    assert!(!revisions(&history(&trial).await).contains(&moved), "a list leaves out what is of servers only");
    let (_, all) = ask(&trial, Method::GET, "/v1/routes/history?limit=2000&servers=true", Value::Null).await;
    let entry = all["revisions"].as_array().unwrap().iter().find(|entry| entry["revision"] == moved).unwrap();
    assert_eq!(entry["servers_only"], true);

    let roll_back = async |body: Value| ask(&trial, Method::POST, "/v1/routes/rollback", body).await;
    let (status, limited) =
        roll_back(json!({ "revision": first, "dry_run": true, "only": ["/vulcand/frontends/f1"] })).await;
    assert_eq!((status, limited["changes"].as_array().unwrap().len()), (200, 1), "{limited}");
    let why = |left: &Value, key: &str| {
        left.as_array().unwrap().iter().find(|left| left["key"] == key).unwrap()["why"].clone()
    };
    assert_eq!(why(&limited["left"], BACKEND), "not_asked");
    assert_eq!(roll_back(json!({ "revision": first, "only": ["/elsewhere"] })).await.0, 400);

    let (status, done) = roll_back(json!({ "revision": first })).await;
    assert_eq!((status, done["changes"].as_array().unwrap().len()), (200, 2), "{done}");
    assert_eq!(why(&done["left"], server), "server");
    assert!(value(&store, server).await.unwrap().contains("new"), "who runs now is left alone");
    assert!(value(&store, FRONTEND).await.is_some() && value(&store, BACKEND).await.is_none());

    let (status, done) = roll_back(json!({ "revision": first, "servers": true })).await;
    assert_eq!((status, done["changes"].as_array().unwrap().len()), (200, 1), "{done}");
    assert!(value(&store, server).await.unwrap().contains("gone"));
    trial.end().await;
}

#[tokio::test]
async fn what_the_store_has_forgotten_is_told_and_not_guessed() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let first = change(&trial.store, &[(FRONTEND, Some("1"))]).await;
    kept(&trial, first).await;
    let store = trial.end().await;
    change(&store, &[(FRONTEND, Some("2"))]).await;
    let last = change(&store, &[(FRONTEND, Some("3"))]).await;
    store.compact(last).await.unwrap();
    let trial = Trial::start_on(store.clone(), |_| ()).await;
    let start = Instant::now();
    // From where the prefix that was seen least begins.
    let tells = |entry: &Value| entry["unseen_after"].as_i64().is_some_and(|after| after <= first);
    while !history(&trial).await.iter().any(tells) {
        assert!(start.elapsed() < DEADLINE, "the gap is never told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, refused) = rollback(&trial, first, false).await;
    assert_eq!((status, refused["message"].as_str().unwrap().contains("were not seen")), (409, true), "{refused}");
    let (status, _) = rollback(&trial, last, true).await;
    assert_eq!(status, 200, "what is behind the gap is known");
    trial.end().await;
}

#[tokio::test]
async fn the_history_is_bounded() {
    let data = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
    let limits = Limits { records: 10, ..crate::history::LIMITS };
    let history = Arc::new(History::new(store.clone(), store::Compare::absent("leader"), limits));
    let stop = lifecycle::Stop::new();
    let keeper = tokio::spawn(crate::history::keep(history.clone(), stop.clone()));
    let start = Instant::now();
    let until = |what: &'static str| assert!(start.elapsed() < DEADLINE, "{what}");
    while store.get("/roadstead/history/position").await.unwrap().is_none() {
        until("the keeper never begins");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut last = 0;
    for round in 0..20 {
        last = change(&store, &[(FRONTEND, Some(&round.to_string()))]).await;
    }
    while history.one(last).await.unwrap().is_none() {
        until("the last revision is never kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(history.read().await.unwrap().records.len(), 10);
    let refused = history.roll_back(1, &Scope::default(), true).await.unwrap().err().unwrap().to_string();
    assert!(refused.starts_with("the history begins behind"), "{refused}");
    stop.request();
    keeper.await.unwrap();
}

#[tokio::test]
async fn peoples_documents_are_written_checked_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let path = "/v1/routes/documents/shop";
    let document = json!({ "v": 0, "rule": "Host(`shop`)", "servers": [{ "id": "1", "url": "http://10.0.0.1:80" }] });
    let (status, answer) = ask(&trial, Method::PUT, &format!("{path}?new=true"), document.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask(&trial, Method::PUT, &format!("{path}?new=true"), document.clone()).await.0, 409);
    let (_, listed) = ask(&trial, Method::GET, "/v1/routes/documents", Value::Null).await;
    assert_eq!(listed["documents"][0]["id"], "shop");
    let with = |field: &str, value: Value| {
        let mut document = document.clone();
        document[field] = value;
        document
    };
    for (path, document, named) in [
        (path, with("rule", json!("nonsense")), "nonsense"),
        (path, with("unknown", json!(1)), "unknown"),
        (path, with("servers", json!([{ "id": "1", "url": "x" }])), "x"),
        (path, with("middlewares", json!([{ "Id": "m", "Type": "magic" }])), "magic"),
        ("/v1/routes/documents/app.shop", document.clone(), "app."),
        ("/v1/routes/documents/f@vulcand", document.clone(), "@"),
    ] {
        let (status, answer) = ask(&trial, Method::PUT, path, document).await;
        assert!(status == 400 && answer["message"].as_str().unwrap().contains(named), "{path}: {answer}");
    }
    assert_eq!(ask(&trial, Method::DELETE, path, json!({})).await.0, 200);
    assert_eq!(ask(&trial, Method::DELETE, path, json!({})).await.0, 404);
    trial.end().await;
}
