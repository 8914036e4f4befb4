//! Streams of bytes over mutual TLS.

use crate::cluster::{Cluster, DEADLINE, good_today};
use identity::{ClientCertificates, Role, Tls, names_one_of};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use web::tunnel;

pub struct Tunnel {
    /// What connects here reaches the target.
    pub entrance: SocketAddr,
    /// The end that speaks TLS.
    served_at: SocketAddr,
    stop: Stop,
    dialled: JoinHandle<()>,
    served: JoinHandle<()>,
}

impl Tunnel {
    pub async fn open(server: &Tls, client: &Tls, expects: Role, target: SocketAddr) -> Self {
        let stop = Stop::new();
        let [outside, inside] = [listener().await, listener().await];
        let (served_at, entrance) = (outside.local_addr().unwrap(), inside.local_addr().unwrap());
        let allow = names_one_of(&[Role::Registry, Role::Edge]);
        let config = server.server(ClientCertificates::Required);
        let served = tokio::spawn(tunnel::serve(outside, config, allow, target, stop.clone()));
        let config = client.client(Some(expects));
        let dialled = tokio::spawn(tunnel::dial(inside, config, served_at.to_string(), stop.clone()));
        Self { entrance, served_at, stop, dialled, served }
    }

    /// Ours to a target that answers once it has read everything.
    async fn to_a_listener(target: SocketAddr) -> Self {
        let cluster = Cluster::new("one");
        let (server, client) = (cluster.tls(Role::Node, "a"), cluster.tls(Role::Edge, "b"));
        Self::open(&server, &client, Role::Node, target).await
    }
}

pub async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Reads until the end, then sends everything back, turned around.
pub async fn reverser() -> SocketAddr {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await.unwrap();
                bytes.reverse();
                stream.write_all(&bytes).await.unwrap();
            });
        }
    });
    address
}

/// What comes back for `bytes` through the entrance; an error when the stream broke.
pub async fn exchange(entrance: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(entrance).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("an answer or an end in time")
}

#[tokio::test]
async fn bytes_go_through_and_the_end_of_one_direction_is_passed_on() {
    let tunnel = Tunnel::to_a_listener(reverser().await).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let exchanges = (0..8).map(|number| {
        let (entrance, sent) = (tunnel.entrance, sent[number..].to_vec());
        tokio::spawn(async move { (exchange(entrance, &sent).await.unwrap(), sent) })
    });
    for exchange in exchanges.collect::<Vec<_>>() {
        let (mut answer, sent) = exchange.await.unwrap();
        answer.reverse();
        assert!(answer == sent);
    }
}

#[tokio::test]
async fn a_role_that_is_not_allowed_gets_no_byte_through() {
    let cluster = Cluster::new("one");
    let server = cluster.tls(Role::Node, "a");
    let target = reverser().await;
    let allowed = Tunnel::open(&server, &cluster.tls(Role::Registry, "b"), Role::Node, target).await;
    assert_eq!(exchange(allowed.entrance, b"abc").await.unwrap(), b"cba");
    let refused = Tunnel::open(&server, &cluster.tls(Role::Agent, "b"), Role::Node, target).await;
    exchange(refused.entrance, b"abc").await.unwrap_err();
}

#[tokio::test]
async fn a_tunnel_is_closed_to_strangers_and_does_not_lead_to_them() {
    let [cluster, other] = ["one", "one"].map(Cluster::new);
    let server = cluster.tls(Role::Node, "a");
    let target = reverser().await;
    let mixed = other.certify(Role::Edge, "b", good_today());
    std::fs::write(&mixed.ca, cluster.ca.certificate_pem()).unwrap();
    let stranger = Tls::open(&other.identity_dir("b"), Role::Edge).unwrap();
    let from_stranger = Tunnel::open(&server, &stranger, Role::Node, target).await;
    exchange(from_stranger.entrance, b"abc").await.unwrap_err();
    let to_stranger = Tunnel::open(&server, &other.tls(Role::Edge, "c"), Role::Node, target).await;
    exchange(to_stranger.entrance, b"abc").await.unwrap_err();
    let to_another_role = Tunnel::open(&server, &cluster.tls(Role::Edge, "d"), Role::Controller, target).await;
    exchange(to_another_role.entrance, b"abc").await.unwrap_err();
    // Without TLS: not even an end of the handshake comes back as an answer.
    let answer = exchange(to_stranger.served_at, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.first() != Some(&b'H')));
}

/// A stream through the tunnel, open at both of its ends.
async fn open_stream() -> (Tunnel, TcpStream, TcpStream) {
    let target = listener().await;
    let tunnel = Tunnel::to_a_listener(target.local_addr().unwrap()).await;
    let stream = TcpStream::connect(tunnel.entrance).await.unwrap();
    let (inner, _) = tokio::time::timeout(DEADLINE, target.accept()).await.unwrap().unwrap();
    (tunnel, stream, inner)
}

/// Sends a few bytes and waits until they have arrived.
pub async fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"some").await.unwrap();
    let mut bytes = [0; 4];
    tokio::time::timeout(DEADLINE, to.read_exact(&mut bytes)).await.expect("bytes in time").unwrap();
    assert_eq!(&bytes, b"some");
}

#[tokio::test]
async fn a_stream_that_breaks_behind_the_tunnel_does_not_look_complete() {
    let (_tunnel, mut stream, mut inner) = open_stream().await;
    pass(&mut inner, &mut stream).await;
    socket2::SockRef::from(&inner).set_linger(Some(Duration::ZERO)).unwrap();
    drop(inner);
    let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_target_that_is_away_is_a_reset_and_the_tunnel_stays() {
    let target = listener().await;
    let address = target.local_addr().unwrap();
    drop(target);
    let tunnel = Tunnel::to_a_listener(address).await;
    exchange(tunnel.entrance, b"abc").await.unwrap_err();
    let back = TcpListener::bind(address).await.unwrap();
    let mut stream = TcpStream::connect(tunnel.entrance).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    let (mut inner, _) = tokio::time::timeout(DEADLINE, back.accept()).await.unwrap().unwrap();
    let mut bytes = [0; 3];
    inner.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"abc");
}

#[tokio::test]
async fn a_stop_lets_open_streams_end() {
    let (tunnel, mut stream, mut inner) = open_stream().await;
    tunnel.stop.request();
    while TcpStream::connect(tunnel.entrance).await.is_ok() {
        tokio::task::yield_now().await;
    }
    pass(&mut stream, &mut inner).await;
    stream.shutdown().await.unwrap();
    assert_eq!(inner.read(&mut [0]).await.unwrap(), 0);
    pass(&mut inner, &mut stream).await;
    drop(inner);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    for end in [tunnel.dialled, tunnel.served] {
        tokio::time::timeout(tunnel::DRAIN_GRACE / 2, end).await.expect("ended with its last stream").unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_outlives_the_grace_of_a_stop_is_cut() {
    let (tunnel, mut stream, _inner) = open_stream().await;
    let stopped = Instant::now();
    tunnel.stop.request();
    let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.expect("cut in time");
    assert!(matches!(end, Ok(0) | Err(_)));
    assert!(stopped.elapsed() >= tunnel::DRAIN_GRACE);
    for end in [tunnel.dialled, tunnel.served] {
        tokio::time::timeout(DEADLINE, end).await.unwrap().unwrap();
    }
}
