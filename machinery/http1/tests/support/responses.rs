//! Responses: clear ones with their framing, and ones that parsers are known to read differently.

use http1::{Asked, Framing};

pub struct Clear {
    pub bytes: Vec<u8>,
    pub asked: Asked,
    pub framing: Framing,
    /// Whether the connection stays.
    pub keep_alive: bool,
}

const GET: Asked = Asked { head: false, upgrade: false };
const HEAD: Asked = Asked { head: true, upgrade: false };

pub fn clear() -> Vec<Clear> {
    use Framing::{Chunked, Length, None, UntilClose};
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", GET, None, true),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 Schön\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", GET, Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\nhello", GET, UntilClose, false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", GET, UntilClose, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\nhello", GET, Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HEAD, None, true),
        ("HTTP/1.1 200 OK\r\n\r\n", HEAD, None, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD, None, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", GET, None, true),
        ("HTTP/1.1 204 No Content\r\n\r\n", GET, None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", GET, None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", GET, None, false),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", GET, None, false),
        ("HTTP/1.1 100 Continue\r\n\r\n", GET, None, true),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", GET, None, false),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
        ("HTTP/1.1 200 OK\r\nX:  a\t\r\nY:b\r\nContent-Length: 5\r\n\r\nhello", GET, Length(5), true),
    ];
    let clear = |(text, asked, framing, keep_alive): (&str, Asked, Framing, bool)| Clear {
        bytes: text.into(),
        asked,
        framing,
        keep_alive,
    };
    cases.map(clear).into()
}

/// What each is, and its bytes.
pub fn ambiguous() -> Vec<(&'static str, Vec<u8>)> {
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello").into_bytes();
    let start = |line: &str| format!("{line}Content-Length: 5\r\n\r\nhello").into_bytes();
    vec![
        ("two equal lengths", with("Content-Length: 5\r\nContent-Length: 5\r\n")),
        ("two lengths", with("Content-Length: 5\r\nContent-Length: 4\r\n")),
        ("a list of lengths", with("Content-Length: 5, 5\r\n")),
        ("a sign", with("Content-Length: +5\r\n")),
        ("length and coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        ("a coding before chunked", with("Transfer-Encoding: gzip, chunked\r\n")),
        ("chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        ("an unknown coding", with("Transfer-Encoding: identity\r\n")),
        ("a line ends in LF", with("X: b\n")),
        ("a line ends in space and LF", with("X: b \nY: c\r\n")),
        ("CR in a value", with("X: b\rc\r\n")),
        ("NUL in a value", with("X: b\0\r\n")),
        ("a space before the colon", with("X : b\r\n")),
        ("a space before a name", with(" X: b\r\n")),
        ("a folded line", with("X: b\r\n c\r\n")),
        ("no name", with(": b\r\n")),
        ("no colon", with("X\r\n")),
        ("many headers", with(&"X: b\r\n".repeat(17))),
        ("a long header", with(&format!("X: {}\r\n", "b".repeat(4096)))),
        ("an empty line before", start("\r\nHTTP/1.1 200 OK\r\n")),
        ("an empty line of LF before", start("\nHTTP/1.1 200 OK\r\n")),
        ("the status line ends in LF", start("HTTP/1.1 200 OK\n")),
        ("the status line ends in LF after the status", start("HTTP/1.1 200\n")),
        ("the head ends in LF", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello".to_vec()),
        ("two spaces", start("HTTP/1.1  200 OK\r\n")),
        ("a status below 100", start("HTTP/1.1 099 Low\r\n")),
        ("a status of two digits", start("HTTP/1.1 20 OK\r\n")),
        ("a status of four digits", start("HTTP/1.1 2000 OK\r\n")),
        ("a negative status", start("HTTP/1.1 -20 OK\r\n")),
        ("another version", start("HTTP/2.0 200 OK\r\n")),
        ("another protocol", start("ICY 200 OK\r\n")),
        ("http in small letters", start("http/1.1 200 OK\r\n")),
        ("a switch nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec()),
        (
            "chunked in HTTP/1.0",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        ),
    ]
}
