//! Clients that stop, drip, flood and vanish.

use super::{DEADLINE, Ending, PATIENCE, connected, hurried, is_well, statuses};
use crate::faults::vulcand;
use crate::harness::{Edge, Server, exchange, read_head};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

const POST: &str = "POST / HTTP/1.1\r\nHost: v\r\n";

/// How far a request comes, and what a client that stays hears then.
fn stages() -> Vec<(&'static str, String, Vec<u16>)> {
    let get = "GET / HTTP/1.1\r\nHost: v\r\n\r\n";
    let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    vec![
        ("nothing", String::new(), vec![]),
        ("an empty line", "\r\n".into(), vec![]),
        ("a part of the request line", "GET / HT".into(), vec![408]),
        ("a part of a header", "GET / HTTP/1.1\r\nHost: v\r\nX-".into(), vec![408]),
        ("all but the last byte of a head", get[..get.len() - 1].into(), vec![408]),
        ("a request", get.into(), vec![200]),
        ("a request and a part of the next", format!("{get}GET /x HT"), vec![200, 408]),
        ("a head that announces a body", format!("{POST}Content-Length: 100\r\n\r\n"), vec![408]),
        ("a part of a body", format!("{POST}Content-Length: 100\r\n\r\npart"), vec![408]),
        ("a part of a chunk's size", format!("{chunked}1"), vec![408]),
        ("a part of a chunk", format!("{chunked}ff\r\npart"), vec![408]),
        ("chunks without the end", format!("{chunked}5\r\nhello\r\n0\r\n"), vec![408]),
        ("a part of a trailer", format!("{chunked}5\r\nhello\r\n0\r\nX-Sum: "), vec![408]),
        (
            "a head that asks to go on",
            format!("{POST}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"),
            vec![100, 408],
        ),
        (
            "a part of a body for nobody",
            "POST / HTTP/1.1\r\nHost: nobody\r\nContent-Length: 100\r\n\r\npart".into(),
            vec![404],
        ),
    ]
}

async fn with_server(edge: Edge) -> (Edge, Server) {
    let server = Server::named("one").await;
    // A body that stops on its way to the server has as much time as the server's answer.
    vulcand(&edge, &server, json!({ "Timeouts": { "Read": format!("{PATIENCE:?}") } }), json!({})).await;
    (edge, server)
}

#[tokio::test]
async fn wherever_a_client_stops_it_is_answered_or_closed() {
    let (edge, _server) = with_server(hurried().await).await;
    let mut clients = JoinSet::new();
    for (stage, sent, expected) in stages() {
        let stream = connected(&edge, &sent).await;
        clients.spawn(async move { (stage, Ending::Stay.of(stream).await, expected) });
    }
    while let Some(client) = clients.join_next().await {
        let (stage, heard, expected) = client.unwrap();
        assert_eq!(statuses(&heard), expected, "{stage}: {heard}");
    }
    is_well(&edge, "v").await;
}

#[tokio::test]
async fn wherever_a_client_leaves_nothing_is_left_of_it() {
    let (edge, _server) = with_server(Edge::start().await).await;
    for ending in [Ending::Close, Ending::Reset, Ending::HalfClose] {
        let mut clients = JoinSet::new();
        for (_, sent, _) in stages() {
            for _ in 0..3 {
                let stream = connected(&edge, &sent).await;
                clients.spawn(ending.of(stream));
            }
        }
        clients.join_all().await;
        is_well(&edge, "v").await;
    }
}

/// The time counts from the first byte: one more in time does not help.
#[tokio::test]
async fn a_head_that_drips_is_cut_when_its_time_is_over() {
    let (edge, _server) = with_server(hurried().await).await;
    let stream = connected(&edge, "GET / HTTP/1.1\r\nHost: v\r\n").await;
    let (mut from, mut to) = stream.into_split();
    let drip = tokio::spawn(async move {
        let mut ticks = interval(PATIENCE / 10);
        loop {
            ticks.tick().await;
            if to.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let mut head = [0; 12];
    timeout(DEADLINE, from.read_exact(&mut head)).await.expect("an answer").unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    timeout(DEADLINE, drip).await.expect("it is closed").unwrap();
    is_well(&edge, "v").await;
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let (edge, _server) = with_server(Edge::start().await).await;
    for (start, more, expected) in [
        ("GET /", "a", 414),
        ("GET /?", "%41&", 414),
        ("GET / HTTP/1.1\r\nHost: v\r\nX: ", "b", 431),
        ("GET / HTTP/1.1\r\nHost: v\r\n", "X: b\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: v\r\nConnection: ", "x,", 431),
        ("POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n1;", "a", 400),
        ("POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", 400),
    ] {
        let (mut from, mut to) = connected(&edge, start).await.into_split();
        let flood = tokio::spawn(async move {
            let block = more.repeat(16 * 1024 / more.len());
            // Until it is refused; what is behind the end is not counted.
            while to.write_all(block.as_bytes()).await.is_ok() {}
        });
        let mut head = [0; 12];
        timeout(DEADLINE, from.read_exact(&mut head)).await.expect("an answer").unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {expected}"), "{start}");
        drop(from);
        timeout(DEADLINE, flood).await.expect("it is closed").unwrap();
    }
    is_well(&edge, "v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_takes_no_answer_is_stopped_and_cut() {
    let (edge, _server) = with_server(hurried().await).await;
    let mut floods = JoinSet::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: v\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        // Room for few answers: to fill megabytes of it takes a busy machine long.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut stream = socket.connect(edge.address).await.unwrap();
        floods.spawn(async move {
            let block = request.repeat(500);
            let flood = async { while stream.write_all(block.as_bytes()).await.is_ok() {} };
            timeout(DEADLINE, flood).await.unwrap_or_else(|_| panic!("{request:?} is read for ever"));
        });
    }
    floods.join_all().await;
    is_well(&edge, "v").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_leave_nothing() {
    const AT_ONCE: usize = 50;
    let (edge, _server) = with_server(Edge::start().await).await;
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    is_well(&edge, "v").await;
    let before = files();
    for _ in 0..10_000 / AT_ONCE {
        let mut clients = JoinSet::new();
        for number in 0..AT_ONCE {
            let address = edge.address;
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if number % 5 == 0 {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n").await.unwrap();
                    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 404 "));
                }
                let ending = if number % 2 == 0 { Ending::Close } else { Ending::Reset };
                ending.of(stream).await;
            });
        }
        clients.join_all().await;
    }
    is_well(&edge, "v").await;
    // Other tests of this process have some of their own.
    let few = || async { (files() < before + 1000).then_some(()) };
    crate::harness::eventually("the files are closed", few).await;
}

/// Neither an answer of the edge's own nor one of a middleware lets a client write lines into it.
#[tokio::test]
async fn no_text_of_a_client_becomes_a_line() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    let middlewares = json!([{ "Id": "r", "Type": "redirect", "Middleware": { "Scheme": "https" } }]);
    let document = crate::harness::document("Host(`r`)", &[&server], json!({ "middlewares": middlewares }));
    let revision = edge.store.change(&[("/roadstead/routes/r", Some(&document))]).await;
    edge.applied(revision).await;
    for target in ["/%0d%0aSet-Cookie:%20a=b", "/%0D%0A%0D%0AHTTP/1.1%20200%20OK", "/?q=%0aX:y", "//evil.example/%5c"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
        let answer = exchange(edge.address, &request).await;
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        let location =
            head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(location, format!("https://r{target}"));
        assert!(!head.contains("\r\nSet-Cookie") && statuses(&answer).len() == 1, "{answer}");
    }
    // A header's value comes back in no answer at all.
    let request = "GET / HTTP/1.1\r\nHost: nobody\r\nX-A: b\r\nConnection: close\r\n\r\n";
    assert!(!exchange(edge.address, request).await.contains("X-A"));
}

/// Proxies in front add their own line below those that a client sent, or to the end of one.
#[tokio::test]
async fn of_several_lines_of_addresses_the_last_is_believed() {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    vulcand(&edge, &server, json!({}), json!({ "TrustForwardHeader": true })).await;
    let allow = json!({ "Type": "iplist", "Middleware": { "Allow": ["10.0.0.0/8"] } }).to_string();
    let revision = edge.store.change(&[("/vulcand/frontends/f1/middlewares/ip", Some(&allow))]).await;
    edge.applied(revision).await;
    for (lines, expected) in [
        ("X-Forwarded-For: 10.0.0.1\r\n", 200),
        ("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 6.6.6.6\r\n", 403),
        ("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 10.0.0.1\r\n", 200),
        ("X-Forwarded-For: 10.0.0.1, 6.6.6.6\r\n", 403),
        ("X_Forwarded_For: 10.0.0.1\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 10.0.0.1\r\n", 403),
        ("", 403),
    ] {
        let answer = || async {
            let request = format!("GET / HTTP/1.1\r\nHost: v\r\n{lines}Connection: close\r\n\r\n");
            (statuses(&exchange(edge.address, &request).await) == [expected]).then_some(())
        };
        crate::harness::eventually(&format!("{lines:?} is answered {expected}"), answer).await;
    }
}
