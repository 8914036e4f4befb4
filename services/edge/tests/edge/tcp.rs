//! TCP routes: connections that are passed on as they are.

use crate::harness::{DEADLINE, Edge, Server, eventually, free_address};
use proxyprotocol::{Accepted, Parsed, parse};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Says its name, then repeats what it hears, until its client has ended; then says `bye`.
async fn echo(name: &'static str) -> Server {
    Server::raw(move |_, mut stream| async move {
        let (mut from, mut to) = stream.split();
        let talk = async {
            to.write_all(name.as_bytes()).await?;
            tokio::io::copy(&mut from, &mut to).await?;
            to.write_all(b"bye").await?;
            to.shutdown().await
        };
        let _broken = talk.await;
    })
    .await
}

fn route(listen: SocketAddr, names: &[&str], servers: &[&Server], more: Value) -> String {
    let servers: Vec<Value> = servers
        .iter()
        .map(|server| json!({ "id": server.address.to_string(), "url": format!("tcp://{}", server.address) }))
        .collect();
    let mut document = json!({ "v": 0, "tcp": { "listen": listen.to_string(), "sni": names }, "servers": servers });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document.to_string()
}

async fn put(edge: &Edge, id: &str, document: &str) {
    let revision = edge.store.change(&[(&format!("/roadstead/routes/{id}"), Some(document))]).await;
    edge.applied(revision).await;
}

async fn connect(address: SocketAddr) -> TcpStream {
    eventually("somebody listens", || async { TcpStream::connect(address).await.ok() }).await
}

async fn hear(stream: &mut TcpStream, expected: &str) {
    let mut heard = vec![0; expected.len()];
    let read = timeout(DEADLINE, stream.read_exact(&mut heard)).await.expect("heard in time");
    assert!(read.is_ok(), "{read:?} after {:?}", String::from_utf8_lossy(&heard));
    assert_eq!(String::from_utf8_lossy(&heard), expected);
}

async fn hear_end(stream: &mut TcpStream, expected: &[u8]) {
    let mut heard = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut heard)).await.expect("an end").unwrap();
    assert!(heard == expected, "{} bytes, expected {}", heard.len(), expected.len());
}

/// The least that a client of TLS says first, to a server whose name has ten bytes: a ClientHello of TLS 1.2 with a random
/// number, no session, one cipher suite, no compression, and the name.
fn hello(name: &[u8; 10]) -> Vec<u8> {
    let before = b"\x16\x03\x01\0\x42\x01\0\0\x3e\x03\x03";
    [before, &[7; 32][..], b"\0\0\x02\x13\x01\x01\0\0\x13\0\0\0\x0f\0\x0d\0\0\x0a", name].concat()
}

#[tokio::test]
async fn a_connection_is_passed_on_as_it_is_and_each_side_ends_for_itself() {
    let (edge, server, address) = (Edge::start().await, echo("one").await, free_address());
    put(&edge, "db", &route(address, &[], &[&server], json!({}))).await;
    let mut client = connect(address).await;
    // The server speaks first, and after its client has ended.
    hear(&mut client, "one").await;
    client.write_all(b"ping").await.unwrap();
    hear(&mut client, "ping").await;
    eventually("it counts as in flight", || async { (edge.metric("edge_tunnels ").await == 1.0).then_some(()) }).await;
    client.shutdown().await.unwrap();
    hear_end(&mut client, b"bye").await;
    eventually("its bytes are counted", || async {
        let is_counted = edge.metric(r#"edge_route_request_bytes_total{route="db"}"#).await == 4.0
            && edge.metric(r#"edge_route_response_bytes_total{route="db"}"#).await == 10.0
            && edge.metric(r#"edge_route_tcp_connections_total{route="db"}"#).await == 1.0
            && edge.metric("edge_tunnels ").await == 0.0;
        is_counted.then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_bytes_pass_both_ways_at_once() {
    const BYTES: usize = 20 << 20;
    let (edge, server, address) = (Edge::start().await, echo("").await, free_address());
    put(&edge, "db", &route(address, &[], &[&server], json!({}))).await;
    let sent: Vec<u8> = (0..BYTES).map(|position| (position / 3) as u8).collect();
    let mut client = connect(address).await;
    let (mut from, mut to) = client.split();
    let mut heard = Vec::new();
    let (wrote, read) = tokio::join!(
        async {
            to.write_all(&sent).await?;
            to.shutdown().await
        },
        timeout(DEADLINE, from.read_to_end(&mut heard))
    );
    wrote.unwrap();
    read.expect("an end").unwrap();
    assert!(heard[..BYTES] == sent[..] && heard[BYTES..] == *b"bye");
}

#[tokio::test]
async fn the_name_in_the_handshake_says_which_route() {
    let (edge, address) = (Edge::start().await, free_address());
    let [exact, wild, rest] = [echo("exact").await, echo("wild").await, echo("rest").await];
    put(&edge, "exact", &route(address, &["db.example"], &[&exact], json!({}))).await;
    put(&edge, "wild", &route(address, &["*.example"], &[&wild], json!({}))).await;
    let mut nobodys = connect(address).await;
    nobodys.write_all(&hello(b"other.site")).await.unwrap();
    let end = timeout(DEADLINE, nobodys.read(&mut [0])).await.expect("closed");
    assert!(!matches!(end, Ok(1..)), "no route takes it");
    put(&edge, "rest", &route(address, &[], &[&rest], json!({}))).await;
    for (said, expected) in [
        (hello(b"db.example"), "exact"),
        (hello(b"D2.EXAMPLE"), "wild"),
        (hello(b"other.site"), "rest"),
        (b"no TLS at all".to_vec(), "rest"),
        // More than is read before a server is connected to.
        ([&hello(b"db.example")[..], &[7; 100_000]].concat(), "exact"),
    ] {
        let mut client = connect(address).await;
        client.set_nodelay(true).unwrap();
        let half = said.len() / 2;
        client.write_all(&said[..half]).await.unwrap();
        client.write_all(&said[half..]).await.unwrap();
        hear(&mut client, expected).await;
        // Not a byte of the handshake is lost.
        client.shutdown().await.unwrap();
        hear_end(&mut client, &[&said[..], b"bye"].concat()).await;
    }
}

#[tokio::test]
async fn another_server_is_tried_when_one_cannot_be_reached() {
    let (edge, address) = (Edge::start().await, free_address());
    let (absent, here) = (Server::absent().await, echo("here").await);
    put(&edge, "db", &route(address, &[], &[&absent, &here], json!({}))).await;
    for _ in 0..4 {
        hear(&mut connect(address).await, "here").await;
    }
    put(&edge, "db", &route(address, &[], &[&absent], json!({}))).await;
    let end = timeout(DEADLINE, connect(address).await.read(&mut [0])).await.expect("closed");
    assert!(end.is_err(), "a reset, not an end: {end:?}");
}

#[tokio::test]
async fn a_connection_outlives_its_servers_leaving_and_is_reported_until_it_ends() {
    let (edge, address) = (Edge::start().await, free_address());
    let [old, new] = [echo("old").await, echo("new").await];
    put(&edge, "db", &route(address, &[], &[&old], json!({}))).await;
    let mut client = connect(address).await;
    hear(&mut client, "old").await;
    put(&edge, "db", &route(address, &[], &[&new], json!({}))).await;
    hear(&mut connect(address).await, "new").await;
    client.write_all(b"still").await.unwrap();
    hear(&mut client, "still").await;
    assert_eq!(edge.status().await["draining"], json!([{ "url": old.url(), "in_flight": 1 }]));
    drop(client);
    eventually("nothing drains any more", || async { (edge.status().await["draining"] == json!([])).then_some(()) })
        .await;
    // Without a route nobody listens.
    edge.store.change(&[("/roadstead/routes/db", None)]).await;
    eventually("the address is left", || async { TcpStream::connect(address).await.err() }).await;
}

#[tokio::test]
async fn a_server_is_told_of_its_client_when_the_route_asks_for_it() {
    for version in ["v1", "v2"] {
        let (edge, address) = (Edge::start().await, free_address());
        let seen = Arc::new(AtomicUsize::new(0));
        let server = Server::raw({
            let seen = seen.clone();
            move |_, mut stream| {
                let seen = seen.clone();
                async move {
                    let mut bytes = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut bytes).await {
                        if let Ok(Parsed::Complete(header, used)) = parse(&bytes, Accepted::Either)
                            && bytes.len() > used
                        {
                            assert_eq!(&bytes[used..], b"!");
                            let ends = header.tcp().unwrap();
                            seen.store(usize::from(ends.source.port()), SeqCst);
                            let _closed = stream.write_all(ends.destination.to_string().as_bytes()).await;
                        }
                    }
                }
            }
        })
        .await;
        put(&edge, "db", &route(address, &[], &[&server], json!({ "send_proxy": version }))).await;
        let mut client = connect(address).await;
        client.write_all(b"!").await.unwrap();
        hear(&mut client, &address.to_string()).await;
        assert_eq!(seen.load(SeqCst), usize::from(client.local_addr().unwrap().port()));
    }
}

#[tokio::test]
async fn what_a_tcp_route_cannot_have_is_reported() {
    let (edge, server, address) = (Edge::start().await, echo("one").await, free_address());
    put(&edge, "a", &route(address, &["x"], &[&server], json!({}))).await;
    put(&edge, "b", &route(address, &["x"], &[&server], json!({}))).await;
    put(&edge, "c", &route(address, &[], &[&server], json!({ "rule": "Host(`a`)" }))).await;
    put(&edge, "d", &route(edge.address, &[], &[&server], json!({}))).await;
    let messages = eventually("all of it is reported", || async {
        let problems = edge.status().await["problems"].as_array()?.clone();
        let of = |id: &str| {
            let key = format!("/roadstead/routes/{id}");
            problems.iter().find(|problem| problem["key"] == key.as_str())?["message"].as_str().map(str::to_owned)
        };
        Some([of("b")?, of("c")?, of("d")?])
    })
    .await;
    assert_eq!(messages[0], "another route has x");
    assert!(messages[1].contains("a TCP route has no rule"), "{messages:?}");
    assert!(messages[2].contains("in use"), "{messages:?}");
}
