//! Streams of one connection whose client takes less than there is: each has its share.

use super::floods::{END_HEADERS, END_STREAM, HEADERS, frame};
use crate::harness::{DEADLINE, Edge, Server, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const BODY_BYTES: usize = 64 << 20;
const READ_BYTES: usize = 16 << 20;

/// The client's windows are as wide as there are, and its socket is what limits it; or its connection's window is, which it opens as
/// it reads.
#[tokio::test]
async fn large_responses_come_side_by_side() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'~'; 1 << 16];
        // The client leaves before it has all.
        while stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    for opens in [None, Some(65_535)] {
        let shares = timeout(3 * DEADLINE, read_of_each(&edge, opens)).await.expect("they come");
        assert!(shares.iter().all(|bytes| *bytes > READ_BYTES / 6), "{opens:?}: {shares:?}");
    }
}

/// How many bytes came of each of three. `opens`: the connection's window stays as small as it is in the beginning.
async fn read_of_each(edge: &Edge, opens: Option<u32>) -> [usize; 3] {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let widest = frame(4, 0, 0, &[&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat());
    let mut said = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &widest[..]].concat();
    if opens.is_none() {
        said.extend(frame(8, 0, 0, &0x4000_0000_u32.to_be_bytes()));
    }
    said.extend([1, 3, 5].into_iter().flat_map(|id| frame(1, END_STREAM | END_HEADERS, id, HEADERS)));
    stream.write_all(&said).await.unwrap();
    let (mut shares, mut unsaid, mut head, mut payload) = ([0; 3], 0, [0; 9], Vec::new());
    while shares.iter().sum::<usize>() < READ_BYTES {
        stream.read_exact(&mut head).await.unwrap();
        payload.resize(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize, 0);
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 0 {
            shares[usize::from(head[8]) / 2] += payload.len();
            unsaid += payload.len() as u32;
        }
        if opens.is_some_and(|window| unsaid >= window / 2) {
            stream.write_all(&frame(8, 0, 0, &unsaid.to_be_bytes())).await.unwrap();
            unsaid = 0;
        }
    }
    shares
}
