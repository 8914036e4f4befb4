//! Tunnels: whatever passes is not touched, and whoever leaves is missed.

use super::{DEADLINE, Ending, is_well};
use crate::harness::{Edge, Server, eventually, exchange, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const UPGRADE: &str = "GET /chat%2Froom?with=query HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Origin: http://b.example\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: a=b\r\n\r\n";

/// Bytes as frames have them: every value, in no order, with the reserved bit of permessage-deflate, pings and closes
/// among them.
fn frames(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 29 {
            0 => bytes.extend_from_slice(&[0xc1, 0x05, 0xf2, 0x48, 0xcd, 0xc9, 0xc9]),
            1 => bytes.extend_from_slice(&[0x89, 0x00, 0x8a, 0x80]),
            2 => bytes.extend_from_slice(&[0x88, 0x02, 0x03, 0xe8]),
            3 => bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n"),
            _ => bytes.extend_from_slice(&state.to_be_bytes()),
        }
    }
    bytes.truncate(length);
    bytes
}

/// Writes in pieces of any length, and reads what comes meanwhile.
async fn exchange_all(stream: &mut TcpStream, send: &[u8], expected: usize) -> Vec<u8> {
    let (mut from, mut to) = stream.split();
    let sending = async {
        let mut rest = send;
        for length in [1, 2, 125, 126, 4096, 65_535, 65_536, 7, 100_000].into_iter().cycle() {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            to.write_all(piece).await.unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    };
    let mut heard = vec![0; expected];
    let reading = async { from.read_exact(&mut heard).await.unwrap() };
    timeout(DEADLINE * 2, async { tokio::join!(sending, reading) }).await.expect("all of it");
    heard
}

/// 4 MiB each way at once, of bytes that look like frames and like HTTP: nothing is changed, added or lost; nor is what the
/// two sides agreed on in their heads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_changes_nothing_of_what_passes() {
    const BYTES: usize = 4 << 20;
    let edge = Edge::start().await;
    let (sender, mut heads) = mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await;
            if head.contains("/well") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                return;
            }
            sender.send(head).unwrap();
            stream.write_all(SWITCHED.as_bytes()).await.unwrap();
            let heard = exchange_all(&mut stream, &frames(2, BYTES), BYTES).await;
            assert!(heard == frames(1, BYTES), "what the client sent came otherwise");
            drop(stream.shutdown().await);
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    let switched = read_head(&mut client).await;
    for line in SWITCHED.lines().skip(3).filter(|line| !line.is_empty()) {
        assert!(switched.contains(&format!("\r\n{line}\r\n")), "{line}: {switched}");
    }
    let heard = exchange_all(&mut client, &frames(1, BYTES), BYTES).await;
    assert!(heard == frames(2, BYTES), "what the server sent came otherwise");
    assert_eq!(timeout(DEADLINE, client.read(&mut [0])).await.unwrap().unwrap(), 0, "the server's end");
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /chat%2Froom?with=query HTTP/1.1\r\n"), "{head}");
    for line in UPGRADE.lines().filter(|line| line.starts_with("Sec-") || line.starts_with("Origin")) {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    drop(client);
    is_well(&edge, "a").await;
}

/// A server that does not switch answers as any other, and the connection goes on.
#[tokio::test]
async fn a_refused_upgrade_is_a_response() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        while read_head(&mut stream).await.contains("HTTP/1.1") {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let requests = format!("{UPGRADE}{}", UPGRADE.replace("Connection: Upgrade", "Connection: close, Upgrade"));
    let answers = exchange(edge.address, &requests).await;
    assert_eq!(answers.matches("HTTP/1.1 403 Forbidden\r\n").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\nno"), "{answers}");
}

#[tokio::test]
async fn however_a_tunnel_is_abandoned_both_sides_end() {
    for (of_client, of_server) in [
        (Ending::Close, Ending::Stay),
        (Ending::Reset, Ending::Stay),
        (Ending::HalfClose, Ending::HalfClose),
        (Ending::Stay, Ending::Close),
        (Ending::Stay, Ending::Reset),
        (Ending::Reset, Ending::Reset),
        (Ending::Close, Ending::Close),
    ] {
        let edge = Edge::start().await;
        let (sender, mut ended) = mpsc::unbounded_channel();
        let server = Server::raw(move |_, mut stream| {
            let sender = sender.clone();
            async move {
                if read_head(&mut stream).await.contains("/well") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    return;
                }
                stream.write_all(SWITCHED.as_bytes()).await.unwrap();
                let mut hello = [0; 5];
                stream.read_exact(&mut hello).await.unwrap();
                stream.write_all(&hello).await.unwrap();
                of_server.of(stream).await;
                sender.send(()).unwrap();
            }
        })
        .await;
        edge.route("a", "a", &[&server]).await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = TcpStream::connect(edge.address).await.unwrap();
            client.write_all(UPGRADE.as_bytes()).await.unwrap();
            assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
            client.write_all(b"hello").await.unwrap();
            let mut hello = [0; 5];
            client.read_exact(&mut hello).await.unwrap();
            clients.push(client);
        }
        if of_server == Ending::Stay {
            let all = || async { (edge.metric("edge_tunnels ").await == 5.0).then_some(()) };
            eventually("all are tunnels", all).await;
        }
        for client in clients {
            of_client.of(client).await;
        }
        for _ in 0..5 {
            timeout(DEADLINE, ended.recv())
                .await
                .unwrap_or_else(|_| panic!("{of_client:?}, {of_server:?}: the server is left alone"));
        }
        is_well(&edge, "a").await;
    }
}
