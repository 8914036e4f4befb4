//! What the edge does not hold in memory: idle connections own no buffer, and bodies pass through. In a process of its own,
//! whose memory is measured.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod harness;
#[path = "edge/memory_store.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod memory_store;

use harness::{Edge, Server, eventually, read_head};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// One measures at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// Bytes of this process in memory: the second field of statm is pages (proc(5)).
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// As many files as this process may have.
fn raise_file_limit() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    usize::try_from(hard).unwrap_or(usize::MAX)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_idle_connection_owns_no_buffer() {
    let _alone = MEASURING.lock().await;
    let connections = 5000.min((raise_file_limit() - 200) / 2);
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let ask = async |client: &mut TcpStream| {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_head(client).await.starts_with("HTTP/1.1 200 OK"));
        client.read_exact(&mut [0; 2]).await.unwrap();
    };
    let mut clients = Vec::with_capacity(connections);
    let mut before = 0;
    for number in 0..connections {
        // What is there once is there by then.
        if number == connections / 10 {
            before = resident_bytes();
        }
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        ask(&mut client).await;
        clients.push(client);
    }
    let each = resident_bytes().saturating_sub(before) / (connections - connections / 10);
    // Two tokio sockets (the client's is this test's) and a task; the least buffer that were one would be 4 KiB.
    assert!(each < 2560, "{each} bytes for each of {connections} idle connections");
    for client in &mut clients {
        ask(client).await;
    }
}

#[tokio::test]
async fn a_large_body_passes_in_constant_memory_both_ways() {
    const BODY_BYTES: u64 = 512 << 20;
    const BLOCK: usize = 64 * 1024;
    const GROWTH_BYTES_MAX: usize = 8 << 20;
    let _alone = MEASURING.lock().await;
    let edge = Edge::start().await;
    // Takes what comes, and sends as much back.
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let taken = tokio::io::copy(&mut (&mut stream).take(BODY_BYTES), &mut tokio::io::sink()).await.unwrap();
        assert_eq!(taken, BODY_BYTES);
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").as_bytes()).await.unwrap();
        tokio::io::copy(&mut tokio::io::repeat(b'x').take(BODY_BYTES), &mut stream).await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let mut block = vec![0; BLOCK];
    let (before, mut most) = (resident_bytes(), 0);
    for number in 0..BODY_BYTES / BLOCK as u64 {
        client.write_all(&block).await.unwrap();
        if number.is_multiple_of(256) {
            most = most.max(resident_bytes());
        }
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
    let mut left = BODY_BYTES;
    while left > 0 {
        let count = client.read(&mut block).await.unwrap();
        assert!(count > 0 && (block[0], block[count - 1]) == (b'x', b'x'));
        left -= count as u64;
        if left.is_multiple_of(16) {
            most = most.max(resident_bytes());
        }
    }
    assert!(most < before + GROWTH_BYTES_MAX, "{before} bytes before, {most} at most");
    edge.until_metric("edge_requests_total{route=\"a\",code=\"200\"}", 1.0).await;
    let sent = edge.metric("edge_route_request_bytes_total{route=\"a\"}").await;
    assert!((BODY_BYTES as f64..BODY_BYTES as f64 + 1024.0).contains(&sent), "{sent}");
}

/// The largest object that S3 takes in one request (5 GiB), sent as S3's clients do: its body follows the server's consent, and
/// what was signed arrives as it was written. It is made and thrown away in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_upload_of_s3_passes_in_constant_memory_once_the_server_wants_it() {
    const BODY_BYTES: u64 = 5 << 30;
    const BLOCK: usize = 1 << 20;
    const GROWTH_BYTES_MAX: usize = 4 << 20;
    const LINE: &str = "PUT /a%2Fb//c+d%20e?partNumber=1&uploadId=%7E HTTP/1.1\r\n";
    const SIGNED: [&str; 4] = [
        "Host: Pictures.s3.localhost:8181",
        "Authorization: AWS4-HMAC-SHA256 Credential=k/20150111/us-east-1/s3/aws4_request, \
         SignedHeaders=expect;host;x-amz-content-sha256;x-amz-date, Signature=0",
        "X-Amz-Content-SHA256: UNSIGNED-PAYLOAD",
        "x-amz-meta-odd:   two  spaces",
    ];
    let _alone = MEASURING.lock().await;
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(LINE) && head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
        for line in SIGNED {
            let (name, value) = line.split_once(':').unwrap();
            assert!(head.contains(&format!("\r\n{name}: {}\r\n", value.trim())), "{line}: {head}");
        }
        assert!(stream.try_read(&mut [0]).is_err(), "nothing of the body is sent unasked");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let (mut block, mut taken) = (vec![0; BLOCK], 0);
        while taken < BODY_BYTES {
            let count = stream.read(&mut block).await.unwrap();
            assert!(count > 0, "it broke off after {taken} bytes");
            // Each block says which it is, wherever it is cut.
            let first = (taken as usize).next_multiple_of(BLOCK) - taken as usize;
            if first + 8 <= count {
                assert_eq!(block[first..first + 8], (taken + first as u64).to_be_bytes());
            }
            taken += count as u64;
        }
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let document =
        harness::document("HostRegexp(`s3.localhost$`)", &[&server], serde_json::json!({ "pass_host_header": true }));
    let revision = edge.store.change(&[("/roadstead/routes/s3", Some(&document))]).await;
    edge.applied(revision).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let signed = SIGNED.join("\r\n");
    let head = format!("{LINE}{signed}\r\nContent-Length: {BODY_BYTES}\r\nExpect: 100-continue\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    let mut block = vec![0; BLOCK];
    let (begun, before, mut most) = (Instant::now(), resident_bytes(), 0);
    for number in 0..BODY_BYTES / BLOCK as u64 {
        block[..8].copy_from_slice(&(number * BLOCK as u64).to_be_bytes());
        client.write_all(&block).await.unwrap();
        if number.is_multiple_of(64) {
            most = most.max(resident_bytes());
        }
    }
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));
    println!("5 GiB in {:?}, {} bytes more", begun.elapsed(), most.saturating_sub(before));
    assert!(most < before + GROWTH_BYTES_MAX, "{before} bytes before, {most} at most");
}

#[tokio::test]
async fn slow_bodies_that_are_kept_are_on_disk_and_not_in_memory() {
    const CLIENTS: usize = 100;
    const BLOCK: usize = 64 * 1024;
    const BLOCKS: usize = 16;
    const GROWTH_BYTES_MAX: usize = 56 << 20;
    let _alone = MEASURING.lock().await;
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let bytes = (CLIENTS * BLOCKS) as u64;
        let taken = tokio::io::copy(&mut (&mut stream).take((BLOCK * BLOCKS) as u64), &mut tokio::io::sink()).await;
        assert!(taken.unwrap() > bytes);
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let asked = serde_json::json!({ "balance": { "buffer": { "memory_bytes": 16 * 1024 } } });
    let document = harness::document("Host(`a`)", &[&server], asked);
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", BLOCK * BLOCKS);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        clients.push(client);
    }
    let block = vec![0; BLOCK];
    let before = resident_bytes();
    // All but the last block of each.
    for _ in 1..BLOCKS {
        for client in &mut clients {
            client.write_all(&block).await.unwrap();
        }
    }
    let kept = (CLIENTS * (BLOCKS - 1) * BLOCK) as f64;
    eventually("it is kept", || async {
        let disk = edge.metric("edge_buffered_disk_bytes").await;
        let memory = edge.metric("edge_buffered_memory_bytes").await;
        (disk + memory >= kept).then_some(())
    })
    .await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes for {kept} that are kept");
    for client in &mut clients {
        client.write_all(&block).await.unwrap();
        assert!(read_head(client).await.starts_with("HTTP/1.1 200 OK"));
    }
}

/// A client that takes nothing makes the edge hold what it read at once of a response, and no more; then it is cut.
#[tokio::test]
async fn clients_that_do_not_read_hold_little_memory() {
    const CLIENTS: usize = 200;
    /// The read buffer's size, and half of it for the allocator.
    const EACH_BYTES_MAX: usize = 192 * 1024;
    let _alone = MEASURING.lock().await;
    let store = std::sync::Arc::new(memory_store::MemoryStore::default());
    let client_times = edge::ClientTimes { stall: std::time::Duration::from_secs(1), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..harness::config(store.clone()) }, store).await;
    // In chunks, so that it does not go through the kernel alone.
    let endless = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    edge.route("a", "a", &[&endless]).await;
    let before = resident_bytes();
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    let mut most = 0;
    let all_are_cut = async {
        while edge.metric("edge_requests_total{route=\"a\",code=\"499\"}").await < CLIENTS as f64 {
            // The servers' blocks are this process's, too: one each.
            most = most.max(resident_bytes().saturating_sub(CLIENTS * 0x10000));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), all_are_cut).await.expect("all are cut");
    assert!(most < before + CLIENTS * EACH_BYTES_MAX, "{before} bytes before, {most} at most");
}

/// 128 responses that never end, to a client that opens its windows wide and reads nothing: what waits for it is bounded.
#[tokio::test]
async fn a_client_that_reads_nothing_fills_no_memory() {
    const WINDOW: u32 = 1 << 30;
    let _alone = MEASURING.lock().await;
    let edge = Edge::start().await;
    let (begun, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asked, written) = (begun.clone(), sent.clone());
    let server = Server::raw(move |_, mut stream| {
        let (asked, written) = (asked.clone(), written.clone());
        async move {
            read_head(&mut stream).await;
            asked.fetch_add(1, SeqCst);
            let _left = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let chunk = [&b"4000\r\n"[..], &[7; 0x4000], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {
                written.fetch_add(chunk.len(), SeqCst);
            }
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let before = resident_bytes();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut put = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        frames.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        frames.extend_from_slice(&[kind, flags]);
        frames.extend_from_slice(&stream.to_be_bytes());
        frames.extend_from_slice(payload);
    };
    // SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_UPDATE of the connection, and `GET http://a/` 128 times.
    put(4, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
    put(8, 0, 0, &WINDOW.to_be_bytes());
    (0..128).for_each(|number| put(1, 5, 2 * number + 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a']));
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(&frames).await.unwrap();
    eventually("all are served", || async { (begun.load(SeqCst) == 128).then_some(()) }).await;
    let (mut last, mut since) = (0, Instant::now());
    eventually("nothing moves any more", || {
        let now = sent.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let rests = since.elapsed() > Duration::from_millis(500);
        async move { rests.then_some(()) }
    })
    .await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more, of {last} that were sent");
}
