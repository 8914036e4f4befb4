//! HTTP/2 as it becomes HTTP/1, and back.
//!
//! An input is a request as text: `METHOD URI [protocol]`, header lines, an empty line, trailers. What the frame layer lets
//! nobody say is left out of it.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http1::{Framing, Limits, Parsed, Storage};
use http2heads::{Coding, put_trailers, read, to_map, trailers, write};

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

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

/// Headers that the frame layer refuses (RFC 9113 §8.2.2), or that say there what is said elsewhere.
const REFUSED: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

pub fn request(bytes: &[u8]) {
    let (first, rest) = super::first_line(bytes);
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
    let (fields, behind) = (fields(&rest[..end]), self::fields(&rest[end..]));
    trailers_stay(&behind);
    let Some((request, protocol)) = of_line(first, fields) else { return };
    for has_more in [false, true] {
        for protocol in [None, protocol.as_deref()] {
            let mut head = Vec::new();
            let Ok(coding) = write(&mut head, &request, protocol, has_more, "dGhlIHNhbXBsZSBub25jZQ==") else {
                continue;
            };
            is_one_request(&head, &request, protocol, coding);
        }
    }
}

fn fields(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) else { continue };
        if !REFUSED.contains(&name.as_str()) && map.len() < 64 {
            map.append(name, value);
        }
    }
    map
}

fn of_line(line: &[u8], fields: HeaderMap) -> Option<(Request<()>, Option<String>)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    let uri: Uri = words.next()?.parse().ok()?;
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, fields);
    Some((request, words.next().map(str::to_owned)))
}

/// Whatever follows it: it ends where it ends, and says what was said; or it is refused as any other.
fn is_one_request(head: &[u8], request: &Request<()>, protocol: Option<&str>, coding: Coding) {
    let smuggled = [head, b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"].concat();
    let mut storage = Storage::new();
    let read_as = match http1::Request::parse(&smuggled, &mut storage, &LIMITS) {
        Ok(Parsed::Complete(read_as)) => read_as,
        Ok(Parsed::Partial) => panic!("it has no end: {}", head.escape_ascii()),
        Err(_) => return,
    };
    assert_eq!(read_as.head_bytes(), head.len(), "{}", head.escape_ascii());
    let method = if protocol.is_some() { "GET" } else { request.method().as_str() };
    let target = request.uri().path_and_query().map(PathAndQuery::as_str);
    assert_eq!((read_as.method, Some(read_as.target)), (method, target));
    assert_eq!(read_as.framing == Framing::Chunked, coding == Coding::Chunked);
    // And back.
    let Ok(Some(back)) = read(head, &LIMITS, Scheme::HTTPS, true) else { return };
    let sent = back.request;
    assert_eq!(back.upgrade.is_some(), protocol.is_some_and(|name| name.eq_ignore_ascii_case("websocket")));
    if back.upgrade.is_none() {
        assert_eq!(sent.method().as_str(), method);
    }
    let target = target.unwrap_or_default().replace('"', "%22").replace('`', "%60");
    assert_eq!(sent.uri().path_and_query().map(PathAndQuery::as_str), Some(&*target));
    for name in request.headers().keys().filter(|name| ![HOST, COOKIE, TE, CONTENT_LENGTH].contains(name)) {
        let values = |of: &HeaderMap| -> Vec<Vec<u8>> {
            of.get_all(name).iter().map(|value| trimmed(value.as_bytes()).to_vec()).collect()
        };
        // The key of a websocket is the edge's own.
        if !name.as_str().starts_with("sec-websocket-key") {
            assert_eq!(values(sent.headers()), values(request.headers()), "{name}");
        }
    }
    let crumbs: Vec<&[u8]> = request.headers().get_all(COOKIE).iter().map(|crumb| crumb.as_bytes()).collect();
    let cookie = sent.headers().get(COOKIE).map(|cookie| cookie.as_bytes().to_vec());
    assert_eq!(cookie, (!crumbs.is_empty()).then(|| trimmed(&crumbs.join(&b"; "[..])).to_vec()));
    let lines = read_as.headers().iter().filter(|line| !line.name.eq_ignore_ascii_case("host")).count();
    let map = to_map(&smuggled, read_as.headers()).expect("its headers are some");
    assert!(map.len() <= lines + 1, "{lines} lines, {} fields", map.len());
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
    put_trailers(&mut lines, Some(fields), true);
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
