//! Which server takes a request, as clients see it.

use crate::harness::{Edge, Server, document, eventually, json_of, name};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::sync::Semaphore;

/// Serves `Host(a)` from these servers, balanced so.
async fn route(edge: &Edge, servers: &[&Server], balance: Value) {
    let document = document("Host(`a`)", servers, json!({ "balance": balance }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

async fn get_with(edge: &Edge, header: &str, value: &str) -> Response<Bytes> {
    let request = Request::get(format!("http://{}/", edge.address)).header("host", "a").header(header, value);
    edge.client.fetch(request.body(web::full_body("")).unwrap()).await.unwrap()
}

/// How often each server answers.
async fn counts(edge: &Edge, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(name(&edge.get("a", "/").await)).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_sticky_client_stays_at_its_server_and_is_told_of_another_when_that_left() {
    let edge = Edge::start().await;
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let sticky = json!({ "sticky": { "cookie": "at" } });
    route(&edge, &[&one, &two], sticky.clone()).await;
    let first = edge.get("a", "/").await;
    let set = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert!(cookie.starts_with("at=") && !cookie.contains("127"), "{cookie}");
    for _ in 0..10 {
        let again = get_with(&edge, "cookie", &format!("other=1; {cookie}")).await;
        assert_eq!(name(&again), name(&first));
        assert!(!again.headers().contains_key("set-cookie"), "it knows");
    }
    let (stays, expected) = if name(&first) == "one" { (&two, "two") } else { (&one, "one") };
    route(&edge, &[stays], sticky).await;
    let moved = get_with(&edge, "cookie", cookie).await;
    assert_eq!(name(&moved), expected);
    let set = moved.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("at=") && !set.starts_with(cookie), "{set}");
}

#[tokio::test]
async fn a_sticky_client_of_a_server_that_died_is_answered_by_another() {
    let edge = Edge::start().await;
    let servers = [Server::named("one").await, Server::named("two").await];
    route(&edge, &[&servers[0], &servers[1]], json!({ "sticky": {} })).await;
    let first = edge.get("a", "/").await;
    let cookie = first.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let dies = usize::from(name(&first) == "two");
    servers[dies].kill().await;
    let moved = get_with(&edge, "cookie", &cookie).await;
    assert_eq!(moved.status(), StatusCode::OK);
    assert_ne!(name(&moved), name(&first));
    assert!(moved.headers()["set-cookie"].to_str().unwrap().starts_with("roadstead_server="));
}

/// Answers when it is allowed to.
async fn slow(allowed: &Arc<Semaphore>, asked: &Arc<AtomicUsize>) -> Server {
    let (allowed, asked) = (allowed.clone(), asked.clone());
    Server::routing(Router::new().fallback(move || {
        let (allowed, asked) = (allowed.clone(), asked.clone());
        async move {
            asked.fetch_add(1, SeqCst);
            allowed.acquire().await.unwrap().forget();
            axum::Json(json!({ "name": "slow" }))
        }
    }))
    .await
}

#[tokio::test]
async fn least_connections_pass_by_a_slow_server() {
    for policy in ["least_connections", "two_choices"] {
        let (allowed, asked) = (Arc::new(Semaphore::new(0)), Arc::default());
        let (edge, slow) = (Edge::start().await, slow(&allowed, &asked).await);
        let quick = Server::named("quick").await;
        route(&edge, &[&slow], json!({ "policy": policy })).await;
        let waits = async { name(&edge.get("a", "/").await) };
        let others = async {
            eventually("the slow server is busy", || async { (asked.load(SeqCst) == 1).then_some(()) }).await;
            route(&edge, &[&slow, &quick], json!({ "policy": policy })).await;
            assert_eq!(counts(&edge, 30).await, BTreeMap::from([("quick".to_owned(), 30)]));
            allowed.add_permits(1000);
        };
        assert_eq!(tokio::join!(waits, others).0, "slow");
        eventually("it is asked again", || async { (name(&edge.get("a", "/").await) == "slow").then_some(()) }).await;
    }
}

/// Fails while it is told to.
async fn failing(fails: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> Server {
    let (fails, asked) = (fails.clone(), asked.clone());
    Server::routing(Router::new().fallback(move || {
        asked.fetch_add(1, SeqCst);
        let status = if fails.load(SeqCst) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        async move { (status, axum::Json(json!({ "name": "failing" }))) }
    }))
    .await
}

#[tokio::test]
async fn a_failing_server_is_passed_over_and_comes_back() {
    let (fails, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let (edge, failing) = (Edge::start().await, failing(&fails, &asked).await);
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let ejection = json!({ "ejection": { "failures": 3, "seconds": 8, "seconds_max": 8 } });
    route(&edge, &[&failing, &one, &two], ejection.clone()).await;
    let found = counts(&edge, 9).await;
    assert_eq!(found["failing"], 3, "its turns");
    let before = asked.load(SeqCst);
    let found = counts(&edge, 20).await;
    assert_eq!((found["one"], found["two"], asked.load(SeqCst)), (10, 10, before), "{found:?}");
    // A change of servers does not bring it back.
    route(&edge, &[&failing, &two], ejection).await;
    assert_eq!(counts(&edge, 10).await, BTreeMap::from([("two".to_owned(), 10)]));
    fails.store(false, SeqCst);
    eventually("it is asked again", || async { (name(&edge.get("a", "/").await) == "failing").then_some(()) }).await;
    assert_eq!(counts(&edge, 20).await["failing"], 10);
}

#[tokio::test]
async fn keys_stay_while_servers_come_and_go() {
    let edge = Edge::start().await;
    let servers =
        [Server::named("a").await, Server::named("b").await, Server::named("c").await, Server::named("d").await];
    let all: Vec<&Server> = servers.iter().collect();
    let hash = json!({ "policy": "hash", "hash_on": "header:x-user" });
    let homes = || async {
        let mut homes = Vec::new();
        for user in 0..40 {
            let response = get_with(&edge, "X-User", &user.to_string()).await;
            homes.push(name(&response));
        }
        homes
    };
    route(&edge, &all[..3], hash.clone()).await;
    let before = homes().await;
    assert!(["a", "b", "c"].iter().all(|server| before.iter().any(|home| home == server)), "{before:?}");
    assert_eq!(homes().await, before);
    route(&edge, &all, hash.clone()).await;
    let more = homes().await;
    assert!(before.iter().zip(&more).all(|(before, now)| before == now || now == "d"), "{before:?}\n{more:?}");
    route(&edge, &all[1..], hash).await;
    let fewer = homes().await;
    assert!(more.iter().zip(&fewer).all(|(before, now)| before == now || before == "a"), "{more:?}\n{fewer:?}");
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let edge = Edge::start().await;
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let servers = json!([{ "id": "n", "url": new.url() }]);
    route(&edge, &[&old], json!({ "canary": { "percent": 20, "servers": servers } })).await;
    let found = counts(&edge, 50).await;
    assert_eq!((found["old"], found["new"]), (40, 10));
    route(&edge, &[&old], json!({ "canary": { "percent": 0, "servers": servers } })).await;
    assert_eq!(counts(&edge, 20).await, BTreeMap::from([("old".to_owned(), 20)]));
}

#[tokio::test]
async fn a_balance_that_makes_no_sense_is_reported_and_the_last_good_route_serves_on() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    route(&edge, &[&server], json!({})).await;
    for (balance, message) in [
        (json!({ "policy": "fastest" }), "unknown variant `fastest`"),
        (json!({ "policy": "hash" }), "balance: the policy hash needs hash_on"),
    ] {
        route(&edge, &[], balance).await;
        assert_eq!(name(&edge.get("a", "/").await), "one");
        let problems = edge.status().await["problems"].to_string();
        assert!(problems.contains(message), "{problems}");
    }
    assert_eq!(json_of(&edge.get("a", "/").await)["name"], "one");
}
