use super::*;
use crate::{Answer, Asked, Limits, Parsed, Storage};

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 64 };
const REPLY: Reply<'static> = Reply { connection: Connection::Stays, framing: None, date: None, edits: &[] };

fn written(head: &str, asked: Asked, reply: &Reply<'_>) -> String {
    let mut storage = Storage::new();
    let Ok(Parsed::Complete(response)) = Response::parse(head.as_bytes(), &mut storage, &LIMITS, asked) else {
        panic!("{head}");
    };
    let mut out = Vec::new();
    response.write(&mut out, reply);
    String::from_utf8(out).unwrap()
}

fn got(head: &str) -> String {
    written(head, Asked::default(), &REPLY)
}

#[test]
fn a_plain_response_goes_on_as_it_came() {
    let head = "HTTP/1.1 200 Very OK\r\nDate: x\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    assert_eq!(got(head), head);
}

#[test]
fn hop_by_hop_headers_of_a_response_end_here() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive, A\r\nA: b\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
        Proxy-Authenticate: x\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(got(head), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
}

#[test]
fn status_lines_are_written_in_full() {
    assert_eq!(got("HTTP/1.0 404 Not Found\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n\r\n");
    assert_eq!(got("HTTP/1.1 200\r\nA:  b \r\n\r\n"), "HTTP/1.1 200 \r\nA: b\r\n\r\n");
}

#[test]
fn framing_is_told_only_where_a_body_can_be() {
    let length = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(got(length), "HTTP/1.1 204 No Content\r\n\r\n");
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(got(not_modified), not_modified);
    let head = Asked { head: true, upgrade: false };
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(written(length, head, &REPLY), length);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(written(chunked, head, &REPLY), "HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn bodies_are_framed_as_the_client_can_read_them() {
    let reply = |framing| Reply { framing: Some(framing), ..REPLY };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let unframed = written(chunked, Asked::default(), &reply(Framing::UntilClose));
    assert_eq!(unframed, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(written(&unframed, Asked::default(), &reply(Framing::Chunked)), chunked);
    let length = written(&unframed, Asked::default(), &reply(Framing::Length(5)));
    assert_eq!(length, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
}

#[test]
fn the_client_is_told_about_its_connection() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let told = |connection| written(ok, Asked::default(), &Reply { connection, ..REPLY });
    assert!(told(Connection::Close).contains("\r\nConnection: close\r\n"));
    assert!(told(Connection::KeepAlive).contains("\r\nConnection: keep-alive\r\n"));
    assert!(!told(Connection::Stays).contains("Connection"));
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n";
    let asked = Asked { head: false, upgrade: true };
    let told = written(switch, asked, &Reply { connection: Connection::Upgrade(b"websocket"), ..REPLY });
    let expected = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n";
    assert_eq!(told, expected);
}

#[test]
fn a_date_is_added_where_there_is_none_and_edits_are_made() {
    let reply = Reply { date: Some("now"), ..REPLY };
    let dated = "HTTP/1.1 204 No Content\r\nDate: then\r\n\r\n";
    assert_eq!(written(dated, Asked::default(), &reply), dated);
    let edits = [Edit::set("server", b"edge").unwrap(), Edit::remove("A").unwrap()];
    let text = written(
        "HTTP/1.1 204 No Content\r\nServer: x\r\nA: b\r\n\r\n",
        Asked::default(),
        &Reply { edits: &edits, ..reply },
    );
    assert_eq!(text, "HTTP/1.1 204 No Content\r\nserver: edge\r\nDate: now\r\n\r\n");
}

#[test]
fn own_answers_read_back() {
    let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
    let answer = Answer { status: 404, headers: &headers, connection: Connection::Close };
    let mut out = Vec::new();
    answer.write(&mut out, b"{}");
    let expected =
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut out = Vec::new();
    Answer { status: 100, headers: &[], connection: Connection::Stays }.write_head(&mut out, Framing::None);
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
}
