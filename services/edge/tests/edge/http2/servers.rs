//! HTTP/2 to servers.

use super::{ask, connect, read, request};
use crate::harness::{DEADLINE, Edge, eventually, exchange, json_of};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use proxyprotocol::{Accepted, Parsed, parse};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

type Link = Connection<TcpStream, Bytes>;

/// A server of HTTP/2, one task per connection, numbered from 0.
async fn serving<F: Future<Output = ()> + Send + 'static>(
    builder: Builder,
    serve: impl Fn(usize, Link) -> F + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (builder, serve) = (builder.clone(), serve.clone());
            connections.spawn(async move {
                if let Ok(link) = builder.handshake(stream).await {
                    serve(number, link).await;
                }
            });
        }
    });
    address
}

async fn route(edge: &Edge, address: SocketAddr) {
    let url = format!("h2c://{address}");
    let document = json!({ "v": 0, "rule": "Host(`a`)", "servers": [{ "id": "s", "url": url }] }).to_string();
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

/// Answers with what was asked, and with its body behind it.
pub async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    let headers: Vec<(String, String)> =
        parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let (bytes, trailers) = read(body).await.unwrap_or_default();
    let seen = json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8(bytes).unwrap(),
        "trailer": trailers.as_ref().and_then(|map| map["x-sum"].to_str().ok()),
    });
    let mut response = Response::new(());
    response.headers_mut().insert("x-served", "h2c".parse().unwrap());
    let mut stream = respond.send_response(response, parts.method == Method::HEAD).unwrap();
    if parts.method != Method::HEAD {
        stream.send_data(seen.to_string().into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "yes".parse().unwrap());
        trailers.insert("content-type", "none/allowed".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    }
}

async fn echoing(mut link: Link) {
    while let Some(Ok((request, respond))) = link.accept().await {
        tokio::spawn(echo(request, respond));
    }
}

#[tokio::test]
async fn requests_share_a_connection_to_their_server() {
    let edge = Edge::start().await;
    let links = Arc::new(AtomicUsize::new(0));
    let counted = links.clone();
    let address = serving(Builder::new(), move |_, link| {
        counted.fetch_add(1, SeqCst);
        echoing(link)
    })
    .await;
    route(&edge, address).await;
    let (sender, _connection) = connect(edge.address).await;
    let answers = futures::future::join_all((0..50).map(|_| ask(&sender, request("GET", "http://a/p?q")))).await;
    for answer in answers {
        let answer = answer.unwrap();
        let seen = json_of(&answer);
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-served"]), (200, &"h2c".parse().unwrap()));
        assert_eq!(
            (seen["method"].as_str(), seen["uri"].as_str()),
            (Some("GET"), Some(&*format!("http://{address}/p?q")))
        );
        let headers = seen["headers"].to_string();
        assert!(headers.contains(r#"["x-forwarded-for","127.0.0.1"]"#) && !headers.contains("connection"), "{headers}");
    }
    assert_eq!(links.load(SeqCst), 1);
    let head = ask(&sender, request("HEAD", "http://a/")).await.unwrap();
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    // And from a client of HTTP/1.
    let answer = edge.call(Method::POST, "a", "/", "hello").await;
    assert_eq!((answer.status().as_u16(), json_of(&answer)["body"].as_str()), (200, Some("hello")));
}

/// Twice each: with and without a connection to the server. A request that was taken for one whose connection had closed was
/// tried for ever.
#[tokio::test]
async fn what_http2_has_no_words_for_is_said_otherwise_or_refused() {
    let edge = Edge::start().await;
    let address = serving(Builder::new(), |_, link| echoing(link)).await;
    route(&edge, address).await;
    // More than the edge itself has room for, once its middlewares have added theirs.
    let added: serde_json::Map<_, _> = (0..600).map(|number| (format!("X-{number}"), json!("1"))).collect();
    let added = json!([{ "Id": "h", "Type": "headers", "Middleware": { "Request": { "Set": added } } }]);
    let many = json!({ "v": 0, "rule": "Host(`many`)", "middlewares": added,
        "servers": [{ "id": "s", "url": format!("h2c://{address}") }] });
    let revision = edge.store.change(&[("/roadstead/routes/many", Some(&many.to_string()))]).await;
    edge.applied(revision).await;
    for _ in 0..2 {
        let get = |target: &str, fields: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
        };
        let answer = exchange(edge.address, &get("/a`b?q=\"x\"", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("/a%60b?q=%22x%22"), "{answer}");
        let answer = exchange(edge.address, &get("/", "").replace("Host: a", "Host: many")).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("cannot be said in HTTP/2"), "{answer}");
    }
}

/// As many as a head may have, and what the edge adds to them, whichever side speaks HTTP/2.
#[tokio::test]
async fn as_many_headers_as_a_head_may_have_go_through_all_translations() {
    const HEADERS_MAX: usize = 256;
    let edge = Edge::start().await;
    let mut builder = Builder::new();
    builder.max_header_list_size(1 << 20);
    let address = serving(builder, |_, mut link| async move {
        while let Some(Ok((request, mut respond))) = link.accept().await {
            let mut response = Response::new(());
            *response.headers_mut() = (1..HEADERS_MAX)
                .map(|_| (http::HeaderName::from_static("x"), http::HeaderValue::from_static("1")))
                .collect();
            response.headers_mut().insert("x-seen", request.headers().len().into());
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data("ok".into(), true).unwrap();
        }
    })
    .await;
    let h1 = crate::harness::Server::raw(|_, mut stream| async move {
        let seen = crate::harness::read_head(&mut stream).await.matches("\r\n").count() - 2;
        let many = "x: 1\r\n".repeat(HEADERS_MAX - 2);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-seen: {seen}\r\n{many}\r\nok");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let added = json!([{ "Id": "h", "Type": "headers",
        "Middleware": { "Response": { "Set": { "X-A": "1", "X-B": "2" } } } }]);
    for (host, url) in [("two", format!("h2c://{address}")), ("one", h1.url())] {
        let document = json!({ "v": 0, "rule": format!("Host(`{host}`)"), "middlewares": added,
            "servers": [{ "id": "s", "url": url }] });
        let key = format!("/roadstead/routes/{host}");
        let revision = edge.store.change(&[(&key, Some(&document.to_string()))]).await;
        edge.applied(revision).await;
    }
    let (sender, _connection) = connect(edge.address).await;
    for host in ["two", "one"] {
        let lines = "x: 1\r\n".repeat(HEADERS_MAX - 2);
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n");
        let answer = exchange(edge.address, &head).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nok"), "{host}: {answer:.300}");
        // An answer to POST needs one more line in HTTP/1, which says that there is no body.
        let mut asked = request("POST", &format!("http://{host}/"));
        for _ in 1..HEADERS_MAX {
            asked.headers_mut().append("x", "1".parse().unwrap());
        }
        let answer = ask(&sender, asked).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..], answer.headers()["x-b"].as_bytes()),
            (200, &b"ok"[..], &b"2"[..])
        );
        let seen: usize = answer.headers()["x-seen"].to_str().unwrap().parse().unwrap();
        assert!(seen >= HEADERS_MAX, "{seen}");
        let mut asked = request("POST", &format!("http://{host}/"));
        for _ in 0..HEADERS_MAX + 10 {
            asked.headers_mut().append("x", "1".parse().unwrap());
        }
        assert_eq!(ask(&sender, asked).await.unwrap().status(), 431);
    }
}

#[tokio::test]
async fn trailers_go_both_ways_to_a_server_of_http2() {
    let edge = Edge::start().await;
    route(&edge, serving(Builder::new(), |_, link| echoing(link)).await).await;
    let (mut sender, _connection) = connect(edge.address).await;
    let mut asked = request("POST", "http://a/");
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut body) = sender.send_request(asked, false).unwrap();
    body.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    let (bytes, trailers) = read(response.into_body()).await.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((seen["body"].as_str(), seen["trailer"].as_str()), (Some("hello"), Some("7")));
    assert!(seen["headers"].to_string().contains(r#"["te","trailers"]"#));
    let trailers = trailers.unwrap();
    assert_eq!((&trailers["x-end"], trailers.len()), (&"yes".parse().unwrap(), 1), "content-type is no trailer");
}

#[tokio::test]
async fn a_servers_limit_of_streams_is_kept_to_with_more_connections() {
    let edge = Edge::start().await;
    let (most, links) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, linked) = (most.clone(), links.clone());
    let mut builder = Builder::new();
    builder.max_concurrent_streams(2);
    let address = serving(builder, move |_, mut link| {
        linked.fetch_add(1, SeqCst);
        let (counted, here) = (counted.clone(), Arc::new(AtomicUsize::new(0)));
        async move {
            while let Some(Ok((request, respond))) = link.accept().await {
                counted.fetch_max(here.fetch_add(1, SeqCst) + 1, SeqCst);
                let here = here.clone();
                tokio::spawn(async move {
                    // Others come meanwhile.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    here.fetch_sub(1, SeqCst);
                    echo(request, respond).await;
                });
            }
        }
    })
    .await;
    route(&edge, address).await;
    let (sender, _connection) = connect(edge.address).await;
    let answers = futures::future::join_all((0..30).map(|_| ask(&sender, request("POST", "http://a/")))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200));
    assert!(most.load(SeqCst) <= 2, "{most:?}");
    assert!((2..=16).contains(&links.load(SeqCst)), "{links:?}");
}

#[tokio::test]
async fn what_a_server_refuses_or_goes_away_before_is_sent_again() {
    let edge = Edge::start().await;
    let address = serving(Builder::new(), |number, mut link| async move {
        match number {
            // Refuses the first stream, and then says that it goes away.
            0 => {
                let (_, mut respond) = link.accept().await.unwrap().unwrap();
                respond.send_reset(Reason::REFUSED_STREAM);
                drop(respond);
                link.graceful_shutdown();
                while let Some(Ok((_, mut respond))) = link.accept().await {
                    respond.send_reset(Reason::REFUSED_STREAM);
                }
            }
            _ => echoing(link).await,
        }
    })
    .await;
    route(&edge, address).await;
    let (sender, _connection) = connect(edge.address).await;
    for _ in 0..3 {
        assert_eq!(ask(&sender, request("POST", "http://a/")).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_server_that_resets_a_stream_is_not_passed_over() {
    let edge = Edge::start().await;
    let half_is_there = Arc::new(Notify::new());
    let seen = half_is_there.clone();
    let address = serving(Builder::new(), move |_, mut link| {
        let seen = seen.clone();
        async move {
            while let Some(Ok((request, mut respond))) = link.accept().await {
                match request.uri().path() {
                    "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
                    "/half" => {
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data("half".into(), false).unwrap();
                        let seen = seen.clone();
                        tokio::spawn(async move {
                            seen.notified().await;
                            stream.send_reset(Reason::INTERNAL_ERROR);
                        });
                    }
                    _ => drop(tokio::spawn(echo(request, respond))),
                }
            }
        }
    })
    .await;
    route(&edge, address).await;
    let (sender, _connection) = connect(edge.address).await;
    for _ in 0..3 {
        assert_eq!(ask(&sender, request("POST", "http://a/reset")).await.unwrap().status(), 502);
        let (half, _) =
            sender.clone().ready().await.unwrap().send_request(request("GET", "http://a/half"), true).unwrap();
        let mut half = timeout(DEADLINE, half).await.unwrap().unwrap().into_body();
        assert_eq!(timeout(DEADLINE, half.data()).await.unwrap().unwrap().unwrap(), "half");
        half_is_there.notify_one();
        let end = timeout(DEADLINE, read(half)).await.unwrap().unwrap_err();
        assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR));
        assert_eq!(ask(&sender, request("GET", "http://a/")).await.unwrap().status(), 200);
    }
}

/// Which HTTP/2 does not have (RFC 9113 §8.6), asked for or not.
#[tokio::test]
async fn a_server_of_http2_that_switches_protocols_is_a_failed_one() {
    let edge = Edge::start().await;
    let address = serving(Builder::new(), |_, mut link| async move {
        while let Some(Ok((request, mut respond))) = link.accept().await {
            if request.uri().path() == "/switch" {
                let mut switched = Response::new(());
                *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                respond.send_informational(switched).unwrap();
            }
            tokio::spawn(echo(request, respond));
        }
    })
    .await;
    route(&edge, address).await;
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: websocket\r\n"] {
        for (path, status) in [("/switch", 502), ("/", 200)] {
            let mut client = TcpStream::connect(edge.address).await.unwrap();
            let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n");
            client.write_all(get.as_bytes()).await.unwrap();
            let head = timeout(DEADLINE, crate::harness::read_head(&mut client)).await.expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {upgrade}: {head}");
        }
    }
}

/// It speaks HTTP/1 only.
#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_a_failed_one() {
    let edge = Edge::start().await;
    let server = crate::harness::Server::raw(|_, mut stream| async move {
        let _left = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    route(&edge, server.address).await;
    let (sender, _connection) = connect(edge.address).await;
    assert_eq!(ask(&sender, request("GET", "http://a/")).await.unwrap().status(), 502);
}

#[tokio::test]
async fn a_connection_ends_once_its_server_has_left_and_its_last_request_was_answered() {
    let edge = Edge::start().await;
    let (said, mut says) = mpsc::unbounded_channel();
    let (go, goes) = tokio::sync::watch::channel(false);
    let address = serving(Builder::new(), move |_, mut link| {
        let (said, goes) = (said.clone(), goes.clone());
        async move {
            while let Some(Ok((request, respond))) = link.accept().await {
                said.send("asked").unwrap();
                let mut goes = goes.clone();
                tokio::spawn(async move {
                    goes.wait_for(|go| *go).await.unwrap();
                    echo(request, respond).await;
                });
            }
            said.send("closed").unwrap();
        }
    })
    .await;
    route(&edge, address).await;
    let (sender, _connection) = connect(edge.address).await;
    let answer = tokio::spawn(async move { ask(&sender, request("GET", "http://a/")).await });
    assert_eq!(timeout(DEADLINE, says.recv()).await.unwrap(), Some("asked"));
    let revision = edge.store.change(&[("/roadstead/routes/a", None)]).await;
    edge.applied(revision).await;
    go.send(true).unwrap();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(timeout(DEADLINE, says.recv()).await.unwrap(), Some("closed"));
    eventually("nothing is in flight", || async {
        (edge.metric("edge_requests_in_flight ").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_of_http2_is_checked_and_mirrored_to_in_its_own_language() {
    let edge = Edge::start().await;
    let (said, mut says) = mpsc::unbounded_channel();
    let heard = move |name: &'static str| {
        let said = said.clone();
        move |_, mut link: Link| {
            let said = said.clone();
            async move {
                while let Some(Ok((request, respond))) = link.accept().await {
                    said.send(format!("{name} {}", request.uri().path())).unwrap();
                    tokio::spawn(echo(request, respond));
                }
            }
        }
    };
    let (first, second) =
        (serving(Builder::new(), heard("server")).await, serving(Builder::new(), heard("mirror")).await);
    let mirror = json!({ "to": [{ "id": "m", "url": format!("h2c://{second}") }] });
    let document = json!({
        "v": 0, "rule": "Host(`a`)", "servers": [{ "id": "s", "url": format!("h2c://{first}") }],
        "balance": { "health": { "path": "/healthy", "interval_ms": 200, "timeout_ms": 10_000 }, "mirror": mirror },
    });
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document.to_string()))]).await;
    edge.applied(revision).await;
    let (sender, _connection) = connect(edge.address).await;
    assert_eq!(ask(&sender, request("GET", "http://a/asked")).await.unwrap().status(), 200);
    let mut expected = vec!["server /healthy", "server /asked", "mirror /asked"];
    while !expected.is_empty() {
        let heard = timeout(DEADLINE, says.recv()).await.unwrap().unwrap();
        expected.retain(|line| *line != heard);
    }
    edge.until_metric("edge_server_up", 1.0).await;
}

/// The header speaks for one client, and requests of several would share a connection: so each request has its own, whose
/// header comes once, first, and names its client.
#[tokio::test]
async fn a_server_of_http2_is_told_of_each_client_over_a_connection_for_its_request() {
    for version in ["v1", "v2"] {
        let edge = Edge::start().await;
        let (said, mut says) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serves, serving) =
            (said.clone(), async move |mut stream: TcpStream, said: mpsc::UnboundedSender<String>| {
                let mut header = Vec::new();
                let source = loop {
                    header.push(stream.read_u8().await.unwrap());
                    match parse(&header, Accepted::Either).unwrap() {
                        Parsed::Complete(header, _) => break header.tcp().unwrap().source,
                        Parsed::Partial => {}
                    }
                };
                // What follows is HTTP/2 and no other header, or there is no handshake.
                let mut link: Link = Builder::new().handshake(stream).await.unwrap();
                let mut requests = 0;
                while let Some(Ok((_, mut respond))) = link.accept().await {
                    requests += 1;
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(source.to_string().into(), true).unwrap();
                }
                said.send(format!("{requests} of {source}")).unwrap();
            });
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serving(stream, serves.clone()));
            }
        });
        let document = json!({ "v": 0, "rule": "Host(`a`)", "send_proxy": version,
            "servers": [{ "id": "s", "url": format!("h2c://{address}") }] });
        let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document.to_string()))]).await;
        edge.applied(revision).await;
        let mut expected = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(edge.address).await.unwrap();
            let client = stream.local_addr().unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            let _connection = tokio::spawn(connection);
            let answers = futures::future::join_all((0..5).map(|_| ask(&sender, request("GET", "http://a/")))).await;
            for answer in answers {
                assert_eq!(answer.unwrap().body(), &client.to_string());
                expected.push(format!("1 of {client}"));
            }
        }
        for _ in 0..10 {
            let ended = timeout(DEADLINE, says.recv()).await.expect("it ends with its request").unwrap();
            let position = expected.iter().position(|one| *one == ended).unwrap_or_else(|| panic!("{ended}"));
            expected.remove(position);
        }
    }
}
