//! Frames that cost nothing to send, sent without end: the edge says so and goes, and serves others on.

use super::{ask, connect, request};
use crate::harness::{DEADLINE, Edge, Server};
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `:method: GET`, `:scheme: http`, `:path: /` from HPACK's table, and `:authority: a` as text.
pub const HEADERS: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Sends frame after frame until the edge has gone; why it went.
async fn flood(edge: &Edge, mut next: impl FnMut(u32) -> Vec<u8> + Send) -> u32 {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut head = [0; 9];
        while reader.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            reader.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                return u32::from_be_bytes(payload[4..8].try_into().unwrap());
            }
        }
        panic!("it went without a word");
    };
    let writing = async {
        writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        writer.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        for number in 0.. {
            let frames: Vec<u8> = (0..50).flat_map(|more| next(number * 50 + more)).collect();
            if writer.write_all(&frames).await.is_err() {
                break;
            }
        }
        // It went; the other half says why.
        std::future::pending::<()>().await;
    };
    let why = async {
        tokio::select! {
            why = reading => why,
            () = writing => unreachable!("it waits"),
        }
    };
    timeout(3 * DEADLINE, why).await.expect("it ends")
}

#[tokio::test]
async fn every_flood_ends_with_a_word_and_others_are_served_on() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let (other, _connection) = connect(edge.address).await;
    let calm = u32::from(Reason::ENHANCE_YOUR_CALM);
    let id = |number: u32| number * 2 + 1;
    let get = |number| frame(1, END_STREAM | END_HEADERS, id(number), HEADERS);
    assert_eq!(flood(&edge, |_| frame(6, 0, 0, &[0; 8])).await, calm, "pings");
    assert_eq!(flood(&edge, |_| frame(4, 0, 0, &[])).await, calm, "settings");
    assert_eq!(flood(&edge, |_| frame(2, 0, 1, &[0, 0, 0, 3, 1])).await, calm, "priorities");
    let reset = |number| [get(number), frame(3, 0, id(number), &[0, 0, 0, 8])].concat();
    assert_eq!(flood(&edge, reset).await, calm, "rapid reset");
    let endless = |number| match number {
        0 => frame(1, 0, 1, HEADERS),
        _ => frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y']),
    };
    assert_eq!(flood(&edge, endless).await, calm, "continuations");
    let empty = |number| match number {
        0 => frame(1, END_HEADERS, 1, &[&[0x83], &HEADERS[1..]].concat()),
        _ => frame(0, 0, 1, &[]),
    };
    assert_eq!(flood(&edge, empty).await, calm, "empty data");
    assert_eq!(flood(&edge, |_| frame(99, 0, 0, &[0; 8])).await, calm, "frames nobody knows");
    assert_eq!(ask(&other, request("GET", "http://a/")).await.unwrap().status(), 200);
    edge.end().await;
}

/// Requests, each reset before it is answered, but only some: as a browser does whose user clicks on.
#[tokio::test]
async fn some_resets_are_none() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let (sender, _connection) = connect(edge.address).await;
    for _ in 0..100 {
        let mut sender = sender.clone().ready().await.unwrap();
        let (_, mut reset) = sender.send_request(request("GET", "http://a/"), true).unwrap();
        reset.send_reset(Reason::CANCEL);
    }
    for _ in 0..10 {
        assert_eq!(ask(&sender, request("GET", "http://a/")).await.unwrap().status(), 200);
    }
}
