//! HTTP/2 in front, as a client that speaks it sees it.

mod agreed;
mod floods;
mod grpc;
mod resets;
mod servers;
mod sharing;

use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, exchange, json_of, read_head};
use crate::memory_store::MemoryStore;
use crate::tls::{Authority, https, secure_edge};
use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use serde_json::json;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A connection of HTTP/2 by prior knowledge; the task ends with it.
async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: &str, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

/// A whole body, with what comes behind it.
async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

/// A request without a body, to its end.
async fn ask(sender: &SendRequest<Bytes>, request: Request<()>) -> Result<Response<Bytes>, h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let (response, _) = sender.send_request(request, true)?;
    let (parts, body) = timeout(DEADLINE, response).await.expect("an answer in time")?.into_parts();
    let (bytes, _) = timeout(DEADLINE, read(body)).await.expect("a body in time")?;
    Ok(Response::from_parts(parts, bytes.into()))
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_side_by_side() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a.example", &[&server]).await;
    let (sender, connection) = connect(edge.address).await;
    let asked = (0..100).map(|number| {
        let mut asked = request("GET", &format!("http://a.example/p?n={number}"));
        for crumb in ["x=1", "y=2"] {
            asked.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        ask(&sender, asked)
    });
    for (number, answered) in futures::future::join_all(asked).await.into_iter().enumerate() {
        let answered = answered.unwrap();
        let seen = json_of(&answered);
        assert_eq!((answered.status().as_u16(), seen["target"].as_str()), (200, Some(&*format!("/p?n={number}"))));
        let headers = seen["headers"].to_string();
        assert!(headers.contains(r#"["x-forwarded-host","a.example"]"#), "{headers}");
        assert!(headers.contains(r#"["cookie","x=1; y=2"]"#) && !headers.contains("connection"), "{headers}");
    }
    let missing = ask(&sender, request("GET", "http://nobody/")).await.unwrap();
    assert_eq!((missing.status().as_u16(), json_of(&missing)), (404, json!({"error": "not found"})));
    drop(sender);
    timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn over_tls_it_is_agreed_on() {
    let (edge, authority, server) = (secure_edge().await, Authority::new(), Server::named("one").await);
    edge.route("a", "a.example", &[&server]).await;
    let document = authority.document(&["a.example"], true);
    edge.store.change(&[("/roadstead/certificates/a", Some(&document))]).await;
    let builder = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(authority.roots()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = eventually("the certificate is shown", || async {
        let stream = TcpStream::connect(https(&edge)).await.ok()?;
        connector.connect("a.example".try_into().unwrap(), stream).await.ok()
    })
    .await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = client::handshake(stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    for _ in 0..10 {
        let answer = ask(&sender, request("GET", "https://a.example/")).await.unwrap();
        let headers = json_of(&answer)["headers"].to_string();
        assert!(answer.status() == 200 && headers.contains(r#"["x-forwarded-proto","https"]"#), "{headers}");
    }
}

#[tokio::test]
async fn bodies_go_both_ways_with_their_trailers() {
    let edge = Edge::start().await;
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let heard = heard.clone();
        async move {
            let mut came = read_head(&mut stream).await;
            while !came.ends_with("\r\nx-sum: 7\r\n\r\n") {
                came.push(char::from(stream.read_u8().await.unwrap()));
            }
            heard.send(came).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n\
                           3\r\nabc\r\n2\r\nde\r\n0\r\nx-end: yes\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let mut asked = request("POST", "http://a/");
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut body) = sender.send_request(asked, false).unwrap();
    body.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let came = timeout(DEADLINE, hears.recv()).await.unwrap().unwrap();
    assert!(came.contains("\r\nTE: trailers\r\n") && came.contains("\r\n5\r\nhello\r\n0\r\n"), "{came}");
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    assert_eq!(response.headers()["trailer"], "x-end");
    assert!(!response.headers().contains_key("transfer-encoding"));
    let (bytes, trailers) = read(response.into_body()).await.unwrap();
    assert_eq!((&bytes[..], &trailers.unwrap()["x-end"]), (&b"abcde"[..], &"yes".parse().unwrap()));
}

#[tokio::test]
async fn a_large_body_goes_both_ways_within_the_windows() {
    let edge = Edge::start().await;
    let echo = axum::Router::new().fallback(|request: axum::extract::Request| async move { request.into_body() });
    let server = Server::routing(echo.layer(axum::extract::DefaultBodyLimit::disable())).await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    for length in [None, Some(8 << 20)] {
        let mut asked = request("POST", "http://a/");
        if let Some(length) = length {
            asked.headers_mut().insert("content-length", http::HeaderValue::from(length));
        }
        let (response, mut body) = sender.send_request(asked, false).unwrap();
        let sending = tokio::spawn(async move {
            let mut sent = 0_usize;
            while sent < 8 << 20 {
                body.reserve_capacity(100_000);
                let room = poll_fn(|context| body.poll_capacity(context)).await.unwrap().unwrap();
                let count = room.min((8 << 20) - sent);
                let data: Vec<u8> = (sent..sent + count).map(|at| (at % 251) as u8).collect();
                sent += count;
                body.send_data(data.into(), sent == 8 << 20).unwrap();
            }
        });
        let (bytes, _) = timeout(6 * DEADLINE, read(response.await.unwrap().into_body())).await.unwrap().unwrap();
        assert_eq!(bytes.len(), 8 << 20);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn interim_responses_and_bodiless_ones_are_passed_on() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer: &[u8] = match head.split(' ').nth(1) {
                Some("/hints") => {
                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                Some("/none") => b"HTTP/1.1 204 No Content\r\n\r\n",
                Some("/head") => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Some("/until") => b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it",
                _ => return,
            };
            stream.write_all(answer).await.unwrap();
            if answer.ends_with(b"it") {
                return;
            }
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let (mut response, _) = sender.send_request(request("GET", "http://a/hints"), true).unwrap();
    let hints = poll_fn(|context| response.poll_informational(context)).await.unwrap().unwrap();
    assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a>".parse().unwrap()));
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(ask(&sender, request("GET", "http://a/none")).await.unwrap().status(), 204);
    let head = ask(&sender, request("HEAD", "http://a/head")).await.unwrap();
    assert_eq!((&head.headers()["content-length"], head.body().len()), (&"5".parse().unwrap(), 0));
    let until = ask(&sender, request("GET", "http://a/until")).await.unwrap();
    assert_eq!(&until.body()[..], b"all of it");
    assert!(!until.headers().contains_key("connection"));
}

#[tokio::test]
async fn a_client_that_expects_is_told_to_continue() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let mut asked = request("PUT", "http://a/");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut body) = sender.send_request(asked, false).unwrap();
    let told = timeout(DEADLINE, poll_fn(|context| response.poll_informational(context))).await.unwrap();
    assert_eq!(told.unwrap().unwrap().status(), 100);
    body.send_data("hello".into(), true).unwrap();
    let (bytes, _) = read(response.await.unwrap().into_body()).await.unwrap();
    assert!(String::from_utf8(bytes).unwrap().contains(r#""body_bytes":5"#));
}

#[tokio::test]
async fn an_answer_before_the_request_has_ended_ends_its_stream_only() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").await.unwrap();
    })
    .await;
    let other = Server::named("other").await;
    edge.route("a", "a", &[&server]).await;
    edge.route("b", "b", &[&other]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let (response, mut body) = sender.send_request(request("POST", "http://a/"), false).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(read(response.into_body()).await.unwrap().0, b"big");
    let reason = timeout(DEADLINE, poll_fn(|context| body.poll_reset(context))).await.unwrap().unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    assert_eq!(ask(&sender, request("GET", "http://b/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_resets_its_stream_has_left() {
    let edge = Edge::start().await;
    let (left, mut leaves) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            left.send("asked").unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
            left.send("left").unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    for is_all in [true, false] {
        let (response, mut body) = sender.send_request(request("POST", "http://a/"), is_all).unwrap();
        assert_eq!(timeout(DEADLINE, leaves.recv()).await.unwrap(), Some("asked"));
        body.send_reset(Reason::CANCEL);
        drop(response);
        assert_eq!(timeout(DEADLINE, leaves.recv()).await.unwrap(), Some("left"));
    }
    eventually("both are counted", || async {
        let left = edge.metric(r#"edge_requests_total{route="a",code="499"}"#).await;
        (left == 2.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_taken_for_the_whole() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (sender, _connection) = connect(edge.address).await;
    let error = ask(&sender, request("POST", "http://a/")).await.unwrap_err();
    assert!(error.is_reset() && error.reason() == Some(Reason::INTERNAL_ERROR), "{error}");
}

#[tokio::test]
async fn a_request_that_names_two_hosts_is_reset() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let (sender, _connection) = connect(edge.address).await;
    let mut asked = request("GET", "http://a/");
    asked.headers_mut().insert("host", "b".parse().unwrap());
    let error = ask(&sender, asked).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    let tunnel = Request::builder().method("CONNECT").uri("a:80").body(()).unwrap();
    assert_eq!(ask(&sender, tunnel).await.unwrap().status(), 405);
    assert_eq!(ask(&sender, request("GET", "http://u@a/")).await.unwrap().status(), 400);
    assert_eq!(ask(&sender, request("GET", "http://a/")).await.unwrap().status(), 200);
}

/// Another proxy's connection carries requests of many clients.
#[tokio::test]
async fn a_connection_that_carried_http1_does_not_become_http2() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.contains("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 505 "), "{answer}");
    let mut slow = TcpStream::connect(edge.address).await.unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        slow.write_all(&[*byte]).await.unwrap();
    }
    let mut settings = [0; 9];
    timeout(DEADLINE, slow.read_exact(&mut settings)).await.unwrap().unwrap();
    assert_eq!(settings[3], 4, "the edge's settings come first");
}

#[tokio::test]
async fn a_client_that_idles_is_told_to_go() {
    let store = Arc::new(MemoryStore::default());
    let client_times = edge::ClientTimes { head: Duration::from_secs(1), ..edge::ClientTimes::default() };
    let edge = Edge::of(edge::Config { client_times, ..config(store.clone()) }, store).await;
    let (sender, connection) = connect(edge.address).await;
    // Nothing but the preface, or less.
    let preface = exchange(edge.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let part = exchange(edge.address, "PRI * HTTP/2.0\r\n\r\n");
    let (connection, ..) = tokio::join!(timeout(DEADLINE, connection), preface, part);
    connection.unwrap().unwrap().unwrap();
    assert!(ask(&sender, request("GET", "http://a/")).await.is_err());
}

#[tokio::test]
async fn a_stop_lets_streams_end_and_takes_no_more() {
    let edge = Edge::start().await;
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let (go, goes) = tokio::sync::watch::channel(false);
    let server = Server::raw(move |_, mut stream| {
        let (asked, mut goes) = (asked.clone(), goes.clone());
        async move {
            read_head(&mut stream).await;
            asked.send(()).unwrap();
            goes.wait_for(|go| *go).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, connection) = connect(edge.address).await;
    let (response, _) = sender.send_request(request("GET", "http://a/"), true).unwrap();
    timeout(DEADLINE, asks.recv()).await.unwrap().unwrap();
    edge.stop.request();
    eventually("the client is told", || async { sender.clone().ready().await.is_err().then_some(()) }).await;
    go.send(true).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    assert_eq!(read(response.into_body()).await.unwrap().0, b"ok");
    timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
    edge.end().await;
}

/// RFC 8441.
#[tokio::test]
async fn a_websocket_goes_through_a_stream() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.starts_with("get /chat http/1.1\r\n") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        let key = head.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert_eq!(key.len(), 24, "16 bytes in base64");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut frame = [0; 4];
        while stream.read_exact(&mut frame).await.is_ok() {
            frame.reverse();
            stream.write_all(&frame).await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let (mut sender, _connection) = connect(edge.address).await;
    eventually("the edge's settings came", || async { sender.is_extended_connect_protocol_enabled().then_some(()) })
        .await;
    let mut asked = request("CONNECT", "http://a/chat");
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut up) = sender.send_request(asked, false).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut down = response.into_body();
    for frame in ["abcd", "efgh"] {
        up.send_data(frame.into(), false).unwrap();
        let came = timeout(DEADLINE, down.data()).await.unwrap().unwrap().unwrap();
        assert!(came.iter().rev().eq(frame.as_bytes()));
        down.flow_control().release_capacity(came.len()).unwrap();
    }
    up.send_data(Bytes::new(), true).unwrap();
    let (rest, _) = timeout(DEADLINE, read(down)).await.unwrap().unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn middlewares_see_a_request_as_any_other() {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    let middlewares = json!([{ "Id": "b", "Type": "basicauth", "Middleware": { "Users": ["cy:{PLAIN}a"] } }]);
    let document = document("Host(`a`)", &[&server], json!({ "middlewares": middlewares }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
    let (sender, _connection) = connect(edge.address).await;
    let refused = ask(&sender, request("GET", "http://a/")).await.unwrap();
    assert!(refused.status() == 401 && refused.headers().contains_key("www-authenticate"), "{refused:?}");
    let mut asked = request("GET", "http://a/");
    asked.headers_mut().insert("authorization", "Basic Y3k6YQ==".parse().unwrap());
    assert_eq!(ask(&sender, asked).await.unwrap().status(), 200);
}
