//! What comes to a listener of TLS and is no handshake, or none that ends.

use super::{DEADLINE, Ending, PATIENCE, is_well};
use crate::harness::{Edge, Server, config};
use crate::memory_store::MemoryStore;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The head of a handshake record that goes on for so many bytes (RFC 8446 §5.1).
fn record(length: u16) -> Vec<u8> {
    [&[0x16, 3, 1][..], &length.to_be_bytes()].concat()
}

#[tokio::test]
async fn whatever_comes_instead_of_a_handshake_is_closed() {
    let (store, any) = (Arc::new(MemoryStore::default()), SocketAddr::from(([127, 0, 0, 1], 0)));
    let client_times = edge::ClientTimes { head: PATIENCE, stall: PATIENCE };
    let seal_key = Some(identity::SealKey::from_bytes([7; 32]));
    let config = edge::Config { client_times, listen_tls: vec![any], seal_key, ..config(store.clone()) };
    let edge = Edge::of(config, store).await;
    let (address, server) = (edge.started.address("https").unwrap(), Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    // A ClientHello that says it has 16 MiB less one byte, in records of the greatest size: none of them is its last.
    let hello = [&record(16_384)[..], &[1, 0xff, 0xff, 0xff, 3, 3], &[7; 16_378]].concat();
    let rest = [record(16_384), vec![7; 16_384]].concat().repeat(20);
    let mut peers = JoinSet::new();
    for sent in [
        vec![],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\0\x01\x02\x03 garbage".repeat(1000),
        vec![0x80, 0x2e, 1, 3, 1],
        vec![0x15, 3, 3, 0, 2, 2, 40],
        vec![0x17, 3, 3, 0, 3, 1, 2, 3],
        vec![0x16],
        record(0),
        record(0xffff),
        [record(512), vec![1, 0, 1, 0xfc, 3, 3]].concat(),
        hello.clone(),
        [hello, rest].concat(),
    ] {
        for ending in [Ending::Stay, Ending::HalfClose, Ending::Close, Ending::Reset] {
            let sent = sent.clone();
            peers.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // Who was refused in the middle cannot send the rest, and is reset where it tries to read.
                let is_sent = timeout(DEADLINE, stream.write_all(&sent)).await.expect("it is read, or refused").is_ok();
                match ending {
                    Ending::Stay | Ending::HalfClose if !is_sent => {}
                    Ending::Stay => {
                        let ended = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
                        assert!(ended.is_ok(), "it is left open");
                    }
                    ending => drop(ending.of(stream).await),
                }
            });
        }
    }
    peers.join_all().await;
    is_well(&edge, "a").await;
}
