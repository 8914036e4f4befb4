//! Good and bad peers at once, over connections that they share.

use super::{Ending, is_well};
use crate::harness::{Edge, Server, document, read_head};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: u32 = 24;
const REQUESTS: u32 = 60;
const BODY_BYTES_MAX: usize = 200_000;
/// How long who leaves looks at the response first.
const SHORT_WHILE: Duration = Duration::from_millis(10);

/// Numbers in no order, the same in every run.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % bound
    }
}

/// What answers a target: as many times the target as make up so many bytes.
fn body(target: &str, length: usize) -> Vec<u8> {
    target.bytes().cycle().take(length).collect()
}

/// Answers `/<client>/<number>/<length>` with its own name, framed in one way or another; some connections it ends.
async fn echo(number: usize, mut stream: TcpStream) {
    let mut numbers = Numbers(number as u32);
    loop {
        let head = read_head(&mut stream).await;
        let Some(target) = head.split(' ').nth(1).map(str::to_owned) else { return };
        let length = target.rsplit('/').next().unwrap().parse().unwrap_or(2);
        if head.contains("Content-Length: 5") && stream.read_exact(&mut [0; 5]).await.is_err() {
            return;
        }
        let body = body(&target, length);
        let ends = numbers.below(10) == 0;
        let mut answer = Vec::new();
        match numbers.below(3) {
            0 => {
                answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(10_007) {
                    answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    answer.extend_from_slice(piece);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"0\r\n\r\n");
            }
            _ => {
                answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
                answer.extend_from_slice(&body);
            }
        }
        if stream.write_all(&answer).await.is_err() || ends {
            return;
        }
    }
}

/// The body of a response.
async fn read_body(stream: &mut TcpStream, head: &str) -> Vec<u8> {
    let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
    if let Some(length) = head.lines().find_map(length) {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        return body;
    }
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap();
        let at = body.len();
        body.resize(at + size, 0);
        stream.read_exact(&mut body[at..]).await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        if size == 0 {
            return body;
        }
    }
}

async fn client(address: SocketAddr, name: u32) {
    let mut numbers = Numbers(name);
    let mut stream = TcpStream::connect(address).await.unwrap();
    for number in 0..REQUESTS {
        let length = numbers.below(2) * numbers.below(BODY_BYTES_MAX as u32) + numbers.below(100);
        let target = format!("/{name}/{number}/{length}");
        let request = match numbers.below(4) {
            // A POST to a connection that the server has just ended cannot be sent again; GETs can.
            0 => format!("GET {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
            _ => format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        if numbers.below(5) == 0 {
            // Leaves in the middle, in any way, and comes again.
            let mut part = vec![0; numbers.below(5000) as usize];
            drop(timeout(SHORT_WHILE, stream.read_exact(&mut part)).await);
            let ending = if numbers.below(2) == 0 { Ending::Close } else { Ending::Reset };
            ending.of(stream).await;
            stream = TcpStream::connect(address).await.unwrap();
            continue;
        }
        let head = read_head(&mut stream).await;
        if head.starts_with("HTTP/1.1 502 ") && request.ends_with("hello") {
            // With a body it may have met that end.
            let _said = read_body(&mut stream, &head).await;
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        let heard = read_body(&mut stream, &head).await;
        assert!(
            heard == body(&target, length as usize),
            "{target} was answered {:.40}",
            String::from_utf8_lossy(&heard)
        );
    }
}

/// Clients leave in the middle of responses, servers end connections, bodies are long and short: each response is the one
/// to its request, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_anothers_answer() {
    let edge = Edge::start().await;
    let servers = [Server::raw(echo).await, Server::raw(echo).await];
    // Bodies as they come, and kept so that they can be sent again.
    for balance in [json!({}), json!({ "buffer": { "memory_bytes": 3 } })] {
        let document = document("Host(`a`)", &[&servers[0], &servers[1]], json!({ "balance": balance }));
        let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
        edge.applied(revision).await;
        let mut clients = JoinSet::new();
        for name in 0..CLIENTS {
            clients.spawn(client(edge.address, name));
        }
        clients.join_all().await;
        is_well(&edge, "a").await;
    }
}
