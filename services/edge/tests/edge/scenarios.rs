//! What vulcand's own suites try, told anew from the facts and driven from outside: keys go into a store, requests into a
//! running edge. `vulcands_suites.rs` has the table; the list runs on the embedded store in every run of the tests, and once
//! on etcd (`real_etcd.rs`).

use crate::harness::{Edge, Server, call, eventually, exchange, free_address, json_of, name, received};
use crate::memory_store::MemoryStore;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyRange, Operation, PutRequest, Store, TxnRequest};

/// Hands the names of all scenarios to a macro.
macro_rules! each {
    ($macro:ident) => {
        $macro! {
            a_frontend_is_made_moved_and_deleted,
            a_part_of_a_path_is_a_parameter,
            a_backend_without_servers_answers_503,
            a_failover_predicate_passes_by_unhealthy_servers,
            a_limit_of_bodies_comes_and_goes_live,
            a_frontend_changes_its_backend,
            a_server_ends_with_its_lease_unless_it_is_written_again,
            a_backends_timeouts_change_live,
            an_edge_starts_from_what_is_there_whatever_is_wrong_with_parts_of_it,
            servers_are_added_moved_and_removed,
            a_server_that_is_written_again_has_one_turn,
            two_hosts_have_their_own_frontends,
            responses_without_a_body_end_with_their_heads,
            chunked_bodies_pass_also_empty_ones,
            a_middleware_comes_changes_and_goes,
            middlewares_are_asked_in_the_order_of_their_priorities,
            a_middleware_ends_with_its_lease,
            a_frontend_ends_with_its_lease,
            a_frontends_options_change_live,
            a_route_that_two_frontends_have_is_served_until_both_are_gone,
            a_route_comes_back,
            what_is_bad_changes_nothing_until_it_is_right,
            a_backend_that_goes_while_it_is_used_is_reported_and_may_come_back,
            a_middleware_may_come_before_its_frontend,
            names_that_begin_alike_are_different_things,
            listeners_are_made_scoped_and_deleted,
        }
    };
}
pub(crate) use each;

/// Of the lease of a key that is looked at first, and then written again with another.
const LASTING: Duration = Duration::from_secs(600);
/// The least that etcd grants.
const SOON_OVER: Duration = Duration::from_secs(2);

/// An edge, and the store that tells it what to serve. The store is empty at first.
pub struct Scene {
    pub edge: Edge,
    pub store: Arc<dyn Store>,
}

impl Scene {
    pub async fn on(store: Arc<dyn Store>) -> Self {
        let range = KeyRange::prefix("/vulcand/");
        let empty = vec![Operation::Delete { range, prev_kv: false }];
        store.txn(TxnRequest { success: empty, ..TxnRequest::default() }).await.unwrap();
        // The harness asks its own store in memory for nothing.
        let edge = Edge::on(store.clone(), Arc::new(MemoryStore::default()), None).await;
        Self { edge, store }
    }

    async fn put(&self, key: &str, value: Value) {
        self.put_text(key, &value.to_string()).await;
    }

    async fn put_text(&self, key: &str, value: &str) {
        self.store.put(&format!("/vulcand/{key}"), value.to_owned().into()).await.unwrap();
    }

    /// A key that lives for as long as its lease.
    async fn put_for(&self, key: &str, value: Value, life: Duration) {
        let lease = self.store.lease_grant(life).await.unwrap().id;
        let (key, value) = (format!("/vulcand/{key}").into(), value.to_string().into());
        let success = vec![Operation::Put(PutRequest { key, value, lease, prev_kv: false })];
        self.store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        assert!(self.store.delete(&format!("/vulcand/{key}")).await.unwrap(), "{key} was there");
    }

    async fn backend(&self, id: &str, settings: Value) {
        self.put(&format!("backends/{id}/backend"), json!({ "Type": "http", "Settings": settings })).await;
    }

    async fn server(&self, backend: &str, id: &str, server: &Server) {
        self.put(&format!("backends/{backend}/servers/{id}"), json!({ "URL": server.url() })).await;
    }

    async fn frontend(&self, id: &str, backend: &str, route: &str) {
        self.frontend_with(id, backend, route, json!({})).await;
    }

    async fn frontend_with(&self, id: &str, backend: &str, route: &str, settings: Value) {
        let value = json!({ "Type": "http", "BackendId": backend, "Route": route, "Settings": settings });
        self.put(&format!("frontends/{id}/frontend"), value).await;
    }

    /// `Host("a")` at a backend `b1` with one server.
    async fn plain(&self, server: &Server) {
        self.backend("b1", json!({})).await;
        self.server("b1", "s1", server).await;
        self.frontend("f1", "b1", r#"Host("a")"#).await;
        self.names("a", "/", "one").await;
    }

    async fn get(&self, host: &str, path: &str) -> Response<Bytes> {
        call(&self.edge.client, self.edge.address, Method::GET, host, path, "").await.unwrap()
    }

    async fn post(&self, body: &'static str) -> u16 {
        let posted = call(&self.edge.client, self.edge.address, Method::POST, "a", "/", body).await;
        posted.unwrap().status().as_u16()
    }

    /// Waits until it is answered by this server.
    async fn names(&self, host: &str, path: &str, expected: &str) {
        let answers = || async { (name(&self.get(host, path).await) == expected).then_some(()) };
        eventually(&format!("{host}{path} is answered by {expected}"), answers).await;
    }

    /// Waits until it is answered so.
    async fn says(&self, host: &str, path: &str, status: u16) -> Response<Bytes> {
        let answers = || async { Some(self.get(host, path).await).filter(|answer| answer.status() == status) };
        eventually(&format!("{host}{path} is answered {status}"), answers).await
    }

    async fn posted(&self, body: &'static str, status: u16) {
        let answers = || async { (self.post(body).await == status).then_some(()) };
        eventually(&format!("{body} is answered {status}"), answers).await;
    }
}

// ---- vulcand's systest ----------------------------------------------------------------------------------------------

pub async fn a_frontend_is_made_moved_and_deleted(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    scene.frontend("f1", "b1", r#"Host("a") && Path("/moved")"#).await;
    scene.says("a", "/", 404).await;
    scene.names("a", "/moved", "one").await;
    scene.delete("frontends/f1/frontend").await;
    let answer = scene.says("a", "/moved", 404).await;
    assert_eq!(
        (json_of(&answer), &answer.headers()["content-type"]),
        (json!({ "error": "not found" }), &"application/json".parse().unwrap())
    );
}

pub async fn a_part_of_a_path_is_a_parameter(scene: &Scene) {
    let server = Server::named("one").await;
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &server).await;
    scene.frontend("f1", "b1", r#"Path("/path/<param>/more")"#).await;
    scene.names("any", "/path/value/more?query", "one").await;
    assert_eq!(scene.get("any", "/path/a/b/more").await.status(), 404);
}

pub async fn a_backend_without_servers_answers_503(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    scene.delete("backends/b1/servers/s1").await;
    let answer = scene.says("a", "/", 503).await;
    assert_eq!(json_of(&answer)["error"], "the backend has no servers");
    scene.server("b1", "s2", &server).await;
    scene.names("a", "/", "one").await;
}

pub async fn a_failover_predicate_passes_by_unhealthy_servers(scene: &Scene) {
    let (absent, server) = (Server::absent().await, Server::named("one").await);
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &absent).await;
    scene.server("b1", "s2", &server).await;
    let predicate = r#"IsNetworkError() && RequestMethod() == "GET" && Attempts() <= 2"#;
    scene.frontend_with("f1", "b1", r#"Host("a")"#, json!({ "FailoverPredicate": predicate })).await;
    scene.names("a", "/", "one").await;
    for _ in 0..10 {
        assert_eq!(name(&scene.get("a", "/").await), "one");
    }
}

pub async fn a_limit_of_bodies_comes_and_goes_live(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    scene.posted("12345", 200).await;
    scene
        .frontend_with("f1", "b1", r#"Host("a")"#, json!({ "Limits": { "MaxMemBodyBytes": 4, "MaxBodyBytes": 4 } }))
        .await;
    scene.posted("12345", 413).await;
    assert_eq!(scene.post("1234").await, 200);
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.posted("12345", 200).await;
}

pub async fn a_frontend_changes_its_backend(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.plain(&one).await;
    scene.backend("b2", json!({})).await;
    scene.server("b2", "s1", &two).await;
    scene.frontend("f1", "b2", r#"Host("a")"#).await;
    scene.names("a", "/", "two").await;
}

pub async fn a_server_ends_with_its_lease_unless_it_is_written_again(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.backend("b1", json!({})).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.server("b1", "stays", &one).await;
    scene.put_for("backends/b1/servers/leaves", json!({ "URL": two.url() }), LASTING).await;
    scene.names("a", "/", "two").await;
    scene.names("a", "/", "one").await;
    scene.put_for("backends/b1/servers/leaves", json!({ "URL": two.url() }), SOON_OVER).await;
    let leaves = || async { scene.edge.status().await["servers"].as_u64().filter(|servers| *servers == 1) };
    eventually("the lease ran out", leaves).await;
    for _ in 0..4 {
        assert_eq!(name(&scene.get("a", "/").await), "one");
    }
}

pub async fn a_backends_timeouts_change_live(scene: &Scene) {
    let router = axum::Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        axum::Json(json!({ "name": "slow" }))
    });
    let slow = Server::routing(router).await;
    scene.backend("b1", json!({ "Timeouts": { "Read": "10ms" } })).await;
    scene.server("b1", "s1", &slow).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.says("a", "/", 504).await;
    scene.backend("b1", json!({ "Timeouts": { "Read": "9s" } })).await;
    scene.names("a", "/", "slow").await;
}

pub async fn an_edge_starts_from_what_is_there_whatever_is_wrong_with_parts_of_it(scene: &Scene) {
    let server = Server::named("one").await;
    // Servers of a backend that was never defined, as mesos-vulcan writes them; a frontend of nothing; no JSON; no route.
    scene.server("b1", "s1", &server).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.frontend("f2", "nowhere", r#"Host("b")"#).await;
    scene.put_text("frontends/f3/frontend", "{").await;
    scene.frontend("f4", "b1", "Nonsense(").await;
    scene.put_text("hosts/h/host", "[]").await;
    scene.put_text("listeners/l/", "").await;
    scene.put_text("listeners/l", "{}").await;
    scene.put_text("backends/b9/servers/s", r#"{"URL":"nonsense"}"#).await;
    scene.put_text("frontends/f1/middlewares/m/too/deep", "{}").await;
    let edge = Edge::on(scene.store.clone(), Arc::new(MemoryStore::default()), None).await;
    eventually("what is right serves", || async { (name(&edge.get("a", "/").await) == "one").then_some(()) }).await;
    assert_eq!(edge.get("b", "/").await.status(), 503);
    let problems = edge.status().await["problems"].to_string();
    for key in ["frontends/f2", "frontends/f3", "frontends/f4", "listeners/l", "backends/b9/servers/s"] {
        assert!(problems.contains(key), "{key}: {problems}");
    }
    edge.end().await;
}

// ---- vulcand's mux and engine suites --------------------------------------------------------------------------------

pub async fn servers_are_added_moved_and_removed(scene: &Scene) {
    let (one, two, three) = (Server::named("one").await, Server::named("two").await, Server::named("three").await);
    scene.plain(&one).await;
    scene.server("b1", "s2", &two).await;
    scene.names("a", "/", "two").await;
    scene.names("a", "/", "one").await;
    scene.server("b1", "s2", &three).await;
    scene.names("a", "/", "three").await;
    scene.delete("backends/b1/servers/s1").await;
    eventually("one server is left", || async { (scene.edge.status().await["servers"] == 1).then_some(()) }).await;
    for _ in 0..4 {
        assert_eq!(name(&scene.get("a", "/").await), "three");
    }
}

/// The same again, under another id too, changes nothing: each address has one turn.
pub async fn a_server_that_is_written_again_has_one_turn(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.plain(&one).await;
    scene.server("b1", "s2", &two).await;
    scene.server("b1", "s1", &one).await;
    scene.server("b1", "same", &one).await;
    scene.names("a", "/", "two").await;
    let mut ones = 0;
    for _ in 0..40 {
        ones += usize::from(name(&scene.get("a", "/").await) == "one");
    }
    assert_eq!(ones, 20);
}

pub async fn two_hosts_have_their_own_frontends(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    for (id, host, server) in [("1", "a", &one), ("2", "b", &two)] {
        scene.backend(&format!("b{id}"), json!({})).await;
        scene.server(&format!("b{id}"), "s", server).await;
        scene.frontend(&format!("f{id}"), &format!("b{id}"), &format!("Host(`{host}`)")).await;
    }
    scene.names("a:8181", "/", "one").await;
    scene.names("B", "/", "two").await;
    assert_eq!(scene.get("c", "/").await.status(), 404);
}

/// 204, 304 and responses to HEAD end with their heads; the connection goes on.
pub async fn responses_without_a_body_end_with_their_heads(scene: &Scene) {
    let router = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().unwrap();
        let headers = [("etag", "\"x\""), ("x-passed", "1")];
        (http::StatusCode::from_u16(status).unwrap(), headers)
    });
    let server = Server::routing(router).await;
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &server).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.says("a", "/204", 204).await;
    let requests = "GET /304 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /200 HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\
        Connection: close\r\n\r\n";
    let answers = exchange(scene.edge.address, requests).await;
    assert_eq!(
        (answers.matches("HTTP/1.1 ").count(), answers.to_lowercase().matches("x-passed: 1").count()),
        (3, 3),
        "{answers}"
    );
    assert!(answers.contains("304 Not Modified") && answers.ends_with("\r\n\r\n"), "{answers}");
}

pub async fn chunked_bodies_pass_also_empty_ones(scene: &Scene) {
    let router = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        let framing = request.headers().get("transfer-encoding").cloned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let pieces = if body.is_empty() { vec![] } else { vec![Bytes::from(format!("{framing:?} ")), body] };
        axum::body::Body::from_stream(futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)))
    });
    let server = Server::routing(router).await;
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &server).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.says("a", "/", 200).await;
    for (body, expected) in [
        ("0\r\n\r\n", "\r\n\r\n0\r\n\r\n"),
        ("5\r\nhello\r\n0\r\n\r\n", "Some(\"chunked\") \r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let answer = exchange(scene.edge.address, &format!("{head}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(expected), "{answer}");
    }
}

pub async fn a_middleware_comes_changes_and_goes(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    let limit = |requests| {
        json!({ "Type": "ratelimit", "Middleware":
            { "PeriodSeconds": 3600, "Requests": requests, "Burst": requests, "Variable": "client.ip" } })
    };
    scene.put("frontends/f1/middlewares/rl", limit(1)).await;
    scene.says("a", "/", 429).await;
    scene.put("frontends/f1/middlewares/rl", limit(9999)).await;
    scene.names("a", "/", "one").await;
    scene.put("frontends/f1/middlewares/rl", limit(1)).await;
    scene.says("a", "/", 429).await;
    scene.delete("frontends/f1/middlewares/rl").await;
    scene.names("a", "/", "one").await;
}

/// Smaller priorities are asked first.
pub async fn middlewares_are_asked_in_the_order_of_their_priorities(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    for (id, priority) in [("z", 0), ("a", 2), ("m", 1)] {
        let settings = json!({ "Request": { "Add": { "X-Passed": id } } });
        let value = json!({ "Type": "headers", "Priority": priority, "Middleware": settings });
        scene.put(&format!("frontends/f1/middlewares/{id}"), value).await;
    }
    let order = || async {
        let passed = received(&scene.get("a", "/").await, "x-passed");
        (passed == ["z", "m", "a"]).then_some(())
    };
    eventually("they are asked in their order", order).await;
}

pub async fn a_middleware_ends_with_its_lease(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    let never = json!({ "Type": "connlimit", "Middleware": { "Connections": 0, "Variable": "client.ip" } });
    scene.put_for("frontends/f1/middlewares/cl", never.clone(), LASTING).await;
    scene.says("a", "/", 429).await;
    scene.put_for("frontends/f1/middlewares/cl", never, SOON_OVER).await;
    scene.names("a", "/", "one").await;
}

pub async fn a_frontend_ends_with_its_lease(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    let value = json!({ "Type": "http", "BackendId": "b1", "Route": "Host(`lent`)" });
    scene.put_for("frontends/f2/frontend", value.clone(), LASTING).await;
    scene.names("lent", "/", "one").await;
    scene.put_for("frontends/f2/frontend", value, SOON_OVER).await;
    scene.says("lent", "/", 404).await;
    assert_eq!(name(&scene.get("a", "/").await), "one");
}

/// vulcand took no notice where only these changed.
pub async fn a_frontends_options_change_live(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    let seen = |header: &'static str, expected: String| async move {
        let ask = || async {
            let request = Request::get(format!("http://{}/", scene.edge.address))
                .header("host", "a")
                .header("x-forwarded-for", "6.6.6.6");
            let response = scene.edge.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
            (received(&response, header) == [expected.clone()]).then_some(())
        };
        eventually(&format!("{header}: {expected}"), ask).await;
    };
    seen("host", server.address.to_string()).await;
    for (settings, header, expected) in [
        (json!({ "PassHostHeader": true }), "host", "a"),
        (json!({ "Hostname": "named" }), "x-forwarded-server", "named"),
        (json!({ "TrustForwardHeader": true }), "x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        (json!({ "TrustForwardHeader": false, "Stream": true }), "x-forwarded-for", "127.0.0.1"),
        (json!({}), "x-forwarded-server", "edge-1"),
    ] {
        scene.frontend_with("f1", "b1", r#"Host("a")"#, settings).await;
        seen(header, expected.to_owned()).await;
    }
}

/// Deleting one of two frontends with the same route takes nothing from the other, as it did in vulcand.
pub async fn a_route_that_two_frontends_have_is_served_until_both_are_gone(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.plain(&one).await;
    scene.backend("b2", json!({})).await;
    scene.server("b2", "s", &two).await;
    scene.frontend("f2", "b2", r#"Host("a")"#).await;
    eventually("both are known", || async { (scene.edge.status().await["routes"] == 2).then_some(()) }).await;
    assert_eq!(name(&scene.get("a", "/").await), "one", "the first by id");
    scene.delete("frontends/f1/frontend").await;
    scene.names("a", "/", "two").await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.names("a", "/", "one").await;
    scene.delete("frontends/f2/frontend").await;
    scene.delete("frontends/f1/frontend").await;
    scene.says("a", "/", 404).await;
}

/// A frontend that was given up for another route, and back.
pub async fn a_route_comes_back(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    for (route, path, gone) in
        [("Path(`/new`)", "/new", "/old"), ("Path(`/old`)", "/old", "/new"), ("Path(`/new`)", "/new", "/old")]
    {
        scene.frontend("f1", "b1", route).await;
        scene.names("a", path, "one").await;
        assert_eq!(scene.get("a", gone).await.status(), 404);
    }
}

/// A bad value is reported, the good one before it serves on, and a good one after it takes effect.
pub async fn what_is_bad_changes_nothing_until_it_is_right(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.plain(&one).await;
    let bad: [(&str, &str); 6] = [
        ("backends/b1/servers/s1", r#"{"URL":"ftp://x"}"#),
        ("backends/b1/backend", r#"{"Type":"smtp"}"#),
        ("backends/b1/backend", r#"{"Type":"http","Settings":{"Timeouts":{"Read":"soon"}}}"#),
        ("frontends/f1/frontend", r#"{"Type":"http","Route":"Host(`a`)"}"#),
        ("frontends/f1/frontend", r#"{"Type":"http","BackendId":"b1","Route":"Host(`a`"}"#),
        (
            "frontends/f1/frontend",
            r#"{"Type":"http","BackendId":"b1","Route":"Host(`a`)","Settings":{"FailoverPredicate":"x"}}"#,
        ),
    ];
    for (key, value) in bad {
        scene.put_text(key, value).await;
        let reported = || async { scene.edge.status().await["problems"].to_string().contains(key).then_some(()) };
        eventually(&format!("{value} is reported"), reported).await;
        assert_eq!(name(&scene.get("a", "/").await), "one", "{value}");
    }
    scene.backend("b1", json!({})).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.server("b1", "s1", &two).await;
    scene.names("a", "/", "two").await;
    assert_eq!(scene.edge.status().await["problems"], json!([]));
}

/// vulcand refuses the deletion of a backend that is used; whoever writes to the store directly is not asked.
pub async fn a_backend_that_goes_while_it_is_used_is_reported_and_may_come_back(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    scene.delete("backends/b1/servers/s1").await;
    scene.delete("backends/b1/backend").await;
    scene.says("a", "/", 503).await;
    let reported = || async { scene.edge.status().await["problems"].to_string().contains("b1").then_some(()) };
    eventually("it is reported", reported).await;
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &server).await;
    scene.names("a", "/", "one").await;
}

/// A middleware under a frontend that is not there is reported, and protects it once it is.
pub async fn a_middleware_may_come_before_its_frontend(scene: &Scene) {
    let server = Server::named("one").await;
    let never = json!({ "Type": "connlimit", "Middleware": { "Connections": 0, "Variable": "client.ip" } });
    scene.put("frontends/f1/middlewares/cl", never).await;
    let reported =
        || async { scene.edge.status().await["problems"].to_string().contains("there is no frontend").then_some(()) };
    eventually("it is reported", reported).await;
    scene.backend("b1", json!({})).await;
    scene.server("b1", "s1", &server).await;
    scene.frontend("f1", "b1", r#"Host("a")"#).await;
    scene.says("a", "/", 429).await;
    assert_eq!(scene.edge.status().await["problems"], json!([]));
}

pub async fn names_that_begin_alike_are_different_things(scene: &Scene) {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    scene.plain(&one).await;
    scene.backend("b10", json!({})).await;
    scene.server("b10", "s10", &two).await;
    scene.server("b10", "s1", &two).await;
    scene.frontend("f10", "b10", r#"Host("ten")"#).await;
    scene.names("ten", "/", "two").await;
    for key in ["frontends/f1/frontend", "backends/b1/servers/s1", "backends/b1/backend", "backends/b10/servers/s1"] {
        scene.delete(key).await;
    }
    scene.says("a", "/", 404).await;
    assert_eq!(name(&scene.get("ten", "/").await), "two");
}

/// Two listeners of the store's, one with a scope: each changes and goes without touching the other.
pub async fn listeners_are_made_scoped_and_deleted(scene: &Scene) {
    let server = Server::named("one").await;
    scene.plain(&server).await;
    let addresses = [free_address(), free_address()];
    let listener = |address: SocketAddr, scope: &str| json!({ "Protocol": "http", "Address": { "Network": "tcp", "Address": address.to_string() }, "Scope": scope });
    let status = |address: SocketAddr| {
        let client = web::Client::default();
        async move { Some(call(&client, address, Method::GET, "a", "/", "").await.ok()?.status().as_u16()) }
    };
    let becomes = |address: SocketAddr, expected: Option<u16>| async move {
        let ask = || async { (status(address).await == expected).then_some(()) };
        eventually(&format!("{address} answers {expected:?}"), ask).await;
    };
    scene.put("listeners/l1", listener(addresses[0], "")).await;
    scene.put("listeners/l10", listener(addresses[1], r#"Host("b")"#)).await;
    becomes(addresses[0], Some(200)).await;
    becomes(addresses[1], Some(404)).await;
    scene.put("listeners/l10", listener(addresses[1], r#"Host("a")"#)).await;
    becomes(addresses[1], Some(200)).await;
    scene.delete("listeners/l1").await;
    becomes(addresses[0], None).await;
    becomes(addresses[1], Some(200)).await;
}
