//! What is changed on the way, and what is told of it.

use super::{ask, behind, field, get, one, serve, status};
use crate::harness::{DEADLINE, Edge, Server, json_of, received};
use http::Method;
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use tokio::net::UdpSocket;

#[tokio::test]
async fn a_rewritten_target_is_what_every_server_gets() {
    let edge = Edge::start().await;
    let (dead, alive) = (Server::absent().await, Server::named("alive").await);
    let middlewares = json!([
        { "Id": "a", "Type": "rewrite", "Middleware": { "Regexp": "^http://a/old/(.*)$", "Replacement": "http://a/new/$1" } },
        { "Id": "b", "Type": "headers", "Middleware": { "Request": { "Set": { "X-Env": "prod" }, "Remove": ["X-Secret"] } } },
    ]);
    serve(&edge, &[&dead, &alive], &middlewares).await;
    for _ in 0..4 {
        let response = get(&edge, "/old/x?y=1", &[("X-Env", "test"), ("X-Secret", "s")]).await;
        assert_eq!(json_of(&response)["target"], "/new/x?y=1");
        assert_eq!(received(&response, "x-env"), ["prod"]);
        assert!(received(&response, "x-secret").is_empty());
    }
    assert_eq!(json_of(&get(&edge, "/other", &[]).await)["target"], "/other");
}

#[tokio::test]
async fn clients_are_sent_elsewhere() {
    let rewrite = json!({ "Regexp": "^http://a/(.*)$", "Replacement": "https://b.example/$1", "Redirect": true });
    let (edge, server) = behind(one("rewrite", rewrite)).await;
    let response = get(&edge, "/x?y", &[]).await;
    assert_eq!((response.status().as_u16(), field(&response, "location")), (302, "https://b.example/x?y"));
    serve(&edge, &[&server], &one("redirect", json!({ "Scheme": "https", "Permanent": true }))).await;
    let response = get(&edge, "/x?y", &[]).await;
    assert_eq!((response.status().as_u16(), field(&response, "location")), (301, "https://a/x?y"));
    let response = ask(&edge, Method::POST, "/x", &[]).await;
    assert_eq!((response.status().as_u16(), field(&response, "location")), (308, "https://a/x"));
}

#[tokio::test]
async fn fields_of_responses_are_changed_also_of_the_edges_own() {
    let settings = json!({ "Response": { "Set": { "X-Frame-Options": "DENY" }, "Remove": ["Content-Type"] } });
    let (edge, server) = behind(one("headers", settings.clone())).await;
    let response = get(&edge, "/", &[]).await;
    assert_eq!((field(&response, "x-frame-options"), field(&response, "content-type")), ("DENY", ""));
    server.kill().await;
    let response = get(&edge, "/", &[]).await;
    assert_eq!((response.status().as_u16(), field(&response, "x-frame-options")), (502, "DENY"));
    serve(&edge, &[], &one("headers", settings)).await;
    let response = get(&edge, "/", &[]).await;
    assert_eq!((response.status().as_u16(), field(&response, "x-frame-options")), (503, "DENY"));
}

#[tokio::test]
async fn other_origins_are_told_what_they_may() {
    let settings = json!({ "AllowOrigins": ["https://page.example"], "AllowMethods": ["GET", "PUT"] });
    let (edge, _server) = behind(one("cors", settings)).await;
    let asks = [("Origin", "https://page.example"), ("Access-Control-Request-Method", "PUT")];
    let preflight = ask(&edge, Method::OPTIONS, "/", &asks).await;
    assert_eq!((preflight.status().as_u16(), field(&preflight, "content-length")), (204, ""));
    assert_eq!(field(&preflight, "access-control-allow-methods"), "GET, PUT");
    assert_eq!(field(&preflight, "access-control-allow-origin"), "https://page.example");
    let allowed = get(&edge, "/", &asks[..1]).await;
    assert_eq!((field(&allowed, "access-control-allow-origin"), field(&allowed, "vary")), (asks[0].1, "Origin"));
    let other = get(&edge, "/", &[("Origin", "https://evil.example")]).await;
    assert_eq!((other.status().as_u16(), field(&other, "access-control-allow-origin")), (200, ""));
}

fn trace(address: String) -> Value {
    one("trace", json!({ "Addr": address, "ReqHeaders": ["X-Id"], "RespHeaders": ["Content-Type"] }))
}

/// What a datagram says, as JSON.
fn record(datagram: &[u8]) -> Value {
    let text = std::str::from_utf8(datagram).unwrap();
    let (head, record) = text.split_once("@cee: ").unwrap();
    assert!(head.starts_with("<135>") && head.ends_with(&format!("pid[{}]: ", std::process::id())), "{head}");
    serde_json::from_str(record).unwrap()
}

#[tokio::test]
async fn every_exchange_is_traced_when_it_is_over() {
    let syslog = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (edge, server) = behind(trace(format!("syslog://{}", syslog.local_addr().unwrap()))).await;
    let response = get(&edge, "/x?y", &[("X-Id", "7")]).await;
    let mut datagram = [0; 65536];
    let hear = tokio::time::timeout(DEADLINE, syslog.recv(&mut datagram));
    let bytes = hear.await.unwrap().unwrap();
    let told = record(&datagram[..bytes]);
    assert_eq!((&told["request"]["method"], &told["request"]["url"]), (&json!("GET"), &json!("/x?y")));
    assert_eq!(told["request"]["headers"], json!({ "X-Id": ["7"] }));
    assert_eq!(told["response"]["code"], 200);
    assert_eq!(told["response"]["body_bytes"], response.body().len());
    assert_eq!(told["response"]["headers"], json!({ "Content-Type": ["application/json"] }));

    // A POST that fails at the edge.
    server.kill().await;
    edge.call(Method::POST, "a", "/", "12345").await;
    let bytes = tokio::time::timeout(DEADLINE, syslog.recv(&mut datagram)).await.unwrap().unwrap();
    let told = record(&datagram[..bytes]);
    assert_eq!((&told["response"]["code"], &told["request"]["body_bytes"]), (&json!(502), &json!(5)));
}

#[tokio::test]
async fn traces_go_to_a_socket_of_this_machine_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(DEADLINE)).unwrap();
    let (edge, _server) = behind(trace(format!("syslog://{}", path.display()))).await;
    assert_eq!(status(&edge, &[]).await, 200);
    let hear = move || {
        let mut datagram = [0; 65536];
        let bytes = syslog.recv(&mut datagram).unwrap();
        record(&datagram[..bytes])
    };
    assert_eq!(tokio::task::spawn_blocking(hear).await.unwrap()["response"]["code"], 200);
}
