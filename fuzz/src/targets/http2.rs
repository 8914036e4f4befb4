//! HTTP/2 as it becomes HTTP/1, and back.
//!
//! An input of `request` is a request as text: `METHOD URI [protocol]`, header lines, an empty line, trailers. One of `frames` is
//! what a client says after its preface and settings; its first byte says in what pieces.

use http::header::{COOKIE, HOST, TE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};
use http1::{Asked, Coding, Framing, Limits, Parsed, Storage};
use http2::{Connection, Event, Head, Key, PREFACE, Unread};
use http2heads::{put_trailers, read, to_map, trailers};
use std::time::Instant;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

/// Of a name or a value: their lengths are a byte each.
const TEXT_BYTES_MAX: usize = 126;

const OFFERED: http2::Limits = http2::Limits {
    streams_max: 4,
    stream_window_bytes: 1000,
    connection_window_bytes: 2000,
    head_bytes_max: 4000,
    unsent_bytes_max: 1000,
    stream_unsent_bytes_max: 500,
    websocket_key: || "dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
};

pub const WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "CONNECT ",
    "OPTIONS ",
    "https://a.example",
    "http://a:80",
    "/p?q=1",
    "*",
    " websocket",
    "\n",
    "\n\n",
    ": ",
    ":",
    "host: a.example",
    "cookie: a=1",
    "content-length: 5",
    "content-length: 05",
    "expect: 100-continue",
    "te: trailers",
    "x-a: b",
    "trailer: x-sum",
    "x_forwarded_for: 6.6.6.6",
    "\\",
    "\"",
    "`",
    "<",
    "[::1]",
    "%0d%0a",
    "@",
    "#",
    "\t",
    "é",
];

/// Frames, begun and whole: settings, heads of GET and POST, data, a reset, a ping, more room, a part of a head, a goodbye.
pub const FRAME_WORDS: &[&str] = &[
    "\0\0\0\u{4}\0\0\0\0\0",
    "\0\0\u{6}\u{4}\0\0\0\0\0\0\u{4}\0\0\0\u{5}",
    "\0\0\u{4}\u{1}\u{4}\0\0\0\u{1}\u{f}\u{d}\u{1}5",
    "\0\0\u{5}\0\0\0\0\0\u{1}hello",
    "\0\0\u{5}\0\u{1}\0\0\0\u{1}hello",
    "\0\0\u{7}\0\u{9}\0\0\0\u{3}\u{2}ello\0\0",
    "\0\0\u{4}\u{3}\0\0\0\0\u{1}\0\0\0\u{8}",
    "\0\0\u{8}\u{6}\0\0\0\0\0pingping",
    "\0\0\u{4}\u{8}\0\0\0\0\0\0\0\0\u{9}",
    "\0\0\u{4}\u{8}\0\0\0\0\u{1}\0\0\0\u{9}",
    "\0\0\u{8}\u{7}\0\0\0\0\0\0\0\0\u{1}\0\0\0\0",
    "\0\0\u{1}\u{9}\u{4}\0\0\0\u{1}",
    "\0\0\u{5}\u{1}\u{5}\0\0\0\u{1}\u{40}\u{1}x\u{1}y",
    "\0\0\0\u{1}",
    "\0\0\u{1}",
];

pub fn request(bytes: &[u8]) {
    let (first, rest) = super::first_line(bytes);
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
    trailers_stay(&fields(&rest[end..]));
    let Some(asked) = Request::of_line(first, lines(&rest[..end])) else { return };
    for has_more in [false, true] {
        let mut connection = begun();
        let mut head = Head::default();
        let said = asked.frame(has_more);
        if let (used, Some(Event::Request(came))) = connection.receive(&said, &mut head) {
            assert_eq!(used, said.len());
            if !came.is_too_large {
                asked.is_one_request(head.bytes(), came.coding);
            }
        }
    }
}

/// A request as a client means it.
struct Request {
    method: Vec<u8>,
    scheme: Vec<u8>,
    authority: Vec<u8>,
    path: Vec<u8>,
    protocol: Option<Vec<u8>>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

fn lines(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        let fits = name.len().max(value.len()) <= TEXT_BYTES_MAX;
        fits.then(|| (name.to_vec(), value.to_vec()))
    };
    text.split(|byte| *byte == b'\n').filter_map(pair).take(64).collect()
}

/// Those that a head can have.
fn fields(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines(text) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_bytes(&value)) {
            map.append(name, value);
        }
    }
    map
}

impl Request {
    fn of_line(line: &[u8], fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').map(|word| &word[..word.len().min(TEXT_BYTES_MAX)]);
        let (method, url) = (words.next()?.to_vec(), words.next()?);
        let (scheme, rest) = match url.windows(3).position(|three| three == b"://") {
            Some(end) => (&url[..end], &url[end + 3..]),
            None => (&b"https"[..], url),
        };
        let (authority, path) = rest.split_at(rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len()));
        let (authority, path) = if rest == b"*" { (&b"a"[..], rest) } else { (authority, path) };
        let protocol = words.next().map(<[u8]>::to_vec);
        let (scheme, authority, path) = (scheme.to_vec(), authority.to_vec(), path.to_vec());
        Some(Self { method, scheme, authority, path, protocol, fields })
    }

    /// Its head, in a frame.
    fn frame(&self, has_more: bool) -> Vec<u8> {
        let mut block = Vec::new();
        let mut put = |name: &[u8], value: &[u8]| {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend_from_slice(text);
            }
        };
        put(b":method", &self.method);
        if !(self.method == b"CONNECT" && self.protocol.is_none()) {
            put(b":scheme", &self.scheme);
            put(b":path", &self.path);
        }
        if !self.authority.is_empty() {
            put(b":authority", &self.authority);
        }
        if let Some(protocol) = &self.protocol {
            put(b":protocol", protocol);
        }
        self.fields.iter().for_each(|(name, value)| put(name, value));
        let length = (block.len() as u32).to_be_bytes();
        let flags = if has_more { 4 } else { 5 };
        [&length[1..], &[1, flags, 0, 0, 0, 1], &block].concat()
    }

    /// Whatever follows it: it ends where it ends, and says what was said; or it is refused as any other.
    fn is_one_request(&self, head: &[u8], coding: Coding) {
        let smuggled = [head, b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"].concat();
        let mut storage = Storage::new();
        let read_as = match http1::Request::parse(&smuggled, &mut storage, &LIMITS) {
            Ok(Parsed::Complete(read_as)) => read_as,
            Ok(Parsed::Partial) => panic!("it has no end: {}", head.escape_ascii()),
            Err(_) => return,
        };
        assert_eq!(read_as.head_bytes(), head.len(), "{}", head.escape_ascii());
        let method = if self.protocol.is_some() { b"GET" } else { &self.method[..] };
        assert_eq!((read_as.method.as_bytes(), read_as.target.as_bytes()), (method, &self.path[..]));
        assert_eq!(read_as.framing == Framing::Chunked, coding == Coding::Chunked);
        let named = |line: &&http1::Header<'_>| !line.name.eq_ignore_ascii_case("host");
        let map = to_map(&smuggled, read_as.headers()).expect("its headers are some");
        let lines = read_as.headers().iter().filter(named).count();
        assert!(map.len() <= lines + 1, "{lines} lines, {} fields", map.len());
        self.is_the_same(head);
    }

    /// And back.
    fn is_the_same(&self, head: &[u8]) {
        let Ok(Some(back)) = read(head, &LIMITS, Scheme::HTTPS, true) else { return };
        let sent = back.request;
        let is_websocket = self.protocol.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
        assert_eq!(back.upgrade.is_some(), is_websocket);
        let target = String::from_utf8_lossy(&self.path).replace('"', "%22").replace('`', "%60");
        assert_eq!(sent.uri().path_and_query().map(PathAndQuery::as_str), Some(&*target));
        let said = |name: &HeaderName| -> Vec<&[u8]> {
            let same = |(found, _): &&(Vec<u8>, Vec<u8>)| *found == name.as_str().as_bytes();
            self.fields.iter().filter(same).map(|(_, value)| trimmed(value)).collect()
        };
        for name in sent.headers().keys().filter(|name| ![HOST, COOKIE, TE].contains(name)) {
            let values: Vec<&[u8]> = sent.headers().get_all(name).iter().map(|value| value.as_bytes()).collect();
            // What the edge says itself: the framing, and the key of a websocket.
            let is_own = name == "content-length" || name.as_str().starts_with("sec-websocket-key");
            assert!(is_own || values == said(name), "{name}");
        }
        let crumbs: Vec<&[u8]> = said(&COOKIE).into_iter().filter(|crumb| !crumb.is_empty()).collect();
        let cookie = sent.headers().get(COOKIE).map(|cookie| cookie.as_bytes().to_vec()).unwrap_or_default();
        assert!(crumbs.iter().all(|crumb| cookie.windows(crumb.len()).any(|part| part == *crumb)));
    }
}

/// A connection whose client has said its settings.
fn begun() -> Connection {
    let mut connection = Connection::new(OFFERED, Instant::now());
    connection.receive(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat(), &mut Head::default());
    let said = connection.unsent().len();
    connection.sent(said);
    connection
}

/// In whatever pieces they come, the same becomes of them; what is sent is whole frames, within the client's windows.
pub fn frames(bytes: &[u8]) {
    let Some((piece, said)) = bytes.split_first() else { return };
    let whole = told(said, usize::MAX);
    assert_eq!(told(said, usize::from(*piece).max(1)), whole);
    let mut sent = &whole.1[..];
    while let [high, middle, low, kind, _, _, _, _, _, rest @ ..] = sent {
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        assert!(*kind < 10 && length <= 16_384 && rest.len() >= length);
        sent = &rest[length..];
    }
    assert!(sent.is_empty());
}

/// What becomes of what a client says, and what it is sent.
fn told(said: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (mut connection, mut head, mut served) = (begun(), Head::default(), Vec::new());
    let mut seen = Vec::new();
    for mut part in said.chunks(piece) {
        while !part.is_empty() {
            let (used, event) = connection.receive(part, &mut head);
            part = &part[used..];
            match event {
                Some(Event::Request(request)) => {
                    seen.push(format!("{request:?} {}", head.bytes().escape_ascii()));
                    served.push(request.key);
                }
                Some(event) => seen.push(format!("{event:?}")),
                None => {}
            }
        }
    }
    served.into_iter().for_each(|key| serve(&mut connection, key, &mut seen));
    (seen, connection.unsent().to_vec())
}

fn serve(connection: &mut Connection, key: Key, seen: &mut Vec<String>) {
    loop {
        let unread = connection.unread(key);
        seen.push(format!("{unread:?}"));
        let Unread::Data(data) = unread else { break };
        let count = data.len();
        connection.read(key, count);
    }
    let lines = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    if connection.respond(key, lines, Asked::default()).is_ok() && connection.room(key) >= 3 {
        connection.send(key, b"yes", false).expect("it was not reset");
        connection.send_trailers(key, b"a: b\r\n\r\n").expect("it was not ended");
    }
    connection.release(key);
}

/// HTTP/1 has none around a value (RFC 9110 §5.5).
fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !is_space(byte)).map_or(from, |last| last + 1);
    &value[from..to]
}

/// As lines behind a chunked body they are the same fields, and a body that HTTP/1 reads to its end.
fn trailers_stay(fields: &HeaderMap) {
    let mut lines = Vec::new();
    put_trailers(&mut lines, Some(fields));
    let mut body = http1::Body::new(Framing::Chunked);
    if body.advance(&lines).is_ok_and(|used| used == lines.len()) {
        assert!(body.is_done(), "{}", lines.escape_ascii());
        let read = trailers(&lines[b"0\r\n".len()..]).unwrap_or_default();
        for name in read.keys() {
            let values = |of: &HeaderMap| -> Vec<Vec<u8>> {
                of.get_all(name).iter().map(|value| value.as_bytes().trim_ascii().to_vec()).collect()
            };
            assert_eq!(values(&read), values(fields), "{name}");
        }
    }
}
