//! Clients that reset a stream whatever the edge waits for just then: their server is let go of at once.

use super::{connect, request};
use crate::harness::{DEADLINE, Edge, Server, document, eventually, read_head};
use bytes::Bytes;
use h2::{Reason, SendStream};
use serde_json::{Value, json};
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Shorter than anything that would end by itself.
const AT_ONCE: Duration = Duration::from_secs(15);

async fn route(edge: &Edge, server: &Server, more: Value) {
    let document = document("Host(`a`)", &[server], more);
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

async fn in_flight(edge: &Edge, count: f64) {
    eventually("so many requests are in flight", || async {
        (edge.metric("edge_requests_in_flight ").await == count).then_some(())
    })
    .await;
}

async fn is_counted(edge: &Edge) {
    let counted = eventually("it is counted", || async {
        (edge.metric(r#"edge_requests_total{route="a",code="499"}"#).await == 1.0).then_some(())
    });
    timeout(AT_ONCE, counted).await.expect("a reset is noticed at once");
    timeout(AT_ONCE, in_flight(edge, 0.0)).await.expect("and ends the request");
}

/// Sends until nobody takes any more, for a while.
async fn fill(body: &mut SendStream<Bytes>) {
    loop {
        body.reserve_capacity(64 * 1024);
        let capacity = timeout(Duration::from_millis(500), poll_fn(|context| body.poll_capacity(context))).await;
        let Ok(capacity) = capacity else { return };
        body.send_data(vec![0; capacity.unwrap().unwrap()].into(), false).unwrap();
    }
}

#[tokio::test]
async fn while_the_server_takes_nothing_of_the_body() {
    let edge = Edge::start().await;
    let (said, mut says) = tokio::sync::mpsc::unbounded_channel();
    let (go, goes) = tokio::sync::watch::channel(false);
    let server = Server::raw(move |_, mut stream| {
        let (said, mut goes) = (said.clone(), goes.clone());
        async move {
            read_head(&mut stream).await;
            said.send("asked").unwrap();
            goes.wait_for(|go| *go).await.unwrap();
            let _reset = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            said.send("let go of").unwrap();
        }
    })
    .await;
    route(&edge, &server, json!({})).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let (response, mut body) = sender.send_request(request("POST", "http://a/"), false).unwrap();
    assert_eq!(timeout(DEADLINE, says.recv()).await.unwrap(), Some("asked"));
    fill(&mut body).await;
    body.send_reset(Reason::CANCEL);
    drop(response);
    is_counted(&edge).await;
    go.send(true).unwrap();
    assert_eq!(timeout(DEADLINE, says.recv()).await.unwrap(), Some("let go of"));
}

#[tokio::test]
async fn while_the_server_is_asked_whether_it_wants_the_body() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _end = stream.read(&mut [0]).await;
    })
    .await;
    route(&edge, &server, json!({})).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let mut asked = request("POST", "http://a/");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (response, mut body) = sender.send_request(asked, false).unwrap();
    in_flight(&edge, 1.0).await;
    body.send_reset(Reason::CANCEL);
    drop(response);
    is_counted(&edge).await;
}

#[tokio::test]
async fn while_the_server_is_connected_to() {
    let edge = Edge::start().await;
    let server = Server::black_hole().await;
    let patient = json!([{ "Id": "t", "Type": "timeouts", "Middleware": { "Dial": "5m" } }]);
    route(&edge, &server, json!({ "middlewares": patient })).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let (response, mut body) = sender.send_request(request("POST", "http://a/"), false).unwrap();
    in_flight(&edge, 1.0).await;
    body.send_reset(Reason::CANCEL);
    drop(response);
    is_counted(&edge).await;
}

/// An echo of nothing: neither side takes what the other one sent, so that no read shows the reset.
#[tokio::test]
async fn while_a_tunnel_stands_still() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    route(&edge, &server, json!({})).await;
    let (mut sender, _connection) = connect(edge.address).await;
    poll_fn(|context| sender.poll_ready(context)).await.unwrap();
    eventually("the edge's settings came", || async { sender.is_extended_connect_protocol_enabled().then_some(()) })
        .await;
    let mut asked = request("CONNECT", "http://a/");
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut body) = sender.send_request(asked, false).unwrap();
    assert_eq!(timeout(DEADLINE, response).await.unwrap().unwrap().status(), 200);
    fill(&mut body).await;
    body.send_reset(Reason::CANCEL);
    let ended = eventually("the tunnel ends", || async { (edge.metric("edge_tunnels ").await == 0.0).then_some(()) });
    timeout(AT_ONCE, ended).await.expect("a reset is noticed at once");
}
