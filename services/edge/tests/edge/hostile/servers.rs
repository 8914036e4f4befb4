//! Servers that break off, send what is no response, or too much of it.

use super::{DEADLINE, Ending, READ, is_well, statuses};
use crate::faults::vulcand;
use crate::harness::{Edge, Server, exchange, read_head};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: v\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 2\r\n";

/// An edge before one server that answers so and ends so; except to `/well`.
async fn before(answer: &str, ending: Ending) -> (Edge, Server) {
    before_with(answer, ending, json!({})).await
}

async fn before_with(answer: &str, ending: Ending, settings: Value) -> (Edge, Server) {
    let (edge, answer) = (Edge::start().await, answer.to_owned());
    let server = Server::raw(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            let head = read_head(&mut stream).await;
            if head.contains("/well ") {
                stream.write_all(OK.as_bytes()).await.unwrap();
                return;
            }
            if head.contains("Content-Length: 2") && !head.contains("Expect") {
                drop(stream.read_exact(&mut [0; 2]).await);
            }
            // The edge may have had enough before it has all of it.
            if stream.write_all(answer.as_bytes()).await.is_ok() {
                ending.of(stream).await;
            }
        }
    })
    .await;
    vulcand(&edge, &server, settings, json!({})).await;
    (edge, server)
}

/// The same; one that stays, and has not said all of it, has little time.
async fn before_part(part: &str, ending: Ending) -> (Edge, Server) {
    let little = json!({ "Timeouts": { "Read": READ } });
    before_with(part, ending, if ending == Ending::Stay { little } else { json!({}) }).await
}

/// Both kinds of requests: those that may be repeated, and those that may not.
async fn asked(edge: &Edge) -> Vec<String> {
    let get = exchange(edge.address, &format!("{GET}Connection: close\r\n\r\n")).await;
    let post = exchange(edge.address, &format!("{POST}Connection: close\r\n\r\nhi")).await;
    vec![get, post]
}

#[tokio::test]
async fn wherever_a_server_stops_before_its_response_the_client_is_told() {
    for said in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early Hints\r\nLink: <"] {
        for (ending, expected) in
            [(Ending::Close, 502), (Ending::Reset, 502), (Ending::HalfClose, 502), (Ending::Stay, 504)]
        {
            let (edge, _server) = before_part(said, ending).await;
            for answer in asked(&edge).await {
                assert_eq!(statuses(&answer), [expected], "{said:?} and {ending:?}: {answer}");
            }
            is_well(&edge, "v").await;
        }
    }
}

/// The client was told to send its body, and then there is nobody who takes it.
#[tokio::test]
async fn a_server_that_dies_after_it_said_100_is_a_502() {
    for ending in [Ending::Close, Ending::Reset, Ending::Stay] {
        let (edge, _server) = before_part("HTTP/1.1 100 Continue\r\n\r\n", ending).await;
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        client.write_all(format!("{POST}Expect: 100-continue\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let first = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
        if ending == Ending::Stay {
            client.write_all(b"hi").await.unwrap();
        }
        let mut rest = String::new();
        timeout(DEADLINE, client.read_to_string(&mut rest)).await.expect("an end").unwrap();
        let expected = if ending == Ending::Stay { 504 } else { 502 };
        assert_eq!(statuses(&format!("{first}{rest}")).last(), Some(&expected), "{ending:?}: {first}{rest}");
        is_well(&edge, "v").await;
    }
}

#[tokio::test]
async fn wherever_a_response_breaks_off_the_client_sees_it() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    ] {
        for ending in [Ending::Close, Ending::Reset] {
            let (edge, _server) = before(said, ending).await;
            for answer in asked(&edge).await {
                // A head that did not go on yet, or a reset that overtakes what was sent, shows nothing, or 502.
                assert!(matches!(statuses(&answer)[..], [] | [200] | [502]), "{said:?} and {ending:?}: {answer}");
                let is_whole = answer.len() > 1_000_000 || answer.ends_with("0\r\n\r\n");
                assert!(!is_whole || statuses(&answer) == [502], "{said:?} and {ending:?}: {answer}");
            }
            is_well(&edge, "v").await;
        }
    }
}

#[tokio::test]
async fn what_is_no_response_is_a_502() {
    let with = |line: &str| format!("HTTP/1.1 200 OK\r\nX-Evil: 1\r\n{line}\r\nContent-Length: 2\r\n\r\nok");
    let cases = [
        "\0\x01\x02\x03".repeat(100),
        "garbage\r\n\r\n".into(),
        "<html>an error</html>".repeat(50),
        "\x16\x03\x01\x02\x00\x01".into(),
        format!("\r\n{OK}"),
        with("X: a\rSet-Cookie: b"),
        with("X: a\nSet-Cookie: b"),
        with("X: a\0b"),
        with("X: a\r\n folded"),
        with("X : a"),
        with(": a"),
        with("Content-Length: 2"),
        with("Content-Length: 3"),
        with("Transfer-Encoding: chunked"),
        with("Transfer-Encoding: gzip, chunked"),
        with(&format!("X: {}", "a".repeat(100 * 1024))),
        with(&["X: a"; 300].join("\r\n")),
        "HTTP/1.1 200 OK\r\n".to_owned() + &"X: a\r\n".repeat(100_000),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".into(),
        OK.replace("200", "99"),
        OK.replace("200", "2000"),
        OK.replace("1.1", "2.0"),
    ];
    for case in cases {
        let (edge, _server) = before(&case, Ending::Stay).await;
        for answer in asked(&edge).await {
            assert_eq!(statuses(&answer), [502], "{case:.60}: {answer}");
            assert!(!answer.contains("Evil") && !answer.contains("Set-Cookie"), "{answer}");
        }
        is_well(&edge, "v").await;
    }
}

/// It said that the connection stays, and ends it a moment later: before, while or after the next request comes.
#[tokio::test]
async fn a_connection_that_dies_as_a_get_is_sent_costs_nothing() {
    for ending in [Ending::Close, Ending::Reset] {
        let edge = Edge::start().await;
        let server = Server::raw(move |number, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            for _ in 0..number % 7 {
                tokio::task::yield_now().await;
            }
            ending.of(stream).await;
        })
        .await;
        edge.route("a", "a", &[&server]).await;
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        for number in 0..300 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let head = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{number}, {ending:?}: {head}");
            client.read_exact(&mut [0; 2]).await.unwrap();
        }
        drop(client);
        is_well(&edge, "a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_upload_is_a_504() {
    let edge = Edge::start().await;
    let server = Server::raw(|_, mut stream| async move {
        if read_head(&mut stream).await.contains("/well ") {
            return stream.write_all(OK.as_bytes()).await.unwrap();
        }
        std::future::pending().await
    })
    .await;
    vulcand(&edge, &server, json!({ "Timeouts": { "Read": READ } }), json!({})).await;
    for framing in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let head = format!("PUT / HTTP/1.1\r\nHost: v\r\n{framing}\r\n\r\n");
        let (mut from, mut to) = TcpStream::connect(edge.address).await.unwrap().into_split();
        let upload = tokio::spawn(async move {
            to.write_all(head.as_bytes()).await.unwrap();
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            while to.write_all(&chunk).await.is_ok() {}
        });
        let mut head = [0; 12];
        timeout(DEADLINE, from.read_exact(&mut head)).await.expect("an answer").unwrap();
        assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 504", "{framing}");
        drop(from);
        timeout(DEADLINE, upload).await.expect("it is closed").unwrap();
    }
    is_well(&edge, "v").await;
}

#[tokio::test]
async fn an_early_answer_passes_and_ends_the_connection() {
    let (edge, _server) = before("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly", Ending::Stay).await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: v\r\nContent-Length: 1000\r\n\r\npart").await.unwrap();
    let head = timeout(DEADLINE, read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Connection: close\r\n"), "{head}");
    let mut rest = String::new();
    timeout(DEADLINE, client.read_to_string(&mut rest)).await.expect("an end").unwrap();
    assert_eq!(rest, "early");
    is_well(&edge, "v").await;
}
