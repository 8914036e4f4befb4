//! Where routes come from and how changes take effect.

use crate::harness::{Edge, Server, call, config, document, eventually, free_address, json_of, name};
use crate::logs;
use crate::memory_store::MemoryStore;
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use store::{Embedded, Store};

const FRONTEND: &str = r#"{"Type":"http","BackendId":"b1","Route":"Host(`v`)"}"#;

fn server_json(server: &Server) -> String {
    json!({ "URL": server.url() }).to_string()
}

#[tokio::test]
async fn a_route_document_is_served_and_withdrawn() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.applied(0).await;
    let missing = edge.get("a", "/").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(&missing), json!({ "error": "not found" }));
    assert_eq!(missing.headers()["content-type"], "application/json");
    edge.route("a", "a", &[&server]).await;
    assert_eq!(name(&edge.get("a", "/").await), "one");
    let revision = edge.store.change(&[("/roadstead/routes/a", None)]).await;
    edge.applied(revision).await;
    assert_eq!(edge.get("a", "/").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn vulcands_keys_are_served_under_both_prefixes() {
    let (edge, server) = (Edge::start().await, Server::named("vulcan").await);
    for (prefix, host) in [("/vulcand", "slash"), ("vulcand", "bare")] {
        let frontend = FRONTEND.replace("`v`", &format!("`{host}`"));
        edge.store
            .change(&[
                (&format!("{prefix}/backends/b1/backend"), Some(r#"{"Type":"http"}"#)),
                (&format!("{prefix}/backends/b1/servers/s1"), Some(&server_json(&server))),
                (&format!("{prefix}/frontends/{host}/frontend"), Some(&frontend)),
            ])
            .await;
        eventually("the frontend is reachable", || async {
            (edge.get(host, "/").await.status() == StatusCode::OK).then_some(())
        })
        .await;
    }
}

/// vulcand tries routes in the reverse alphabetical order of their texts.
#[tokio::test]
async fn who_relies_on_vulcands_order_has_it() {
    for (order, expected) in [(routing::Order::Specific, "exact"), (routing::Order::Vulcand, "pattern")] {
        let store = Arc::new(MemoryStore::default());
        let vulcand = edge::Vulcand { order, ..edge::Vulcand::default() };
        let edge = Edge::of(edge::Config { vulcand, ..config(store.clone()) }, store).await;
        let (exact, pattern) = (Server::named("exact").await, Server::named("pattern").await);
        let exact = document("Path(`/1`)", &[&exact], json!({}));
        let pattern = document("Path(`/<id>`)", &[&pattern], json!({}));
        let routes = [("/roadstead/routes/a", Some(exact.as_str())), ("/roadstead/routes/b", Some(pattern.as_str()))];
        edge.applied(edge.store.change(&routes).await).await;
        assert_eq!(name(&edge.get("any", "/1").await), expected, "{order:?}");
    }
}

/// A route moves from one server to another together with its path: no request ever sees one change without the other.
#[tokio::test]
async fn keys_of_one_revision_take_effect_together() {
    let edge = Edge::start().await;
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let changes = |host: &str, server: &Server| {
        [
            ("/vulcand/backends/b1/servers/s1".to_owned(), server_json(server)),
            ("/vulcand/frontends/f1/frontend".to_owned(), FRONTEND.replace("`v`", &format!("`{host}`"))),
        ]
    };
    for round in 0..50 {
        let (host, other, server, expected) =
            if round % 2 == 0 { ("even", "odd", &old, "old") } else { ("odd", "even", &new, "new") };
        let changes = changes(host, server);
        let changes: Vec<_> = changes.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
        edge.store.change(&changes).await;
        eventually("the new pair serves", || async {
            let response = edge.get(host, "/").await;
            if response.status() == StatusCode::OK {
                assert_eq!(name(&response), expected, "the frontend changed without its server");
                return Some(());
            }
            // Either the other pair serves still, or this one already does.
            let response = edge.get(other, "/").await;
            assert!(response.status() == StatusCode::NOT_FOUND || name(&response) != expected);
            None
        })
        .await;
    }
}

#[tokio::test]
async fn an_invalid_document_is_reported_and_the_last_good_one_serves_on() {
    // Names that no test beside it has, by which the log is searched.
    const TORN: &str = "/roadstead/routes/reported-torn";
    const WRONG: &str = "/roadstead/routes/reported-wrong";
    logs::keep();
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("reported-torn", "a", &[&server]).await;
    assert_eq!(logs::lines_with("reported-"), [""; 0]);
    let wrong = r#"{"v":0,"rule":"!","servers":[]}"#;
    let revision = edge.store.change(&[(TORN, Some("{")), (WRONG, Some(wrong))]).await;
    edge.applied(revision).await;
    assert_eq!(name(&edge.get("a", "/").await), "one");
    let problems = edge.status().await["problems"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0]["key"], TORN);
    assert!(problems[0]["message"].as_str().unwrap().contains("last good value serves on"), "{problems:?}");
    edge.until_metric("edge_problems ", 2.0).await;

    // Another change does not tell them again.
    edge.route("other", "b", &[&server]).await;
    for problem in &problems {
        let (key, message) = (problem["key"].as_str().unwrap(), problem["message"].as_str().unwrap());
        let lines = logs::lines_with(&format!("key=\"{key}\""));
        let [line] = &lines[..] else { panic!("one line about {key}: {lines:?}") };
        let said = format!("not served as asked key={key:?} {message}");
        assert!(line.contains(" WARN ") && line.ends_with(&said), "{line}\n{said}");
    }
}

#[tokio::test]
async fn a_lost_store_changes_nothing_and_is_read_anew_when_it_is_back() {
    let edge = Edge::start().await;
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    edge.route("a", "a", &[&one]).await;
    edge.store.take_away();
    let before = edge.store.reads();
    eventually("the edge asks again", || async { (edge.store.reads() > before + 3).then_some(()) }).await;
    assert_eq!(name(&edge.get("a", "/").await), "one");
    edge.store.put_silently("/roadstead/routes/a", &document("Host(`a`)", &[&two], json!({})));
    edge.store.give_back();
    eventually("the change made meanwhile is served", || async {
        (name(&edge.get("a", "/").await) == "two").then_some(())
    })
    .await;
    let revision = edge.route("b", "b", &[&one]).await;
    assert!(revision > 0);
    assert_eq!(name(&edge.get("b", "/").await), "one");
}

#[tokio::test]
async fn a_store_that_suddenly_holds_nothing_is_asked_twice() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    edge.store.take_away();
    let kept = document("Host(`a`)", &[&server], json!({}));
    edge.store.clear_silently();
    edge.store.give_back();
    let before = edge.store.reads();
    eventually("all three sources were read", || async { (edge.store.reads() >= before + 3).then_some(()) }).await;
    assert_eq!(name(&edge.get("a", "/").await), "one", "one empty answer is not believed");
    edge.store.put_silently("/roadstead/routes/a", &kept);
    let revision = edge.store.change(&[("/other", Some(""))]).await;
    edge.applied(revision).await;
    assert_eq!(name(&edge.get("a", "/").await), "one");
}

#[tokio::test]
async fn before_the_store_was_read_nothing_is_said_to_be_missing() {
    let store = Arc::new(crate::memory_store::MemoryStore::default());
    store.take_away();
    let edge = Edge::on(store.clone(), store, None).await;
    assert_eq!(edge.get("a", "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    edge.store.give_back();
    eventually("it is known to be missing", || async {
        (edge.get("a", "/").await.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_frontend_whose_middleware_cannot_be_read_refuses_with_503_and_says_why() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.store
        .change(&[
            ("/vulcand/backends/b1/servers/s1", Some(&server_json(&server))),
            ("/vulcand/frontends/f1/frontend", Some(FRONTEND)),
            ("/vulcand/frontends/f1/middlewares/rl", Some(r#"{"Type":"ratelimit","Middleware":{"Requests":1}}"#)),
        ])
        .await;
    let refused = eventually("the frontend is known", || async {
        let response = edge.get("v", "/").await;
        (response.status() == StatusCode::SERVICE_UNAVAILABLE && edge.status().await["loaded"] == true)
            .then_some(response)
    })
    .await;
    assert!(json_of(&refused)["error"].as_str().unwrap().contains("cannot be read: \"rl\""));
    assert!(edge.status().await["problems"].to_string().contains("refused with 503"));
    edge.store.change(&[("/vulcand/frontends/f1/middlewares/rl", None)]).await;
    eventually("it serves without", || async { (name(&edge.get("v", "/").await) == "one").then_some(()) }).await;
}

#[tokio::test]
async fn a_route_without_servers_answers_503() {
    let edge = Edge::start().await;
    edge.route("a", "a", &[]).await;
    let response = edge.get("a", "/").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(&response)["error"], "the backend has no servers");
}

#[tokio::test]
async fn turns_are_weighted() {
    let edge = Edge::start().await;
    let (light, heavy) = (Server::named("light").await, Server::named("heavy").await);
    let servers = json!([
        { "id": "l", "url": light.url(), "weight": 1 },
        { "id": "h", "url": heavy.url(), "weight": 3 },
    ]);
    let document = document("Host(`a`)", &[], json!({ "servers": servers }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
    let mut heavy_answers = 0;
    for _ in 0..40 {
        heavy_answers += usize::from(name(&edge.get("a", "/").await) == "heavy");
    }
    assert_eq!(heavy_answers, 30);
}

#[tokio::test]
async fn listeners_come_and_go_with_the_store_and_have_a_scope() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    edge.route("b", "b", &[&server]).await;
    let address = free_address();
    let listener = |scope: &str| {
        json!({ "Protocol": "http", "Address": { "Network": "tcp", "Address": address.to_string() }, "Scope": scope })
            .to_string()
    };
    let status = |host: &'static str| {
        let client = web::Client::default();
        async move { Some(call(&client, address, Method::GET, host, "/", "").await.ok()?.status().as_u16()) }
    };
    edge.store.change(&[("/vulcand/listeners/ls1", Some(&listener("Host(`a`)")))]).await;
    eventually("the listener serves its scope", || async { (status("a").await == Some(200)).then_some(()) }).await;
    assert_eq!(status("b").await, Some(404), "outside of the scope");
    edge.store.change(&[("/vulcand/listeners/ls1", Some(&listener("Host(`b`)")))]).await;
    eventually("the scope follows", || async { (status("b").await == Some(200)).then_some(()) }).await;
    assert_eq!(status("a").await, Some(404));

    let taken = listener("").replace(&address.to_string(), &edge.address.to_string());
    edge.store.change(&[("/vulcand/listeners/ls2", Some(&taken))]).await;
    eventually("a taken address is reported", || async {
        edge.status().await["problems"].to_string().contains("/vulcand/listeners/ls2").then_some(())
    })
    .await;
    edge.store.change(&[("/vulcand/listeners/ls1", None)]).await;
    eventually("the listener closes", || async { status("b").await.is_none().then_some(()) }).await;
}

/// The store of one machine, with real revisions and a real disk.
#[tokio::test]
async fn the_embedded_store_drives_the_edge() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap());
    let edge = Edge::on(store.clone(), Arc::default(), None).await;
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    for (server, expected) in [(&one, "one"), (&two, "two")] {
        let document = document("Host(`a`)", &[server], json!({}));
        let revision = store.put("/roadstead/routes/a", document.into()).await.unwrap();
        edge.applied(revision).await;
        assert_eq!(name(&edge.get("a", "/").await), expected);
    }
    store.delete("/roadstead/routes/a").await.unwrap();
    eventually("the route is gone", || async {
        (edge.get("a", "/").await.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}
