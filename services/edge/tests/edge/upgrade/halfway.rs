//! What the two processes have said to each other when one of them dies, or is slow: one of the two is the test.

use super::{Load, Way, heard, pong, say, taking};
use crate::harness::{DEADLINE, Edge};
use crate::memory_store::MemoryStore;
use lifecycle::{ErrorChain, Stop};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An old process: it has one thread, is quiet just now, and may still go on.
struct Old {
    address: SocketAddr,
    taker: UnixStream,
    new: JoinHandle<Result<lifecycle::Started, edge::Error>>,
}

impl Old {
    /// It has handed over everything, and heard that the new one is ready.
    async fn that_handed_over(data: &Path) -> Self {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = given.local_addr().unwrap();
        let given = socket2::Socket::from(given);
        given.set_reuse_port(true).unwrap();
        // BPF_RET | BPF_K: nothing is heard.
        given.attach_filter(&[socket2::SockFilter::new(0x06, 0, 0, 0)]).unwrap();
        let giver = UnixListener::bind(data.join("succession.sock")).unwrap();
        let store = Arc::new(MemoryStore::default());
        let config = edge::Config { listen: vec![address], ..taking(data, &store, DEADLINE) };
        let new = tokio::spawn(edge::start(config, Stop::new()));

        let (mut taker, _) = giver.accept().await.unwrap();
        assert_eq!(heard(&mut taker).await["say"], "hello");
        let sockets = json!([{ "of": "service", "asked": address, "count": 1 }]);
        say(&mut taker, &json!({ "say": "sockets", "v": 0, "sockets": sockets, "probe": "", "is_draining": false }))
            .await;
        let rights = [nix::sys::socket::ControlMessage::ScmRights(&[given.as_raw_fd()])];
        let (bytes, flags) = ([std::io::IoSlice::new(b"D")], nix::sys::socket::MsgFlags::empty());
        nix::sys::socket::sendmsg::<()>(taker.as_raw_fd(), &bytes, &rights, flags, None).unwrap();
        assert_eq!(heard(&mut taker).await["say"], "ready");
        Self { address, taker, new }
    }
}

fn report() -> Value {
    json!({ "say": "report", "cluster_id": 0, "revision": 0, "busy": [] })
}

#[tokio::test]
async fn until_it_serves_the_new_process_leaves_the_sockets_as_they_are() {
    assert!(std::thread::available_parallelism().unwrap().get() > 1, "with one thread there is nothing to see");
    let data = tempfile::tempdir().unwrap();
    let Old { address, mut taker, new } = Old::that_handed_over(data.path()).await;
    assert_eq!(listening(address), 1);
    let connecting = timeout(Duration::from_millis(200), TcpStream::connect(address)).await;
    assert!(connecting.is_err(), "still quiet: {connecting:?}");

    say(&mut taker, &report()).await;
    assert_eq!(heard(&mut taker).await["say"], "serving");
    assert_eq!(listening(address), 1, "the old one may not have heard it");
    say(&mut taker, &report()).await;
    let _started = timeout(DEADLINE, new).await.unwrap().unwrap().unwrap();
    assert!(listening(address) > 1, "one socket per thread");
    timeout(DEADLINE, TcpStream::connect(address)).await.expect("new clients are heard").unwrap();
}

/// The old one lost patience just then, and goes on.
#[tokio::test]
async fn a_new_process_whose_last_word_is_not_confirmed_does_not_serve() {
    let data = tempfile::tempdir().unwrap();
    let Old { address, mut taker, new } = Old::that_handed_over(data.path()).await;
    say(&mut taker, &report()).await;
    assert_eq!(heard(&mut taker).await["say"], "serving");
    drop(taker);
    let error = timeout(DEADLINE, new).await.unwrap().unwrap().unwrap_err();
    let error = ErrorChain(&error).to_string();
    assert!(error.contains("talk to the edge that runs here"), "{error}");
    assert!(listening(address) <= 1, "it opened no socket of its own");
}

/// The new process is the test.
#[tokio::test]
async fn a_new_process_that_dies_as_it_says_that_it_serves_leaves_the_old_one_serving() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()), pong().await);
    let old = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    old.route("a", "a", &[&server]).await;
    let load = Load::on(&[Way::clear(old.address)]);
    let mut new = UnixStream::connect(data.path().join("succession.sock")).await.unwrap();
    say(&mut new, &json!({ "say": "hello", "v": 0, "program": "test" })).await;
    let listeners = heard(&mut new).await["sockets"].as_array().unwrap().len();
    // One byte for each, with which its descriptors came: they are closed. More than one is never read at once.
    for _ in 0..listeners {
        timeout(DEADLINE, new.read_u8()).await.expect("its descriptors come").unwrap();
    }
    say(&mut new, &json!({ "say": "ready" })).await;
    assert_eq!(heard(&mut new).await["say"], "report");
    say(&mut new, &json!({ "say": "serving" })).await;
    drop(new);

    load.goes_on().await;
    assert_eq!(load.end().await, Vec::<String>::new());
    let next = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    assert_eq!(next.address, old.address);
    timeout(DEADLINE, old.started.finished()).await.expect("it has handed over this time").unwrap();
}

/// How many sockets listen on an address: proc_net_tcp of the kernel's documentation, state 0A.
fn listening(address: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{:04X}", address.port());
    let is_so = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&&*local) && fields.get(3) == Some(&"0A")
    };
    table.lines().filter(is_so).count()
}
