use super::*;
use crate::{Limits, Parsed, Storage};

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 64 };

fn forward(trusted: bool, keeps_host: bool) -> Forward<'static> {
    let forwarded = Forwarded { trusted, client: "192.0.2.7", scheme: Scheme::Http, server: "edge-1" };
    Forward { authority: "10.0.0.1:5000", keeps_host, target: None, forwarded, framing: None, edits: &[] }
}

/// The head that a server receives, its lines sorted but for the first.
fn written(head: &str, forward: &Forward<'_>) -> Vec<String> {
    let mut storage = Storage::new();
    let Ok(Parsed::Complete(request)) = Request::parse(head.as_bytes(), &mut storage, &LIMITS) else {
        panic!("{head}");
    };
    let mut out = Vec::new();
    request.write(&mut out, forward);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_suffix("\r\n\r\n").unwrap();
    assert!(!text.contains("\r\n\r\n"));
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

/// Without what every server is told about the client.
fn own(head: &str, forward: &Forward<'_>) -> Vec<String> {
    let mut lines = written(head, forward);
    lines.retain(|line| !line.starts_with("X-"));
    lines
}

#[test]
fn a_plain_request_goes_on_as_it_came() {
    let lines = written("GET /a?b HTTP/1.1\r\nAccept: */*\r\nHost: a:81\r\nCookie: c=d\r\n\r\n", &forward(false, true));
    let expected = [
        "GET /a?b HTTP/1.1",
        "Accept: */*",
        "Cookie: c=d",
        "Host: a:81",
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Host: a:81",
        "X-Forwarded-Port: 81",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Server: edge-1",
        "X-Real-Ip: 192.0.2.7",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn hop_by_hop_headers_end_here() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Private, Host,TE\r\nPrivate: 1\r\nKeep-Alive: 1\r\n\
        TE: trailers, deflate\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: x\r\nprivate: 2\r\nKept: 1\r\n\r\n";
    assert_eq!(own(head, &forward(false, true)), ["GET / HTTP/1.1", "Host: a", "Kept: 1", "TE: trailers"]);
}

#[test]
fn headers_that_gateways_take_for_the_proxys_end_here() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\nx-real_ip: 6.6.6.6\r\nContent_Length: 5\r\n\
        Transfer_Encoding: chunked\r\nX_Y: 1\r\n\r\n";
    let lines = written(head, &forward(false, true));
    let odd: Vec<_> = lines.iter().filter(|line| line.contains('_')).collect();
    assert_eq!(odd, ["X_Y: 1"]);
}

#[test]
fn what_clients_say_of_themselves_is_not_believed() {
    let head = "GET / HTTP/1.1\r\nHost: a:8181\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\n\
        X-Real-IP: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Host: b\r\nX-Forwarded-Server: c\r\n\r\n";
    let expected = [
        "GET / HTTP/1.1",
        "Host: 10.0.0.1:5000",
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Host: a:8181",
        "X-Forwarded-Port: 8181",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Server: edge-1",
        "X-Real-Ip: 192.0.2.7",
    ];
    assert_eq!(written(head, &forward(false, false)), expected);
}

#[test]
fn a_trusted_client_is_believed_and_added_to() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
        x-forwarded-for: 7.7.7.7\r\nX-Forwarded-Server: c\r\n\r\n";
    let expected = [
        "GET / HTTP/1.1",
        "Host: a",
        "X-Forwarded-For: 6.6.6.6, 7.7.7.7, 192.0.2.7",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 80",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Server: edge-1",
        "X-Real-Ip: 192.0.2.7",
    ];
    assert_eq!(written(head, &forward(true, true)), expected);
}

#[test]
fn connection_cannot_take_away_what_the_proxy_says() {
    let head =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For, X-Real-Ip\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    for trusted in [false, true] {
        let lines = written(head, &forward(trusted, true));
        assert!(lines.contains(&"X-Forwarded-For: 192.0.2.7".to_owned()), "{lines:?}");
        assert!(lines.contains(&"X-Real-Ip: 192.0.2.7".to_owned()), "{lines:?}");
    }
}

#[test]
fn the_scheme_tells_web_sockets_and_tls() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let socket = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let cases = [
        (plain, Scheme::Http, "http", "80"),
        (plain, Scheme::Https, "https", "443"),
        (socket, Scheme::Http, "ws", "80"),
        (socket, Scheme::Https, "wss", "443"),
    ];
    for (head, scheme, proto, port) in cases {
        let mut forward = forward(false, true);
        forward.forwarded.scheme = scheme;
        let lines = written(head, &forward);
        assert!(lines.contains(&format!("X-Forwarded-Proto: {proto}")), "{lines:?}");
        assert!(lines.contains(&format!("X-Forwarded-Port: {port}")), "{lines:?}");
    }
    let expected = ["GET / HTTP/1.1", "Connection: upgrade", "Host: a", "Upgrade: WebSocket"];
    assert_eq!(own(socket, &forward(false, true)), expected);
}

#[test]
fn tunnels_of_http2_are_not_offered() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(own(head, &forward(false, true)), ["GET / HTTP/1.1", "Host: a"]);
}

#[test]
fn odd_forms_are_written_in_the_usual_one() {
    let forward = forward(false, true);
    let absolute = "GET HTTP://b:1/p?q HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(own(absolute, &forward), ["GET /p?q HTTP/1.1", "Host: b:1"]);
    let old = "\r\nGET / HTTP/1.0\r\nExpect: 100-continue\r\nA: b\r\n\r\n";
    assert_eq!(own(old, &forward), ["GET / HTTP/1.1", "A: b", "Host: 10.0.0.1:5000"]);
    let spaced = "GET / HTTP/1.1\r\nHost:\ta\r\nA:b\r\nB: \t c\t \r\nC:\r\nD: e\r\nContent-Length:007\r\n\r\n";
    let expected = ["GET / HTTP/1.1", "A: b", "B: c", "C: ", "Content-Length: 7", "D: e", "Host: a"];
    assert_eq!(own(spaced, &forward), expected);
}

#[test]
fn a_body_may_be_framed_anew() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n";
    let framing = |framing| Forward { framing: Some(framing), ..forward(false, true) };
    let expected = ["POST / HTTP/1.1", "A: b", "Content-Length: 5", "Host: a"];
    assert_eq!(own(chunked, &framing(Framing::Length(5))), expected);
    assert_eq!(own(chunked, &framing(Framing::None)), ["POST / HTTP/1.1", "A: b", "Host: a"]);
    let expected = ["POST / HTTP/1.1", "A: b", "Host: a", "Transfer-Encoding: chunked"];
    assert_eq!(own(chunked, &forward(false, true)), expected);
    let plain = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA: b\r\n\r\n";
    assert_eq!(own(plain, &framing(Framing::Chunked)), expected);
}

#[test]
fn middlewares_edit_targets_and_headers() {
    let edits = [
        Edit::remove("cookie").unwrap(),
        Edit::set("A", b"1").unwrap(),
        Edit::add("B", b"2").unwrap(),
        Edit::set("C", b"3").unwrap(),
        Edit::remove("c").unwrap(),
        Edit::add("D", b"4").unwrap(),
        Edit::set("x-real-ip", b"1.2.3.4").unwrap(),
        Edit::remove("X-Forwarded-For").unwrap(),
    ];
    let head =
        "GET /old HTTP/1.1\r\nHost: a\r\na: x\r\nA: y\r\nB: z\r\nCookie: c\r\nC: d\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    for trusted in [false, true] {
        let target = Target::new("/new?q");
        let lines = written(head, &Forward { target, edits: &edits, ..forward(trusted, true) });
        let expected = [
            "GET /new?q HTTP/1.1",
            "A: 1",
            "B: 2",
            "B: z",
            "D: 4",
            "Host: a",
            "X-Forwarded-Host: a",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Server: edge-1",
            "x-real-ip: 1.2.3.4",
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn edits_cannot_break_a_head() {
    assert_eq!(Edit::set("A", b"b\r\nC: d"), None);
    assert_eq!(Edit::add("A\r\nB", b"c"), None);
    assert_eq!(Edit::add("", b"c"), None);
    for ours in ["Content-Length", "transfer-encoding", "Connection", "Host", "Upgrade", "TE", "Keep-Alive"] {
        assert_eq!(Edit::set(ours, b"1"), None, "{ours}");
        assert_eq!(Edit::remove(ours), None, "{ours}");
    }
    let broken = Forwarded { server: "edge\r\nX: y", ..forward(false, true).forwarded };
    let lines = written("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &Forward { forwarded: broken, ..forward(false, true) });
    assert!(!lines.iter().any(|line| line.contains("edge") || line == "X: y"), "{lines:?}");
}
