//! What happens to a request and its response on their way.

use crate::harness::{DEADLINE, Edge, Server, document, eventually, exchange, json_of, name, read_head, received};
use http::{Method, Request, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that keeps the head it received and answers `200`.
async fn recorder() -> (Server, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await;
            let _gone = sender.send(head);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    (server, receiver)
}

async fn pass_host(edge: &Edge, rule: &str, server: &Server) {
    let document = document(rule, &[server], json!({ "pass_host_header": true }));
    let revision = edge.store.change(&[("/roadstead/routes/s3", Some(&document))]).await;
    edge.applied(revision).await;
}

#[tokio::test]
async fn host_and_raw_path_pass_byte_for_byte() {
    let edge = Edge::start().await;
    let (server, mut heads) = recorder().await;
    pass_host(&edge, "HostRegexp(`s3.localhost$`)", &server).await;
    for target in ["/a%2Fb/%7Ec?x=%20+y&z", "//double//slash/../up", "/a+b;c=d,e@f:g!$&'()*", "/?", "/%e4%BD%A0"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: Pictures.s3.localhost:8181\r\nConnection: close\r\n\r\n");
        let answer = exchange(edge.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let head = heads.recv().await.unwrap();
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("\r\nHost: Pictures.s3.localhost:8181\r\n"), "{head}");
    }
}

#[tokio::test]
async fn without_pass_host_header_the_server_sees_its_own_name() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    let request = Request::get(format!("http://{}/", edge.address))
        .header("host", "a")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-real-ip", "6.6.6.6");
    let response = edge.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
    assert_eq!(received(&response, "host"), [server.address.to_string()]);
    assert_eq!(received(&response, "x-forwarded-host"), ["a"]);
    assert_eq!(received(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received(&response, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(received(&response, "x-forwarded-server"), ["edge-1"]);
    assert_eq!(received(&response, "x-forwarded-proto"), ["http"]);
}

#[tokio::test]
async fn bodies_pass_in_both_directions_and_are_counted() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    let body = vec![7u8; 12 << 20];
    let request = Request::put(format!("http://{}/big", edge.address)).header("host", "a");
    let response = edge.client.fetch(request.body(web::full_body(body)).unwrap()).await.unwrap();
    assert_eq!(json_of(&response)["body_bytes"], 12 << 20);
    edge.until_metric("edge_requests_total{route=\"a\",code=\"200\"}", 1.0).await;
    let sent = edge.metric("edge_route_request_bytes_total{route=\"a\"}").await;
    assert!((12.0 * 1048576.0..12.0 * 1048576.0 + 4096.0).contains(&sent), "{sent}");
    assert!(edge.metric("edge_route_response_bytes_total{route=\"a\"}").await >= response.body().len() as f64);
}

#[tokio::test]
async fn a_large_response_streams() {
    let edge = Edge::start().await;
    let router = axum::Router::new().fallback(|| async { vec![9u8; 5 << 20] });
    let server = Server::routing(router).await;
    edge.route("a", "a", &[&server]).await;
    let response = edge.get("a", "/").await;
    assert_eq!(response.body().len(), 5 << 20);
    assert!(response.body().iter().all(|byte| *byte == 9));
}

/// The first half of a chunked response reaches the client while the server still holds the second.
#[tokio::test]
async fn a_response_is_not_held_back() {
    let edge = Edge::start().await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let server = Server::raw(move |_, mut stream| {
        let mut wait = wait.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.ends_with(b"first\r\n") {
        let length = tokio::time::timeout(DEADLINE, client.read(&mut buffer)).await.unwrap().unwrap();
        assert!(length > 0, "closed after {seen:?}");
        seen.extend_from_slice(&buffer[..length]);
    }
    go.send(true).unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        let length = tokio::time::timeout(DEADLINE, client.read(&mut buffer)).await.unwrap().unwrap();
        assert!(length > 0);
        seen.extend_from_slice(&buffer[..length]);
    }
}

#[tokio::test]
async fn head_keeps_its_length_and_trailers_pass() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        let answer: &[u8] = if head.starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n"
        };
        stream.write_all(answer).await.unwrap();
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("Content-Length: 1234\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n";
    let answer = exchange(edge.address, request).await;
    assert!(answer.to_lowercase().contains("x-sum: 42"), "{answer}");
}

#[tokio::test]
async fn a_chunked_request_with_trailers_passes() {
    let edge = Edge::start().await;
    let (sender, mut bodies) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") || !String::from_utf8_lossy(&request).contains("\r\n0\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    // GET, so that a proxy that drops bodies of GET is found out.
    let request = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n\
        5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";
    let answer = exchange(edge.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let received = bodies.recv().await.unwrap().to_lowercase();
    assert!(received.contains("5\r\nhello\r\n0\r\n") && received.contains("x-sum: 7"), "{received}");
}

/// The client is not told to continue before the server says so, and its body arrives whole.
#[tokio::test]
async fn expect_100_continue_reaches_the_server_first() {
    let edge = Edge::start().await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let server = Server::raw(move |_, mut stream| {
        let mut wait = wait.clone();
        async move {
            let head = read_head(&mut stream).await;
            if head.contains("refuse") {
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                return;
            }
            assert!(head.contains("Expect: 100-continue"), "{head}");
            wait.wait_for(|go| *go).await.unwrap();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"hello");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let put = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(put("/").as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), client.read_u8()).await;
    assert!(early.is_err(), "told to continue before the server was asked");
    go.send(true).unwrap();
    assert_eq!(read_head(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK"));

    let answer = exchange(edge.address, &put("/refuse")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "refused without asking for the body: {answer}");
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_that_counts_as_in_flight() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("Upgrade: websocket") && head.contains("X-Forwarded-Proto: ws\r\n"), "{head}");
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Kept: 1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..length]).await.unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await.to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("x-kept: 1"));
    let mut echoed = [0; 5];
    for _ in 0..3 {
        client.write_all(b"hello").await.unwrap();
        client.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"hello");
    }
    edge.until_metric("edge_tunnels ", 1.0).await;
    let revision = edge.store.change(&[("/roadstead/routes/a", None)]).await;
    edge.applied(revision).await;
    assert_eq!(edge.status().await["draining"], json!([{ "url": server.url(), "in_flight": 1 }]));
    client.write_all(b"still").await.unwrap();
    client.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"still");
    drop(client);
    eventually("the tunnel ended", || async { (edge.status().await["draining"] == json!([])).then_some(()) }).await;
}

#[tokio::test]
async fn what_is_not_served_is_said() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    for (request, status) in [
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nx", "400"),
        ("\x16\x03\x01nonsense\r\n\r\n", "400"),
    ] {
        let answer = exchange(edge.address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1000));
    assert!(exchange(edge.address, &many).await.starts_with("HTTP/1.1 431 "));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100 * 1024));
    assert!(exchange(edge.address, &long).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(name(&edge.get("a", "/").await), "one");
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_with_413() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    let server_json = json!({ "URL": server.url() }).to_string();
    let frontend = json!({ "Type": "http", "BackendId": "b1", "Route": "Host(`v`)",
        "Settings": { "Limits": { "MaxBodyBytes": 4 } } });
    edge.store
        .change(&[
            ("/vulcand/backends/b1/servers/s1", Some(&server_json)),
            ("/vulcand/frontends/f1/frontend", Some(&frontend.to_string())),
        ])
        .await;
    eventually("the frontend serves", || async { (name(&edge.get("v", "/").await) == "one").then_some(()) }).await;
    assert_eq!(edge.call(Method::POST, "v", "/", "four").await.status(), StatusCode::OK);
    assert_eq!(edge.call(Method::POST, "v", "/", "fives").await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let chunked =
        "POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfives\r\n0\r\n\r\n";
    let answer = exchange(edge.address, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_stop_lets_the_request_in_flight_end() {
    let edge = Edge::start().await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let router = axum::Router::new().fallback(move || {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.unwrap();
            "done"
        }
    });
    let server = Server::routing(router).await;
    edge.route("a", "a", &[&server]).await;
    let (address, client) = (edge.address, edge.client.clone());
    let pending =
        tokio::spawn(async move { crate::harness::call(&client, address, Method::GET, "a", "/", "").await.unwrap() });
    eventually("the request is in flight", || async {
        (edge.metric("edge_requests_in_flight ").await == 1.0).then_some(())
    })
    .await;
    edge.stop.request();
    eventually("new connections are refused", || async { TcpStream::connect(edge.address).await.err() }).await;
    go.send(true).unwrap();
    assert_eq!(&pending.await.unwrap().body()[..], b"done");
    tokio::time::timeout(DEADLINE, edge.started.finished()).await.unwrap().unwrap();
}

/// A server that refuses an upload early and closes is heard, though the client is still sending.
#[tokio::test]
async fn an_early_refusal_of_an_upload_reaches_the_client() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        // As servers do: what the client still sends is read and thrown away.
        let _rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    for _ in 0..20 {
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n").await.unwrap();
        let (mut from, mut to) = client.split();
        let mut head = vec![0; 12];
        let send = async {
            let block = vec![0; 65536];
            for _ in 0..300 {
                if to.write_all(&block).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let answered = async { from.read_exact(&mut head).await.map(|_| ()) };
        tokio::select! { () = send => {}, answered = tokio::time::timeout(DEADLINE, answered) => answered.unwrap().unwrap() }
        assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 403");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_server() {
    let edge = Edge::start().await;
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            sender.send("asked").unwrap();
            read_head(&mut stream).await;
            let _end = stream.read_u8().await;
            sender.send("left").unwrap();
        }
    })
    .await;
    edge.route("a", "a", &[&server]).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(ends.recv().await, Some("asked"));
    drop(client);
    let left = tokio::time::timeout(DEADLINE, ends.recv()).await.expect("the server is told");
    assert_eq!(left, Some("left"));
    eventually("nothing is in flight", || async {
        (edge.metric("edge_requests_in_flight ").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn old_and_absolute_requests_are_understood() {
    let edge = Edge::start().await;
    let (server, mut heads) = recorder().await;
    edge.route("a", "a", &[&server]).await;
    let answer = exchange(edge.address, "GET /old HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(heads.recv().await.unwrap().starts_with("GET /old HTTP/1.1\r\n"));
    let absolute = "GET http://a/p?q HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n";
    assert!(exchange(edge.address, absolute).await.starts_with("HTTP/1.1 200"));
    assert!(heads.recv().await.unwrap().starts_with("GET /p?q HTTP/1.1\r\n"));
}

/// Two requests in one segment, the second before the first was answered.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    let requests = "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = exchange(edge.address, requests).await;
    let (first, second) = (answers.find("/first").unwrap(), answers.find("/second").unwrap());
    assert!(first < second && answers.matches("HTTP/1.1 200 OK").count() == 2, "{answers}");
}

/// However the edge reads a request that frames its body twice, no server ever sees two framings, nor a second request.
#[tokio::test]
async fn a_body_is_framed_once() {
    let edge = Edge::start().await;
    let (server, mut heads) = recorder().await;
    edge.route("a", "a", &[&server]).await;
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}", smuggled.len());
    let chunked = "Transfer-Encoding: chunked".to_owned();
    for framings in [[&length, &chunked], [&chunked, &length]] {
        let [first, second] = framings;
        let request =
            format!("POST /outer HTTP/1.1\r\nHost: a\r\n{first}\r\n{second}\r\nConnection: close\r\n\r\n{smuggled}");
        let answer = exchange(edge.address, &request).await;
        if !answer.starts_with("HTTP/1.1 400") {
            let head = heads.recv().await.unwrap().to_lowercase();
            assert!(!(head.contains("content-length") && head.contains("transfer-encoding")), "{head}");
        }
    }
    for malformed in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: +4",
        "Content-Length: 4, 5",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{malformed}\r\nConnection: close\r\n\r\nbody");
        let answer = exchange(edge.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{malformed}: {answer}");
    }
    while let Ok(head) = heads.try_recv() {
        assert!(!head.contains("smuggled"), "{head}");
    }
}
