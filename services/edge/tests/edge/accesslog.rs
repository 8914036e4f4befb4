//! The access log as whoever reads it finds it.

use crate::harness::{Edge, Server, config, document, eventually, exchange, free_address, read_head};
use crate::memory_store::MemoryStore;
use edge::{AccessLogConfig, Destination, LineFormat, Observation};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An edge that logs, and where.
struct Logging {
    edge: Edge,
    path: PathBuf,
    _directory: TempDir,
}

impl Logging {
    async fn start(change: impl FnOnce(&mut AccessLogConfig)) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("access.log");
        let edge = edge_that_logs(&path, change).await;
        Self { edge, path, _directory: directory }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// The lines, once there are so many.
    async fn lines(&self, count: usize) -> Vec<Value> {
        eventually("the lines are written", || async {
            let text = self.text();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }
}

async fn edge_that_logs(path: &Path, change: impl FnOnce(&mut AccessLogConfig)) -> Edge {
    let mut access_log = AccessLogConfig {
        to: Destination::File(path.to_owned()),
        format: LineFormat::Json,
        sample: NonZeroU64::MIN,
        slow: None,
        redacted: Vec::new(),
    };
    change(&mut access_log);
    let store = Arc::new(MemoryStore::default());
    let observation = Observation { access_log: Some(access_log), ..Observation::default() };
    Edge::of(edge::Config { observation, ..config(store.clone()) }, store).await
}

#[tokio::test]
async fn a_request_is_a_line_with_who_asked_for_what_and_how_it_went() {
    let logging = Logging::start(|_| {}).await;
    let (edge, server) = (&logging.edge, Server::named("one").await);
    let document = document("Host(`a`)", &[&server], json!({ "app": "/web" }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
    let response = edge.call(http::Method::POST, "a", "/x?b=c&X-Amz-Signature=5ec2e7", "12345").await;
    assert_eq!(response.status(), 200);
    let line = &logging.lines(1).await[0];
    for (field, value) in [
        ("client", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("host", json!("a")),
        ("target", json!("/x?b=c&X-Amz-Signature=REDACTED")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("request_bytes", json!(5)),
        ("response_bytes", json!(response.body().len())),
        ("route", json!("a")),
        ("app", json!("/web")),
        ("server", json!(server.url())),
        ("attempts", json!(1)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let (head, whole) = (line["head_us"].as_u64().unwrap(), line["duration_us"].as_u64().unwrap());
    assert!(0 < head && head <= whole, "{line}");
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(time).unsigned_abs() < Duration::from_secs(60), "{line}");
}

#[tokio::test]
async fn requests_that_went_wrong_are_lines_too() {
    let logging = Logging::start(|_| {}).await;
    let edge = &logging.edge;
    let (good, broken) = (Server::named("good").await, Server::hanging_up().await);
    edge.route("broken", "broken", &[&broken]).await;
    edge.route("both", "both", &[&broken, &good]).await;
    assert_eq!(edge.get("nobody", "/1").await.status(), 404);
    assert_eq!(edge.get("broken", "/2").await.status(), 502);
    // The server that just failed is passed over; a second later its turn comes.
    let retried = eventually("a request goes on to another server", || async {
        assert_eq!(edge.get("both", "/3").await.status(), 200);
        let text = logging.text();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["target"] == "/3" && line["attempts"] == 2)
    });
    let retried = retried.await;
    assert_eq!((&retried["server"], &retried["status"]), (&json!(good.url()), &json!(200)), "{retried}");
    assert!(exchange(edge.address, "BAD\x01 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let lines = eventually("the last one is written", || async {
        let text = logging.text();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter().any(|line| line["status"] == 400).then_some(lines)
    })
    .await;
    let of = |target: &str| lines.iter().find(|line| line["target"] == target).unwrap();
    assert_eq!((&of("/1")["status"], &of("/1")["route"]), (&json!(404), &Value::Null));
    assert_eq!((&of("/2")["status"], &of("/2")["server"]), (&json!(502), &json!(broken.url())));
    assert!(of("/2")["response_bytes"].as_u64().unwrap() > 0);
    assert!(lines.iter().any(|line| line["nonsense"] == "BAD\u{1} nonsense"), "{lines:?}");
}

#[tokio::test]
async fn a_client_that_left_is_logged_as_499() {
    let logging = Logging::start(|log| log.sample = NonZeroU64::MAX).await;
    let silent = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _gone = stream.read_u8().await;
    })
    .await;
    logging.edge.route("a", "a", &[&silent]).await;
    // Of each thread the first one is in the sample: it is not about that.
    let mut client = TcpStream::connect(logging.edge.address).await.unwrap();
    client.write_all(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("it waits", || async { (logging.edge.metric("edge_requests_in_flight ").await == 1.0).then_some(()) })
        .await;
    drop(client);
    let line = &logging.lines(1).await[0];
    assert_eq!(
        (&line["status"], &line["target"], &line["server"]),
        (&json!(499), &json!("/gone"), &json!(silent.url()))
    );
}

#[tokio::test]
async fn a_websocket_is_logged_at_its_end() {
    let logging = Logging::start(|_| {}).await;
    let echo = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    })
    .await;
    logging.edge.route("a", "a", &[&echo]).await;
    let mut client = TcpStream::connect(logging.edge.address).await.unwrap();
    client
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(logging.text(), "", "it goes on");
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    drop(client);
    let line = &logging.lines(1).await[0];
    assert_eq!((&line["status"], &line["request_bytes"], &line["response_bytes"]), (&json!(101), &json!(5), &json!(5)));
    let (head, whole) = (line["head_us"].as_u64().unwrap(), line["duration_us"].as_u64().unwrap());
    assert!(whole >= 250_000 && whole - head >= 250_000, "{line}");
}

#[tokio::test]
async fn of_a_sample_failures_and_slow_requests_are_always_lines() {
    let slow = Some(Duration::from_secs(5));
    let logging = Logging::start(|log| (log.sample, log.slow) = (NonZeroU64::new(1000).unwrap(), slow)).await;
    let (edge, broken) = (&logging.edge, Server::hanging_up().await);
    let server = Server::routing(axum::Router::new().fallback(|request: axum::extract::Request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        "ok"
    }))
    .await;
    edge.route("a", "a", &[&server]).await;
    edge.route("b", "b", &[&broken]).await;
    for _ in 0..100 {
        assert_eq!(edge.get("a", "/fast").await.status(), 200);
    }
    assert_eq!(edge.get("a", "/slow").await.status(), 200);
    assert_eq!(edge.get("b", "/failed").await.status(), 502);
    let lines = eventually("both are written", || async {
        let lines = logging.lines(2).await;
        let has = |target: &str| lines.iter().any(|line| line["target"] == target);
        (has("/slow") && has("/failed")).then_some(lines)
    })
    .await;
    let fast = lines.iter().filter(|line| line["target"] == "/fast").count();
    let threads = std::thread::available_parallelism().unwrap().get();
    assert!((1..=threads).contains(&fast), "one of each of {threads} threads: {fast}");
}

#[tokio::test]
async fn a_log_that_is_moved_away_or_cut_goes_on() {
    let logging = Logging::start(|_| {}).await;
    let server = Server::named("one").await;
    logging.edge.route("a", "a", &[&server]).await;
    logging.edge.get("a", "/1").await;
    logging.lines(1).await;
    let moved = logging.path.with_extension("log.1");
    fs::rename(&logging.path, &moved).unwrap();
    logging.edge.get("a", "/2").await;
    assert_eq!(logging.lines(1).await[0]["target"], "/2");
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 1);
    // As logrotate's copytruncate does.
    fs::File::options().write(true).open(&logging.path).unwrap().set_len(0).unwrap();
    logging.edge.get("a", "/3").await;
    assert_eq!(logging.lines(1).await[0]["target"], "/3", "no hole at its beginning");
}

#[tokio::test]
async fn what_was_said_before_a_stop_is_written() {
    let logging = Logging::start(|log| log.format = LineFormat::Combined).await;
    let server = Server::named("one").await;
    logging.edge.route("a", "a", &[&server]).await;
    let bytes = logging.edge.get("a", "/last").await.body().len();
    let Logging { edge, path, _directory } = logging;
    edge.end().await;
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("127.0.0.1 - - [") && text.ends_with('\n') && text.lines().count() == 1, "{text}");
    assert!(text.contains(&format!("\"GET /last HTTP/1.1\" 200 {bytes} \"-\" \"-\"")), "{text}");
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_an_error_with_its_name() {
    let store = Arc::new(MemoryStore::default());
    let to = Destination::File("/nowhere/access.log".into());
    let access_log =
        AccessLogConfig { to, format: LineFormat::Json, sample: NonZeroU64::MIN, slow: None, redacted: Vec::new() };
    let observation = Observation { access_log: Some(access_log), ..Observation::default() };
    let config = edge::Config { observation, ..config(store) };
    let Err(error) = edge::start(config, lifecycle::Stop::new()).await else { panic!("it started") };
    let chain = lifecycle::ErrorChain(&error).to_string();
    assert!(chain.contains("access log") && chain.contains("/nowhere/access.log"), "{chain}");
}

/// A pipe that nobody empties: its writer waits, requests do not.
#[tokio::test]
async fn a_log_that_nobody_takes_costs_lines_and_no_request() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Both ends, so that opening it does not wait.
    let mut pipe = fs::File::options().read(true).write(true).open(&path).unwrap();
    let edge = edge_that_logs(&path, |_| {}).await;
    let server = Server::named("one").await;
    edge.route("a", "a", &[&server]).await;
    let target = format!("/{}", "x".repeat(7000));
    let mut asked = 0;
    eventually("lines are dropped", || {
        asked += 10;
        async {
            for _ in 0..10 {
                assert_eq!(edge.get("a", &target).await.status(), 200);
            }
            (edge.metric("edge_access_log_dropped_lines_total").await > 0.0).then_some(())
        }
    })
    .await;
    assert!(asked > 150, "a megabyte is held: {asked}");
    let reading = tokio::task::spawn_blocking(move || {
        let (mut text, mut bytes) = (Vec::new(), vec![0; 1 << 16]);
        while !String::from_utf8_lossy(&text).contains("dropped_lines") {
            let count = pipe.read(&mut bytes).unwrap();
            text.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(text).unwrap()
    });
    let text = tokio::time::timeout(crate::harness::DEADLINE, reading).await.unwrap().unwrap();
    let told = text.lines().find(|line| line.contains("dropped_lines")).unwrap();
    assert!(serde_json::from_str::<Value>(told).unwrap()["dropped_lines"].as_u64().unwrap() > 0, "{told}");
}

#[tokio::test]
async fn what_came_in_http2_is_told_to_have() {
    let logging = Logging::start(|_| {}).await;
    let (edge, server) = (&logging.edge, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    for host in ["a", "nobody"] {
        let request = http::Request::get(format!("http://{host}/")).body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        response.await.unwrap();
    }
    for line in logging.lines(2).await {
        assert_eq!(line["protocol"], "HTTP/2.0", "{line}");
    }
}

/// Connections of TCP routes: one that talked, and one whose server could not be reached.
#[tokio::test]
async fn a_connection_that_is_passed_on_is_a_line_when_it_is_over() {
    for format in [LineFormat::Json, LineFormat::Combined] {
        let logging = Logging::start(|config| config.format = format).await;
        let edge = &logging.edge;
        let echo = Server::raw(|_, mut stream| async move {
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(b"hello, too").await.unwrap();
        })
        .await;
        let absent = Server::absent().await;
        let (talking, silent) = (free_address(), free_address());
        for (id, at, server) in [("talking", talking, &echo), ("silent", silent, &absent)] {
            let servers = json!([{ "id": "s", "url": format!("tcp://{}", server.address) }]);
            let document = json!({ "v": 0, "app": "/db", "tcp": { "listen": at.to_string() }, "servers": servers });
            let key = format!("/roadstead/routes/{id}");
            let revision = edge.store.change(&[(&key, Some(&document.to_string()))]).await;
            edge.applied(revision).await;
        }
        let connect = |at| eventually("somebody listens", move || async move { TcpStream::connect(at).await.ok() });
        let mut client = connect(talking).await;
        client.write_all(b"hello").await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        drop(client);
        assert_eq!(heard, "hello, too");
        if format == LineFormat::Combined {
            eventually("the line is written", || async {
                logging.text().contains("] \"CONNECT - TCP\" 200 10 \"-\" \"-\"\n").then_some(())
            })
            .await;
            continue;
        }
        let line = &logging.lines(1).await[0];
        for (field, value) in [
            ("client", json!("127.0.0.1")),
            ("protocol", json!("TCP")),
            ("status", json!(200)),
            ("request_bytes", json!(5)),
            ("response_bytes", json!(10)),
            ("route", json!("talking")),
            ("app", json!("/db")),
            ("server", json!(echo.url())),
            ("attempts", json!(1)),
            ("method", Value::Null),
        ] {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        let _reset = connect(silent).await.read(&mut [0]).await;
        let line = &logging.lines(2).await[1];
        assert_eq!((&line["status"], &line["route"]), (&json!(502), &json!("silent")), "{line}");
    }
}
