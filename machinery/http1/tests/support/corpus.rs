//! Requests that parsers are known to read differently, each with the status that refuses it here.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What a request is, its bytes, and the status that answers it; 0: it is accepted.
pub struct Case {
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub status: u16,
}

/// All of them.
pub fn cases() -> Vec<Case> {
    [lines(), targets(), hosts(), lengths(), codings(), connections(), chunks(), trailers()].concat()
}

/// Bytes that are nearly requests: pieces and lines of other cases in one, and bytes changed.
pub fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(cases().into_iter().map(|case| case.bytes).collect::<Vec<_>>());
    let cut = (whole.clone(), any::<Index>(), any::<Index>());
    let piece = cut.prop_map(|(bytes, a, b)| {
        let (a, b) = (a.index(bytes.len()), b.index(bytes.len() + 1));
        bytes[a.min(b)..a.max(b)].to_vec()
    });
    let line = (whole.clone(), any::<Index>()).prop_map(|(bytes, at)| {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        lines[at.index(lines.len())].to_vec()
    });
    let noise = (any::<Index>(), any::<u8>());
    (whole, vec((line, any::<Index>()), 0..3), vec(piece, 0..2), vec(noise, 0..2)).prop_map(
        |(whole, lines, pieces, noises)| {
            let mut joined: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
            for (line, at) in &lines {
                joined.insert(at.index(joined.len() + 1), line);
            }
            let mut bytes = joined.concat();
            bytes.extend(pieces.concat());
            for (at, byte) in noises {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

impl Clone for Case {
    fn clone(&self) -> Self {
        Self { what: self.what, bytes: self.bytes.clone(), status: self.status }
    }
}

fn case(what: &'static str, status: u16, bytes: impl AsRef<[u8]>) -> Case {
    Case { what, bytes: bytes.as_ref().to_vec(), status }
}

/// A POST with these lines after its Host.
fn post(what: &'static str, status: u16, lines_and_body: impl AsRef<[u8]>) -> Case {
    case(what, status, [b"POST /p HTTP/1.1\r\nHost: a\r\n", lines_and_body.as_ref()].concat())
}

/// Of any method, with these lines after its Host.
fn of(method: &str, what: &'static str, status: u16, lines_and_body: impl AsRef<[u8]>) -> Case {
    case(what, status, [method.as_bytes(), b" /o HTTP/1.1\r\nHost: a\r\n", lines_and_body.as_ref()].concat())
}

/// A GET with these header lines.
fn get(what: &'static str, status: u16, lines: impl AsRef<[u8]>) -> Case {
    case(what, status, [b"GET /g HTTP/1.1\r\n", lines.as_ref(), b"\r\n"].concat())
}

/// A GET of this target.
fn target(what: &'static str, status: u16, target: impl AsRef<[u8]>) -> Case {
    case(what, status, [b"GET ", target.as_ref(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat())
}

fn chunked(what: &'static str, status: u16, body: impl AsRef<[u8]>) -> Case {
    post(what, status, [b"Transfer-Encoding: chunked\r\n\r\n", body.as_ref()].concat())
}

fn lines() -> Vec<Case> {
    vec![
        get("plain", 0, "Host: a\r\n"),
        case("empty lines before the request line", 0, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("an empty line of LF before the request line", 400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("CR before the request line", 400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("a space before the request line", 400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("the request line ends in LF", 400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        case("the request line ends in CR", 400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        get("a header ends in LF", 400, "Host: a\nX: b\r\n"),
        get("the last header ends in LF", 400, "X: b\r\nHost: a\n"),
        get("a header ends in space and LF", 400, "Host: a \nX: b\r\n"),
        get("a header ends in CR CR LF", 400, "Host: a\r\r\nX: b\r\n"),
        case("the head ends in LF", 400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        case("the head ends in LF LF", 400, "GET / HTTP/1.1\r\nHost: a\n\n"),
        get("CR in a value", 400, "Host: a\r\nX: b\rc\r\n"),
        get("NUL in a value", 400, b"Host: a\r\nX: b\0c\r\n"),
        get("a control character in a value", 400, b"Host: a\r\nX: b\x0bc\r\n"),
        get("DEL in a value", 400, b"Host: a\r\nX: b\x7fc\r\n"),
        get("HTAB in a value", 0, b"Host: a\r\nX: b\tc\r\n"),
        get("bytes beyond ASCII in a value", 0, b"Host: a\r\nX: b\xff\xc3\xa9\r\n"),
        get("NUL in a name", 400, b"Host: a\r\nX\0: b\r\n"),
        get("bytes beyond ASCII in a name", 400, b"Host: a\r\nX\xe9: b\r\n"),
        get("a space before the colon", 400, "Host: a\r\nX : b\r\n"),
        get("a tab before the colon", 400, "Host: a\r\nX\t: b\r\n"),
        get("a space within a name", 400, "Host: a\r\nX y: b\r\n"),
        get("a space before a name", 400, "Host: a\r\n X: b\r\n"),
        get("a space before the first name", 400, " X: b\r\nHost: a\r\n"),
        get("a folded line", 400, "Host: a\r\nX: b\r\n c\r\n"),
        get("a folded line after an empty value", 400, "Host: a\r\nX:\r\n\tc\r\n"),
        get("no name", 400, "Host: a\r\n: b\r\n"),
        get("no colon", 400, "Host: a\r\nX\r\n"),
        get("an empty value", 0, "Host: a\r\nX:\r\nY: \r\n"),
        get("no space after the colon", 0, "Host:a\r\nX:b\r\n"),
        get("whitespace around values", 0, "Host: \t a \r\nX:  b\t\r\nY: c\r\n"),
        get("names with token characters", 0, "Host: a\r\n!#$%&'*+-.^_`|~: b\r\n"),
        case("no version", 400, "GET /\r\nHost: a\r\n\r\n"),
        case("an empty version", 400, "GET / \r\nHost: a\r\n\r\n"),
        case("HTTP/1.0", 0, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
        case("HTTP/0.9", 505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        case("HTTP/1.2", 505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        case("HTTP/2.0", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        case("HTTP/1.10", 400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        case("HTTP/01.1", 400, "GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        case("http/1.1", 400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
        case("another protocol", 400, "GET / RTSP/1.0\r\nHost: a\r\n\r\n"),
        case("space after the version", 400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        case("two spaces after the method", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("two spaces after the target", 400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("a tab after the method", 400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("a method that is no token", 400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("no method", 400, " / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("a method in small letters", 0, "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("an unknown method", 0, "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("CONNECT", 405, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("a TLS hello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        case("a long request line", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(4096))),
        get("a long header", 431, format!("Host: a\r\nX: {}\r\n", "a".repeat(4096))),
        get("many headers", 431, format!("Host: a\r\n{}", "X: b\r\n".repeat(16))),
        get("as many headers as may be", 0, format!("Host: a\r\n{}", "X: b\r\n".repeat(15))),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        target("a query", 0, "/a/b?c=d&e"),
        target("two slashes", 0, "//a/b"),
        target("dots and escapes stay", 0, "/a/../%2e%2E/%00"),
        target("characters that browsers leave", 0, "/a?b={c}|[d]\"e^`f\\"),
        target("a fragment", 400, "/a#b"),
        target("an angle bracket", 400, "/<a>"),
        target("bytes beyond ASCII", 400, "/é"),
        target("bytes that are no UTF-8", 400, b"/\xff"),
        target("NUL", 400, b"/\0"),
        target("DEL", 400, b"/\x7f"),
        target("a tab", 400, "/a\tb"),
        target("CR", 400, "/a\rb"),
        target("a space", 400, "/a b"),
        target("a space and a version", 400, "/a HTTP/1.1"),
        target("no slash", 400, "a"),
        target("a query only", 400, "?a"),
        target("an authority only", 400, "a:80"),
        target("* of GET", 400, "*"),
        case("* of OPTIONS", 0, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("* and more of OPTIONS", 400, "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"),
        target("an absolute URL", 0, "http://a/b?c"),
        target("an absolute URL in other letters", 0, "HTTP://a/b"),
        target("an absolute URL without path", 0, "http://a"),
        target("an absolute URL of another host", 0, "http://b:81/c"),
        case("an absolute URL of OPTIONS without path", 0, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("an absolute URL without Host", 400, "GET http://a/ HTTP/1.1\r\n\r\n"),
        case("an absolute URL in HTTP/1.0 without Host", 0, "GET http://a/ HTTP/1.0\r\n\r\n"),
        target("an absolute URL with a query but no path", 400, "http://a?b"),
        target("an absolute URL of another scheme", 400, "ftp://a/b"),
        target("an absolute URL without authority", 400, "http:///b"),
        target("an absolute URL with userinfo", 400, "http://u@a/b"),
        target("an absolute URL with a backslash", 400, "http://a\\@b/c"),
        target("an absolute URL with one slash", 400, "http:/a/b"),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        get("a port", 0, "Host: a:81\r\n"),
        get("an address", 0, "Host: [::1]:81\r\n"),
        get("no Host", 400, "X: b\r\n"),
        get("an empty Host", 400, "Host:\r\n"),
        case("no Host in HTTP/1.0", 0, "GET / HTTP/1.0\r\nX: b\r\n\r\n"),
        case("two Hosts in HTTP/1.0", 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        get("two Hosts", 400, "Host: a\r\nHost: b\r\n"),
        get("two equal Hosts", 400, "Host: a\r\nhost: a\r\n"),
        get("a list of hosts", 400, "Host: a, b\r\n"),
        get("a list of hosts without space", 400, "Host: a,b\r\n"),
        get("userinfo", 400, "Host: u@a\r\n"),
        get("a path", 400, "Host: a/b\r\n"),
        get("a query", 400, "Host: a?b\r\n"),
        get("an escape", 400, "Host: a%41\r\n"),
        get("a space", 400, "Host: a b\r\n"),
        get("a quote", 400, "Host: a\"b\r\n"),
        get("bytes beyond ASCII", 400, "Host: é\r\n"),
        get("a port that is no number", 400, "Host: a:b\r\n"),
        get("two ports", 400, "Host: a:80:81\r\n"),
        get("an address without brackets", 400, "Host: ::1\r\n"),
        get("no name before the port", 400, "Host: :80\r\n"),
    ]
}

fn lengths() -> Vec<Case> {
    vec![
        post("a length", 0, "Content-Length: 5\r\n\r\nhello"),
        post("no length", 0, "\r\n"),
        post("a length of nothing", 0, "Content-Length: 0\r\n\r\n"),
        post("leading zeros", 0, "Content-Length: 0005\r\n\r\nhello"),
        of("GET", "a length of GET", 0, "Content-Length: 5\r\n\r\nhello"),
        of("HEAD", "a length of HEAD", 0, "Content-Length: 5\r\n\r\nhello"),
        post("a length in quotes", 400, "Content-Length: \"5\"\r\n\r\nhello"),
        post("a length and a parameter", 400, "Content-Length: 5;a\r\n\r\nhello"),
        post("a length and a comma", 400, "Content-Length: 5,\r\n\r\nhello"),
        post("a comma and a length", 400, "Content-Length: ,5\r\n\r\nhello"),
        post("a length with an exponent", 400, "Content-Length: 5e0\r\n\r\nhello"),
        post("a length and NUL", 400, "Content-Length: 5\0\r\n\r\nhello"),
        post("a length behind LF", 400, "X: b\nContent-Length: 5\r\n\r\nhello"),
        post("a length behind CR", 400, "X: b\rContent-Length: 5\r\n\r\nhello"),
        post("a space before a length's colon", 400, "Content-Length : 5\r\n\r\nhello"),
        post("two lengths", 400, "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        post("two equal lengths", 400, "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        post("a list of lengths", 400, "Content-Length: 5, 5\r\n\r\nhello"),
        post("a list of unequal lengths", 400, "Content-Length: 5,6\r\n\r\nhello"),
        post("a plus", 400, "Content-Length: +5\r\n\r\nhello"),
        post("a minus", 400, "Content-Length: -5\r\n\r\nhello"),
        post("a minus and nothing", 400, "Content-Length: -0\r\n\r\n"),
        post("hexadecimal", 400, "Content-Length: 0x5\r\n\r\nhello"),
        post("a space within", 400, "Content-Length: 5 0\r\n\r\nhello"),
        post("a fraction", 400, "Content-Length: 5.0\r\n\r\nhello"),
        post("an underscore", 400, "Content-Length: 1_0\r\n\r\nhellohello"),
        post("an empty length", 400, "Content-Length:\r\n\r\nhello"),
        post("digits of another script", 400, "Content-Length: ５\r\n\r\nhello"),
        post("20 digits", 400, "Content-Length: 18446744073709551616\r\n\r\nhello"),
        post("whitespace around a length", 0, "Content-Length:\t 5 \t\r\n\r\nhello"),
        post("a length in a folded line", 400, "Content-Length:\r\n 5\r\n\r\nhello"),
        post("a name like Content-Length", 0, "Content_Length: 5\r\n\r\n"),
    ]
}

const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

fn codings() -> Vec<Case> {
    let with = |what, status, line: &str| post(what, status, format!("{line}\r\n\r\n{HELLO}"));
    vec![
        with("chunked", 0, "Transfer-Encoding: chunked"),
        with("chunked in other letters", 0, "TRANSFER-encoding: Chunked"),
        with("whitespace around chunked", 0, "Transfer-Encoding:\t chunked \t"),
        with("length and coding", 400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        with("coding and length", 400, "Transfer-Encoding: chunked\r\nContent-Length: 15"),
        with("length and another coding", 400, "Content-Length: 15\r\nTransfer-Encoding: identity"),
        with("an empty coding", 400, "Transfer-Encoding:"),
        with("an unknown coding", 400, "Transfer-Encoding: identity"),
        with("a coding like chunked", 400, "Transfer-Encoding: xchunked"),
        with("chunked and parameters", 400, "Transfer-Encoding: chunked;a=b"),
        with("chunked in quotes", 400, "Transfer-Encoding: \"chunked\""),
        with("chunked and a control character", 400, "Transfer-Encoding: \x0bchunked"),
        with("chunked behind a folded line", 400, "Transfer-Encoding:\r\n chunked"),
        with("chunked and a comma", 400, "Transfer-Encoding: chunked,"),
        with("a comma and chunked", 400, "Transfer-Encoding: ,chunked"),
        with("chunked twice", 400, "Transfer-Encoding: chunked, chunked"),
        with("chunked on two lines", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with("another coding on the next line", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        with("another coding on the line before", 400, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        with("chunked, not last", 400, "Transfer-Encoding: chunked, gzip"),
        with("a coding before chunked", 501, "Transfer-Encoding: gzip, chunked"),
        with("a space before the colon", 400, "Transfer-Encoding : chunked"),
        with("a name like Transfer-Encoding", 400, "Transfer-Encoding\x0b: chunked"),
        with("a coding behind LF", 400, "X: b\nTransfer-Encoding: chunked"),
        with("a coding behind CR", 400, "X: b\rTransfer-Encoding: chunked"),
        with("the colon of a coding on the next line", 400, "Transfer-Encoding\r\n : chunked"),
        with(
            "a coding that is only like chunked on the next line",
            400,
            "Transfer-Encoding: chunked\r\nTransfer-encoding: x",
        ),
        of("GET", "chunked of GET", 0, format!("Transfer-Encoding: chunked\r\n\r\n{HELLO}")),
        of("OPTIONS", "chunked of OPTIONS", 0, format!("Transfer-Encoding: chunked\r\n\r\n{HELLO}")),
        case(
            "chunked in HTTP/1.0",
            400,
            format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{HELLO}"),
        ),
    ]
}

fn connections() -> Vec<Case> {
    let many = |count| format!("Host: a\r\nConnection: {}\r\n", vec!["x"; count].join(","));
    vec![
        get("Connection names headers", 0, "Host: a\r\nX: b\r\nConnection: close, X\r\n"),
        post("Connection names Content-Length", 0, "Content-Length: 5\r\nConnection: Content-Length\r\n\r\nhello"),
        post("Connection names Transfer-Encoding", 0, {
            format!("Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n{HELLO}")
        }),
        get("Connection names Host", 0, "Host: a\r\nConnection: Host\r\n"),
        get("many members of Connection", 0, many(31)),
        get("too many members of Connection", 400, many(40)),
        get("an upgrade", 0, {
            "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        chunked("chunks", 0, "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        chunked("zeros and letters", 0, "00A\r\n0123456789\r\n000\r\n\r\n"),
        chunked("an extension", 0, "5;a=b;c=\"d e\"\r\nhello\r\n0;f\r\n\r\n"),
        chunked("a space before an extension", 0, "5 ;a\r\nhello\r\n0\r\n\r\n"),
        chunked("a space after a size", 400, "5 \r\nhello\r\n0\r\n\r\n"),
        chunked("a space before a size", 400, " 5\r\nhello\r\n0\r\n\r\n"),
        chunked("no size", 400, "\r\nhello\r\n0\r\n\r\n"),
        chunked("an extension without size", 400, ";a\r\n\r\n"),
        chunked("a sign", 400, "+5\r\nhello\r\n0\r\n\r\n"),
        chunked("a minus", 400, "-5\r\nhello\r\n0\r\n\r\n"),
        chunked("0x", 400, "0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("an underscore", 400, "0_5\r\nhello\r\n0\r\n\r\n"),
        chunked("no hexadecimal", 400, "5g\r\nhello\r\n0\r\n\r\n"),
        chunked("17 digits", 400, "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        chunked("a size beyond 64 bits", 400, "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        chunked("a size ends in LF", 400, "5\nhello\r\n0\r\n\r\n"),
        chunked("a size ends in CR", 400, "5\rhello\r\n0\r\n\r\n"),
        chunked("a size ends in CR CR LF", 400, "5\r\r\nhello\r\n0\r\n\r\n"),
        chunked("an extension ends in LF", 400, "5;a\nhello\r\n0\r\n\r\n"),
        chunked("CR in an extension", 400, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        chunked("NUL in an extension", 400, b"5;a\0\r\nhello\r\n0\r\n\r\n"),
        chunked("long extensions", 400, format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(16 * 1024))),
        chunked("data ends in LF", 400, "5\r\nhello\n0\r\n\r\n"),
        chunked("data is longer than its size", 400, "5\r\nhello!\r\n0\r\n\r\n"),
        chunked("data is shorter than its size", 400, "5\r\nhell\r\n0\r\n\r\n"),
        chunked("data ends in two other bytes", 400, "5\r\nhelloXX0\r\n\r\n"),
        chunked("an empty line after data", 400, "5\r\nhello\r\n\r\n0\r\n\r\n"),
        chunked("a tab after a size", 400, "5\t\r\nhello\r\n0\r\n\r\n"),
        chunked("a comma after a size", 400, "5,5\r\nhello\r\n0\r\n\r\n"),
        chunked("a request in an extension", 0, "5;a=\"GET / HTTP/1.1\"\r\nhello\r\n0\r\n\r\n"),
        chunked("the last chunk's extension ends in LF", 400, "5\r\nhello\r\n0;a\n\r\n"),
        chunked("the last chunk ends in LF", 400, "5\r\nhello\r\n0\n\n"),
        chunked("the body ends in LF", 400, "5\r\nhello\r\n0\r\n\n"),
        chunked("the body ends in CR and something", 400, "5\r\nhello\r\n0\r\n\rX"),
    ]
}

fn trailers() -> Vec<Case> {
    let with = |what, status, lines: &str| chunked(what, status, format!("5\r\nhello\r\n0\r\n{lines}\r\n"));
    vec![
        with("a trailer", 0, "X: b\r\nY:c\r\n"),
        with("a trailer's line ends in LF", 400, "X: b\nY: c\r\n"),
        with("CR in a trailer", 400, "X: b\rc\r\n"),
        with("a folded trailer", 400, "X: b\r\n c\r\n"),
        with("a trailer without colon", 400, "X\r\n"),
        with("a trailer without name", 400, ": b\r\n"),
        with("a space before a trailer's colon", 400, "X : b\r\n"),
        with("NUL in a trailer", 400, "X: \0\r\n"),
        with("a trailer Content-Length", 400, "Content-Length: 5\r\n"),
        with("a trailer Transfer-Encoding", 400, "transfer-encoding: chunked\r\n"),
        with("a trailer Host", 400, "Host: b\r\n"),
        with("a trailer Authorization", 400, "Authorization: b\r\n"),
        with("a trailer X-Forwarded-Proto", 400, "X-Forwarded-Proto: https\r\n"),
        with("long trailers", 400, &format!("X: {}\r\n", "b".repeat(16 * 1024))),
    ]
}
