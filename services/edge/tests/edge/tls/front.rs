//! Clients over TLS.

use super::client::{Client, edge, https, parts, seal_key};
use super::{Authority, certificate, shown};
use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, free_address, received_json};
use crate::memory_store::MemoryStore;
use identity::{KeyPair, SealKey};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: &str = "/roadstead/certificates/a";

fn leaf(pair: &KeyPair) -> CertificateDer<'static> {
    parts(pair).0[0].clone()
}

/// Waits until the edge shows this one.
async fn until_shown(client: &Client, edge: &Edge, name: &str, pair: &KeyPair) {
    eventually("the certificate is shown", || async {
        (shown(client, https(edge), name).await == Some(leaf(pair))).then_some(())
    })
    .await;
}

async fn problem(edge: &Edge, key: &str) -> String {
    eventually("the problem is told", || async {
        let status = edge.status().await;
        let problems = status["problems"].as_array()?;
        let problem = problems.iter().find(|problem| problem["key"] == key)?;
        Some(problem["message"].as_str()?.to_owned())
    })
    .await
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let (edge, authority) = (edge().await, Authority::new());
    let client = authority.client();
    let (exact, wild, host) =
        (authority.issue(&["a.example"]), authority.issue(&["*.wild.example"]), authority.issue(&["host.test"]));
    let sealed = |pair: &KeyPair| seal_key().seal_key_pair(pair).unwrap();
    let vulcands = json!({ "Name": "host.test", "Settings": { "KeyPair": sealed(&host) } }).to_string();
    let documents = [
        (KEY, Some(certificate(&exact, false))),
        ("/roadstead/certificates/wild", Some(certificate(&wild, false))),
        ("/vulcand/hosts/host.test/host", Some(vulcands)),
    ];
    let changes: Vec<_> = documents.iter().map(|(key, value)| (*key, value.as_deref())).collect();
    edge.store.change(&changes).await;
    until_shown(&client, &edge, "a.example", &exact).await;
    until_shown(&client, &edge, "b.wild.example", &wild).await;
    until_shown(&client, &edge, "host.test", &host).await;
    assert_eq!(shown(&client, https(&edge), "A.Example").await, Some(leaf(&exact)));
    assert_eq!(shown(&client, https(&edge), "c.b.wild.example").await, None, "a wildcard is for one label");
    assert!(client.connect(https(&edge), "unknown.test").await.is_err(), "there is no default");
    assert!(client.connect(https(&edge), "127.0.0.1").await.is_err(), "nor for who asks for no name");

    let default = authority.issue(&["127.0.0.1", "default.test"]);
    let vulcands = json!({ "Settings": { "Default": true, "KeyPair": sealed(&default) } }).to_string();
    edge.store.change(&[("/vulcand/hosts/default.test/host", Some(&vulcands))]).await;
    until_shown(&client, &edge, "127.0.0.1", &default).await;
    let status = edge.status().await;
    let listed = status["certificates"].as_array().unwrap();
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().any(|one| one["names"] == json!(["host.test"]) && one["not_after_s"].as_i64().unwrap() > 0));
    assert!(edge.metric("edge_tls_handshakes_total{side=\"client\",result=\"failed\"}").await >= 3.0);
}

#[tokio::test]
async fn a_certificate_is_exchanged_and_connections_go_on() {
    let (edge, authority, server) = (edge().await, Authority::new(), Server::named("one").await);
    edge.route("a", "a.example", &[&server]).await;
    let (client, first) = (authority.client(), authority.issue(&["a.example"]));
    edge.store.change(&[(KEY, Some(&certificate(&first, false)))]).await;
    until_shown(&client, &edge, "a.example", &first).await;
    let mut connection = client.connect(https(&edge), "a.example").await.unwrap();
    assert!(connection.get("a.example", "/").await.0.starts_with("HTTP/1.1 200"));

    let second = authority.issue(&["a.example"]);
    edge.store.change(&[(KEY, Some(&certificate(&second, false)))]).await;
    // A session that is resumed shows none.
    until_shown(&authority.client(), &edge, "a.example", &second).await;
    assert!(connection.get("a.example", "/").await.0.starts_with("HTTP/1.1 200"));
    assert_eq!(connection.certificate(), leaf(&first));
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_and_the_last_good_certificate_is_shown_on() {
    let (edge, authority) = (edge().await, Authority::new());
    let (client, good) = (authority.client(), authority.issue(&["a.example"]));
    edge.store.change(&[(KEY, Some(&certificate(&good, false)))]).await;
    until_shown(&client, &edge, "a.example", &good).await;

    let other = SealKey::from_bytes([8; 32]).seal_key_pair(&authority.issue(&["a.example"])).unwrap();
    let mixed = KeyPair { cert: good.cert.clone(), ..authority.issue(&["a.example"]) };
    let empty = KeyPair { cert: Vec::new(), key: Vec::new() };
    let mut sealed_with_another: Value = serde_json::from_str(&certificate(&good, false)).unwrap();
    sealed_with_another["sealed"] = other.into();
    for (value, says) in [
        (sealed_with_another.to_string(), "another key"),
        (certificate(&mixed, false), "key"),
        (certificate(&empty, false), "no certificate"),
        ("{".to_owned(), "JSON"),
    ] {
        edge.store.change(&[(KEY, Some(&value))]).await;
        eventually("it is named", || async { problem(&edge, KEY).await.contains(says).then_some(()) }).await;
        assert!(problem(&edge, KEY).await.ends_with("(the last good one is shown on)"));
        assert_eq!(shown(&authority.client(), https(&edge), "a.example").await, Some(leaf(&good)));
    }
    let said = format!(
        "{}{}",
        edge.status().await,
        edge.client.get_json::<Value>(&format!("http://{}/routes", edge.api)).await.unwrap()
    );
    assert!(!said.contains("PRIVATE KEY") && !said.contains("sealed\":"));
    edge.store.change(&[(KEY, None)]).await;
    eventually("it is shown no more", || async {
        client.connect(https(&edge), "a.example").await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn certificates_are_kept_sealed_for_a_start_without_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let (store, authority) = (Arc::new(MemoryStore::default()), Authority::new());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let start = || {
        let (data, seal_key) = (Some(directory.path().to_owned()), Some(seal_key()));
        Edge::of(edge::Config { data, listen_tls: vec![any], seal_key, ..config(store.clone()) }, store.clone())
    };
    let (edge, client, pair) = (start().await, authority.client(), authority.issue(&["a.example"]));
    store.change(&[(KEY, Some(&certificate(&pair, false)))]).await;
    until_shown(&client, &edge, "a.example", &pair).await;
    let table = eventually("the table is kept", || async {
        std::fs::read_to_string(directory.path().join("table")).ok().filter(|table| table.contains(KEY))
    })
    .await;
    assert!(!table.contains("PRIVATE KEY"));
    edge.end().await;
    store.take_away();
    let edge = start().await;
    assert_eq!(shown(&authority.client(), https(&edge), "a.example").await, Some(leaf(&pair)));
}

#[tokio::test]
async fn sessions_are_resumed_here_and_at_any_edge_of_the_cluster() {
    let (first, second) = (edge().await, edge().await);
    let (authority, server) = (Authority::new(), Server::named("one").await);
    let pair = authority.issue(&["a.example"]);
    for edge in [&first, &second] {
        edge.route("a", "a.example", &[&server]).await;
        edge.store.change(&[(KEY, Some(&certificate(&pair, false)))]).await;
        until_shown(&authority.client(), edge, "a.example", &pair).await;
    }
    // A ticket of TLS 1.2 has what the session was sealed with: no other edge can open it.
    for (version, name, resumes_elsewhere) in [(&TLS13, "1.3", true), (&TLS12, "1.2", false)] {
        let client = authority.client_of(&[version]);
        let mut connection = client.connect(https(&first), "a.example").await.unwrap();
        assert!(!connection.is_resumed() && connection.version() == version.version);
        // A ticket of 1.3 comes with the first response.
        assert!(connection.get("a.example", "/").await.0.starts_with("HTTP/1.1 200"));
        for (edge, resumes) in [(&first, true), (&second, resumes_elsewhere)] {
            let mut connection = client.connect(https(edge), "a.example").await.unwrap();
            assert_eq!(connection.is_resumed(), resumes, "{name}");
            assert!(connection.get("a.example", "/").await.0.starts_with("HTTP/1.1 200"));
        }
    }
    assert_eq!(second.metric("edge_tls_handshakes_total{side=\"client\",result=\"resumed\"}").await, 1.0);
}

#[tokio::test]
async fn a_handshake_that_dawdles_is_cut() {
    let (store, any) = (Arc::new(MemoryStore::default()), SocketAddr::from(([127, 0, 0, 1], 0)));
    let client_times = edge::ClientTimes { head: Duration::from_millis(100), ..edge::ClientTimes::default() };
    let config = edge::Config { listen_tls: vec![any], client_times, ..config(store.clone()) };
    let edge = Edge::of(config, store).await;
    let mut silent = TcpStream::connect(https(&edge)).await.unwrap();
    let mut slow = TcpStream::connect(https(&edge)).await.unwrap();
    // A record of 512 bytes is announced.
    slow.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 16])).await.expect("it is cut");
        assert!(matches!(end, Ok(0) | Err(_)));
    }
    let mut plain = TcpStream::connect(https(&edge)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(DEADLINE, plain.read_to_end(&mut answer)).await.expect("it is cut");
    assert!(!answer.starts_with(b"HTTP"));
    eventually("failures are counted", || async {
        (edge.metric("edge_tls_handshakes_total{side=\"client\",result=\"failed\"}").await >= 3.0).then_some(())
    })
    .await;
}

async fn listener(edge: &Edge, port: u16, tls: Value) {
    let listener = json!({
        "Protocol": "https", "Address": { "Network": "tcp", "Address": format!("127.0.0.1:{port}") },
        "Settings": { "TLS": tls },
    });
    edge.store.change(&[("/vulcand/listeners/secure", Some(&listener.to_string()))]).await;
}

#[tokio::test]
async fn a_listener_asks_clients_for_what_its_settings_say_and_takes_new_ones_as_it_stands() {
    let (edge, authority, server) = (edge().await, Authority::new(), Server::named("one").await);
    edge.route("a", "a.example", &[&server]).await;
    edge.store.change(&[(KEY, Some(&authority.document(&["a.example"], false)))]).await;
    let address = free_address();
    listener(&edge, address.port(), json!({ "MaxVersion": "VersionTLS12" })).await;
    let connects = |client: Client| async move {
        let mut connection = client.connect(address, "a.example").await.ok()?;
        // In TLS 1.3 a client hears of its refusal only now.
        let request = connection.0.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        request.await.ok()?;
        let mut answer = Vec::new();
        connection.0.read_to_end(&mut answer).await.ok()?;
        answer.starts_with(b"HTTP/1.1 200").then(|| connection.version())
    };
    let served = eventually("it listens", || connects(authority.client())).await;
    assert_eq!(served, TLS12.version);
    assert_eq!(connects(authority.client_of(&[&TLS13])).await, None);

    let clients = Authority::new();
    let mut asks = json!({ "ClientAuth": "RequireAndVerifyClientCert", "ClientCAs": clients.pem() });
    listener(&edge, address.port(), asks.clone()).await;
    eventually("a certificate is asked for", || async { connects(authority.client()).await.is_none().then_some(()) })
        .await;
    let known = authority.client_with(&clients.issue(&["client"]));
    assert_eq!(connects(known).await, Some(TLS13.version));
    let unknown = authority.client_with(&authority.issue(&["client"]));
    assert_eq!(connects(unknown.clone()).await, None);
    asks["ClientAuth"] = "VerifyClientCertIfGiven".into();
    listener(&edge, address.port(), asks).await;
    eventually("none is asked for", || connects(authority.client())).await;
    assert_eq!(connects(unknown).await, None);

    listener(&edge, address.port(), json!({ "MaxVersion": "VersionTLS11" })).await;
    let message = problem(&edge, "/vulcand/listeners/secure").await;
    assert!(message.contains("TLS.MaxVersion"), "{message}");
    assert!(connects(authority.client()).await.is_some(), "the last good settings serve on");
}

/// An edge with a certificate and a route, and a connection to it.
async fn connected(server: &Server) -> (Edge, super::client::Connection) {
    let (edge, authority) = (edge().await, Authority::new());
    edge.route("a", "a.example", &[server]).await;
    edge.store.change(&[(KEY, Some(&authority.document(&["a.example"], false)))]).await;
    let client = authority.client();
    let connection = eventually("it is shown", || async { client.connect(https(&edge), "a.example").await.ok() }).await;
    (edge, connection)
}

#[tokio::test]
async fn servers_and_middlewares_see_that_it_is_tls() {
    let server = Server::named("one").await;
    let (edge, mut connection) = connected(&server).await;
    let (_, body) = connection.get("a.example", "/").await;
    assert_eq!(received_json(&body, "x-forwarded-proto"), ["https"]);
    assert_eq!(received_json(&body, "x-forwarded-port"), ["443"]);
    let more = json!({ "balance": { "sticky": { "cookie": "at" } } });
    let revision =
        edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a.example`)", &[&server], more)))]).await;
    edge.applied(revision).await;
    let (head, _) = connection.get("a.example", "/").await;
    assert!(head.contains("; Secure"), "{head}");
}

#[tokio::test]
async fn a_trace_says_what_was_agreed_on_and_whom_the_client_asked_for() {
    let syslog = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = Server::named("one").await;
    let (edge, mut connection) = connected(&server).await;
    let trace = json!({ "Addr": format!("syslog://{}", syslog.local_addr().unwrap()) });
    let trace = json!({ "middlewares": [{ "Id": "t", "Priority": 1, "Type": "trace", "Middleware": trace }] });
    let route = document("Host(`a.example`)", &[&server], trace);
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&route))]).await;
    edge.applied(revision).await;
    assert!(connection.get("a.example", "/").await.0.starts_with("HTTP/1.1 200"));
    let mut datagram = [0; 65536];
    let heard = tokio::time::timeout(DEADLINE, syslog.recv(&mut datagram)).await.unwrap().unwrap();
    let heard = String::from_utf8_lossy(&datagram[..heard]);
    assert!(heard.contains(r#""version":"TLS13""#) && heard.contains(r#""server":"a.example""#), "{heard}");
}

/// Also where its certificate has other names.
#[tokio::test]
async fn a_certificate_is_shown_for_the_names_of_its_document_only() {
    let (edge, authority) = (edge().await, Authority::new());
    let pair = authority.issue(&["a.example", "b.example"]);
    let mut limited: Value = serde_json::from_str(&certificate(&pair, false)).unwrap();
    limited["names"] = json!(["A.example"]);
    edge.store.change(&[(KEY, Some(&limited.to_string()))]).await;
    until_shown(&authority.client(), &edge, "a.example", &pair).await;
    assert!(shown(&authority.client(), https(&edge), "b.example").await.is_none());
    edge.store.change(&[(KEY, Some(&certificate(&pair, false)))]).await;
    until_shown(&authority.client(), &edge, "b.example", &pair).await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order_and_the_end_is_announced() {
    let server = Server::named("one").await;
    let (_edge, mut connection) = connected(&server).await;
    let requests: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n")).collect();
    connection.0.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..50 {
        let (_, body) = connection.response().await;
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["target"], format!("/{n}"));
    }
    connection.0.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // An end that was not announced is an error.
    tokio::time::timeout(DEADLINE, connection.0.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn bodies_of_any_size_pass_both_ways() {
    // More than the sockets on its way have room for, both ways together.
    const BYTES: usize = 24 << 20;
    let echo = axum::Router::new()
        .fallback(|body: axum::body::Bytes| async move { body })
        .layer(axum::extract::DefaultBodyLimit::disable());
    let server = Server::routing(echo).await;
    let (_edge, mut connection) = connected(&server).await;
    let body: Vec<u8> = (0..251).cycle().take(BYTES).collect();
    let head = format!("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {BYTES}\r\n\r\n");
    connection.send(head.as_bytes()).await;
    connection.send(&body).await;
    let (head, echoed) = connection.response().await;
    assert!(head.starts_with("HTTP/1.1 200") && echoed == body);
    for size in [0, 1, 2047, 12_288, 16_384, 65_536, 200_000] {
        let head = format!("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {size}\r\n\r\n");
        connection.send(&[head.as_bytes(), &body[..size]].concat()).await;
        assert!(connection.response().await.1 == body[..size], "{size}");
    }
}

#[tokio::test]
async fn a_tunnel_passes_both_ways_and_half_closes() {
    let server = Server::raw(|_, mut stream| async move {
        let _head = crate::harness::read_head(&mut stream).await;
        let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(switched).await.unwrap();
        let mut all = Vec::new();
        // Answers once the client has ended its side.
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await;
    let (_edge, mut connection) = connected(&server).await;
    let upgrade = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ";
    connection.0.write_all(upgrade).await.unwrap();
    let (head, _) = connection.response().await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let late = vec![b'x'; 1 << 20];
    connection.0.write_all(&late).await.unwrap();
    connection.0.shutdown().await.unwrap();
    let mut echoed = Vec::new();
    tokio::time::timeout(DEADLINE, connection.0.read_to_end(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed.len(), 6 + late.len());
    assert!(echoed.starts_with(b"early x"));
}

#[tokio::test]
async fn a_response_that_breaks_off_has_no_announced_end() {
    let server = Server::raw(|_, mut stream| async move {
        let _head = crate::harness::read_head(&mut stream).await;
        let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(begun).await.unwrap();
    })
    .await;
    let (_edge, mut connection) = connected(&server).await;
    connection.0.write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, connection.0.read_to_end(&mut answer)).await.unwrap();
    assert!(ended.is_err(), "{}", String::from_utf8_lossy(&answer));
}
