//! A new process takes over from an old one, under load. Both are of this process here: what passes between them goes through
//! the same Unix socket.

mod crash;
mod halfway;
mod load;

use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, free_address};
use crate::memory_store::MemoryStore;
use crate::tls::{Authority, https, seal_key, shown};
use lifecycle::Stop;
use load::{Load, Way, ask};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const UPGRADES: usize = 5;

fn taking(data: &Path, store: &Arc<MemoryStore>, drain: Duration) -> edge::Config {
    let drain = edge::Drain { idle: drain, tunnels: drain };
    edge::Config { data: Some(data.to_owned()), take_over: true, drain, ..config(store.clone()) }
}

/// The same over TLS, too.
fn taking_secure(data: &Path, store: &Arc<MemoryStore>) -> edge::Config {
    let listen_tls = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    edge::Config { listen_tls, seal_key: Some(seal_key()), ..taking(data, store, DEADLINE) }
}

async fn pong() -> Server {
    Server::routing(axum::Router::new().fallback(|| async { "pong" })).await
}

/// Sends back what comes through a tunnel.
async fn echo() -> Server {
    Server::raw(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
        let switched = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        if stream.write_all(switched).await.is_ok() {
            let (mut from, mut to) = stream.split();
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        }
    })
    .await
}

async fn tunnel(address: SocketAddr, host: &str) -> TcpStream {
    let mut tunnel = TcpStream::connect(address).await.unwrap();
    let upgrade = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    tunnel.write_all(upgrade.as_bytes()).await.unwrap();
    let head = crate::harness::read_head(&mut tunnel).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    tunnel
}

async fn assert_echo(tunnel: &mut TcpStream) {
    let mut byte = [0];
    tunnel.write_all(b"x").await.unwrap();
    timeout(DEADLINE, tunnel.read_exact(&mut byte)).await.expect("the tunnel lives").unwrap();
    assert_eq!(&byte, b"x");
}

/// As another process of the edge would.
async fn say(stream: &mut UnixStream, message: &Value) {
    let bytes = message.to_string().into_bytes();
    stream.write_all(&[&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()).await.unwrap();
}

async fn heard(stream: &mut UnixStream) -> Value {
    let read = async {
        let mut bytes = vec![0; stream.read_u32().await.unwrap() as usize];
        stream.read_exact(&mut bytes).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    timeout(DEADLINE, read).await.expect("the other one says something")
}

/// Waits until the edge has ended a connection.
async fn assert_cut(stream: &mut (impl AsyncReadExt + Unpin)) {
    let read = timeout(DEADLINE, stream.read(&mut [0])).await.expect("an end in time");
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_upgrades_under_load_fail_no_request() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()), pong().await);
    let authority = Authority::new();
    let client = authority.client();
    let mut edge = Edge::of(taking_secure(data.path(), &store), store.clone()).await;
    edge.route("a", "a", &[&server]).await;
    let certificate = authority.document(&["a"], false);
    store.change(&[("/roadstead/certificates/a", Some(&certificate))]).await;
    eventually("the certificate is shown", || shown(&client, https(&edge), "a")).await;
    let addresses = |edge: &Edge| (edge.address, https(edge), edge.api);
    let (address, secure, api) = addresses(&edge);
    let load = Load::on(&[Way::clear(address), Way::tls(secure, authority.roots())]);
    load.goes_on().await;
    for _ in 0..UPGRADES {
        let next = Edge::of(taking_secure(data.path(), &store), store.clone()).await;
        assert_eq!(addresses(&next), (address, secure, api), "the same sockets");
        // A connection that the old one's API had accepted just now is closed unanswered; whoever asks asks again.
        eventually("the new one's API says that it is ready", || async {
            let asked = next.client.get(&format!("http://{api}/ready")).await;
            asked.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
        timeout(DEADLINE, edge.started.finished()).await.expect("the old one ends by itself").unwrap();
        edge = next;
        load.goes_on().await;
    }
    assert_eq!(load.end().await, Vec::<String>::new());
    edge.end().await;
}

/// That the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_that_close_and_bind_again_fail_requests() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()), pong().await);
    // Nobody else is given it while it is free, not even a client as its own end.
    let address = free_address();
    let listening = || edge::Config { listen: vec![address], ..taking(data.path(), &store, DEADLINE) };
    let mut edge = Edge::of(listening(), store.clone()).await;
    edge.route("a", "a", &[&server]).await;
    let load = Load::on(&[Way::clear(address)]);
    for _ in 0..UPGRADES {
        load.goes_on().await;
        edge.end().await;
        edge = Edge::of(listening(), store.clone()).await;
    }
    assert!(!load.end().await.is_empty());
}

#[tokio::test]
async fn a_tunnel_stays_with_the_old_process_until_its_bound_and_the_new_one_reports_it() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let server = echo().await;
    let old = Edge::of(taking(data.path(), &store, Duration::from_secs(3600)), store.clone()).await;
    old.route("a", "a", &[&server]).await;
    let mut tunnel = tunnel(old.address, "a").await;

    let new = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    // The server leaves: what the old process does still counts for both.
    let other = pong().await;
    new.route("a", "a", &[&other]).await;
    let busy = json!([{ "url": server.url(), "in_flight": 1 }]);
    eventually("the new process reports what the old one is busy with", || async {
        (new.status().await["draining"] == busy).then_some(())
    })
    .await;
    assert_echo(&mut tunnel).await;
    drop(tunnel);
    timeout(DEADLINE, old.started.finished()).await.expect("the old one ends with its last connection").unwrap();
    eventually("nothing is reported of it any more", || async {
        (new.status().await["draining"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_two_upgrades_in_a_row_the_last_process_still_reports_what_the_first_is_busy_with() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let (server, other) = (echo().await, pong().await);
    let first = Edge::of(taking(data.path(), &store, Duration::from_secs(3600)), store.clone()).await;
    first.route("a", "a", &[&server]).await;
    let mut tunnel = tunnel(first.address, "a").await;
    let second = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    second.route("a", "a", &[&other]).await;
    let third = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    // The second one has nobody to serve, and would have ended by now.
    let mut second = tokio::spawn(second.started.finished());
    assert!(timeout(Duration::from_secs(1), &mut second).await.is_err(), "it speaks for the first one");
    third.route("b", "b", &[&other]).await;
    assert_eq!(third.status().await["draining"], json!([{ "url": server.url(), "in_flight": 1 }]));
    assert_echo(&mut tunnel).await;
    drop(tunnel);
    timeout(DEADLINE, first.started.finished()).await.expect("the first one ends with its last connection").unwrap();
    timeout(DEADLINE, second).await.expect("and so does the second one").unwrap().unwrap();
    eventually("nothing is reported of them any more", || async {
        (third.status().await["draining"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_client_and_a_tunnel_are_cut_when_the_drain_is_over() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let (server, echo) = (pong().await, echo().await);
    // How long tunnels stay, and whether one is left when clients that idle are gone.
    for (tunnels, stays) in [(Duration::from_secs(3600), true), (Duration::from_millis(100), false)] {
        let drain = edge::Drain { idle: Duration::from_millis(200), tunnels };
        let old = Edge::of(edge::Config { drain, ..taking(data.path(), &store, DEADLINE) }, store.clone()).await;
        old.route("a", "a", &[&server]).await;
        old.route("b", "b", &[&echo]).await;
        let (mut kept, mut tunnel) = (None, tunnel(old.address, "b").await);
        ask(&Way::clear(old.address), &mut kept, true).await.unwrap();
        let new = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
        assert_cut(&mut kept.unwrap()).await;
        if stays {
            assert_echo(&mut tunnel).await;
            drop(tunnel);
        } else {
            assert_cut(&mut tunnel).await;
        }
        timeout(DEADLINE, old.started.finished()).await.expect("ended").unwrap();
        new.end().await;
    }
}

#[tokio::test]
async fn an_idle_client_of_http2_is_told_to_leave_at_once() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let old = Edge::of(taking(data.path(), &store, Duration::from_secs(3600)), store.clone()).await;
    let stream = TcpStream::connect(old.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    // Until then it waits at the socket that both have, and may be the new one's client.
    let is_served = || async { sender.is_extended_connect_protocol_enabled().then_some(()) };
    eventually("the old one's settings came", is_served).await;
    let _new = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    timeout(DEADLINE, connection).await.expect("the client leaves").unwrap().unwrap();
    timeout(DEADLINE, old.started.finished()).await.expect("and the old process ends").unwrap();
}

#[tokio::test]
async fn a_process_that_does_not_become_ready_changes_nothing() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()), pong().await);
    let edge = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    edge.route("a", "a", &[&server]).await;
    let load = Load::on(&[Way::clear(edge.address)]);
    for hello in
        [&br#"{"say":"hello","v":0,"program":"test"}"#[..], br#"{"say":"hello","v":9,"program":"test"}"#, b"{", b""]
    {
        let mut asker = UnixStream::connect(data.path().join("succession.sock")).await.unwrap();
        asker.write_all(&(hello.len() as u32).to_be_bytes()).await.unwrap();
        asker.write_all(hello).await.unwrap();
        let mut answer = [0; 16];
        let _heard = timeout(DEADLINE, asker.read(&mut answer)).await.expect("an answer or an end");
    }
    // One that fails for a reason of its own, after it was given everything.
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = stranger.local_addr().unwrap();
    let config = edge::Config { listen: vec![taken], ..taking(data.path(), &store, DEADLINE) };
    let error = edge::start(config, Stop::new()).await.unwrap_err();
    assert!(format!("{}", lifecycle::ErrorChain(&error)).contains("in use"), "{error}");
    load.goes_on().await;
    assert_eq!(load.end().await, Vec::<String>::new());
    // And another one can still take over.
    let next = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    assert_eq!(next.address, edge.address);
}

#[tokio::test]
async fn while_sockets_are_handed_over_the_old_process_opens_no_others() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()), pong().await);
    let old = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    old.route("a", "a", &[&server]).await;
    let mut asker = UnixStream::connect(data.path().join("succession.sock")).await.unwrap();
    say(&mut asker, &json!({ "say": "hello", "v": 0, "program": "test" })).await;
    assert_eq!(heard(&mut asker).await["say"], "sockets");
    let address = free_address();
    let listener =
        json!({ "Protocol": "http", "Address": { "Network": "tcp", "Address": address.to_string() } }).to_string();
    store.change(&[("/vulcand/listeners/l1", Some(&*listener))]).await;
    old.route("b", "b", &[&server]).await;
    let connected = || async { TcpStream::connect(address).await.ok() };
    let early = timeout(Duration::from_millis(300), eventually("the listener is open", connected)).await;
    assert!(early.is_err(), "it would be neither process' own");
    // The other one fails.
    drop(asker);
    eventually("the listener is open", connected).await;
}

#[tokio::test]
async fn listeners_of_the_store_and_of_tcp_routes_are_handed_over_too() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let server = Server::raw(|_, mut stream| async move {
        let _closed = stream.write_all(b"hello").await;
    })
    .await;
    let authority = Authority::new();
    let client = authority.client();
    let old = Edge::of(taking_secure(data.path(), &store), store.clone()).await;
    let (tcp, http, secure) = (free_address(), free_address(), free_address());
    let route = document("", &[&server], json!({ "tcp": { "listen": tcp.to_string() } }));
    let listener = |protocol: &str, address: SocketAddr| {
        let address = json!({ "Network": "tcp", "Address": address.to_string() });
        json!({ "Protocol": protocol, "Address": address }).to_string()
    };
    let certificate = authority.document(&["a"], false);
    store
        .change(&[
            ("/roadstead/certificates/a", Some(&*certificate)),
            ("/roadstead/routes/db", Some(&*route)),
            ("/vulcand/listeners/l1", Some(&*listener("http", http))),
            ("/vulcand/listeners/l2", Some(&*listener("https", secure))),
        ])
        .await;
    for address in [tcp, http, secure] {
        eventually("the listener is open", || async { TcpStream::connect(address).await.ok() }).await;
    }
    let new = Edge::of(taking_secure(data.path(), &store), store.clone()).await;
    for _ in 0..20 {
        let mut heard = String::new();
        let mut stream = TcpStream::connect(tcp).await.unwrap();
        timeout(DEADLINE, stream.read_to_string(&mut heard)).await.expect("an end").unwrap();
        assert_eq!(heard, "hello");
        TcpStream::connect(http).await.unwrap();
        assert!(shown(&client, secure, "a").await.is_some());
    }
    assert_eq!(new.status().await["problems"], json!([]));
    timeout(DEADLINE, old.started.finished()).await.expect("the old one ends by itself").unwrap();
}
