//! HTTP/1: heads and chunked bodies.

use http1::{
    Asked, BadChunk, Body, Connection, Edit, Forward, Forwarded, Framing, Limits, Parsed, Reply, Request, Response,
    Scheme, Storage, head_may_end,
};

const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 32 };
/// For what was written: lines of the proxy's own come in, and chains of addresses grow.
const WIDE: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 64 };
const CLIENT: &str = "192.0.2.7";

pub const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    " ",
    ": ",
    ",",
    ";",
    "\t",
    "GET / HTTP/1.1\r\n",
    "POST /p?q HTTP/1.1\r\n",
    "HEAD ",
    "OPTIONS * ",
    "CONNECT ",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "http://a/b",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 304 \r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Host: a\r\n",
    "Host: [::1]:80\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "transfer-encoding:",
    "chunked",
    "identity",
    "Connection: close\r\n",
    "Connection: keep-alive, Upgrade\r\n",
    "Connection: Content-Length, Host, X\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "Trailer: X\r\n",
    "Keep-Alive: timeout=5\r\n",
    "Proxy-Connection: close\r\n",
    "X-Forwarded-For: 6.6.6.6, 10.0.0.1\r\n",
    "X-Forwarded-Host: b\r\n",
    "X-Forwarded-Proto: https\r\n",
    "X-Forwarded-Port: 1\r\n",
    "X-Forwarded-Server: s\r\n",
    "X-Real-Ip: 6.6.6.6\r\n",
    "X_Forwarded_For: 6.6.6.6\r\n",
    "Content_Length: 5\r\n",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
    "X-A: b\r\n",
    " folded\r\n",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
];

pub const CHUNK_WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "0\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "00A\r\n",
    "1;a=b\r\n",
    "; a=\"c d\"",
    " ;",
    "\t",
    "FFFFFFFFFFFFFFFF\r\n",
    "7fffffffffffffff\r\n",
    "10000000000000000\r\n",
    "0x5",
    "+5",
    "-1",
    "_",
    "X: b\r\n",
    "Y:c\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: a\r\n",
    " folded\r\n",
    "X : b\r\n",
    ": b\r\n",
];

/// What a request is forwarded as, whatever is known of its server and its client.
fn forwards() -> [Forward<'static>; 2] {
    let plain = Forward {
        authority: "server:1",
        keeps_host: true,
        target: None,
        forwarded: Forwarded { trusted: false, client: CLIENT, scheme: Scheme::Http, server: "edge" },
        framing: None,
        edits: &[],
    };
    [plain, Forward { keeps_host: false, forwarded: Forwarded { trusted: true, ..plain.forwarded }, ..plain }]
}

pub fn request(bytes: &[u8]) {
    let mut storage = Storage::new();
    let parsed = Request::parse(bytes, &mut storage, &LIMITS);
    pieces(bytes, &parsed.as_ref().map(of_request).map_err(|bad| bad.status()), |part| {
        let mut storage = Storage::new();
        Request::parse(part, &mut storage, &LIMITS).map(|parsed| of_request(&parsed)).map_err(|bad| bad.status())
    });
    let Ok(Parsed::Complete(request)) = parsed else { return };
    let edits: Vec<Edit<'_>> = [Edit::set("X-A", b"edited"), Edit::remove("x-forwarded-for"), Edit::add("X-B", b"")]
        .into_iter()
        .flatten()
        .collect();
    let [plain, trusting] = forwards();
    for forward in [plain, trusting, Forward { edits: &edits, ..plain }] {
        let mut written = Vec::new();
        request.write(&mut written, &forward);
        let mut storage = Storage::new();
        let again = match Request::parse(&written, &mut storage, &WIDE) {
            Ok(Parsed::Complete(again)) => again,
            other => panic!("{other:?}: {}", written.escape_ascii()),
        };
        assert_eq!(again.head_bytes(), written.len(), "bytes follow the head: {}", written.escape_ascii());
        assert_eq!((again.method, again.target, again.framing), (request.method, request.target, request.framing));
        assert_eq!((again.upgrade, again.version), (request.upgrade, http1::Version::Http11));
        let expected = if forward.keeps_host && !request.host.is_empty() { request.host } else { forward.authority };
        assert_eq!(again.host, expected);
        if !forward.forwarded.trusted && forward.edits.is_empty() {
            let said: Vec<&[u8]> = lines(&again, "x-forwarded-for");
            assert_eq!(said, [CLIENT.as_bytes()], "a client says who it is");
            assert_eq!(lines(&again, "x-real-ip"), [CLIENT.as_bytes()]);
        }
        if !forward.edits.is_empty() {
            assert_eq!(lines(&again, "x-a"), [b"edited"]);
            assert!(lines(&again, "x-forwarded-for").is_empty());
        }
    }
}

fn lines<'h>(request: &Request<'h>, name: &str) -> Vec<&'h [u8]> {
    let of_name = request.headers().iter().filter(|header| header.name.replace('_', "-").eq_ignore_ascii_case(name));
    of_name.map(|header| header.value).collect()
}

fn of_request(parsed: &Parsed<Request<'_>>) -> Option<usize> {
    match parsed {
        Parsed::Complete(request) => Some(request.head_bytes()),
        Parsed::Partial => None,
    }
}

/// Shorter beginnings are partial until one says what the whole says; and it is known when looking again is worth it.
fn pieces(bytes: &[u8], whole: &Result<Option<usize>, u16>, parse: impl Fn(&[u8]) -> Result<Option<usize>, u16>) {
    // Of long ones not every length.
    let step = bytes.len() / 200 + 1;
    let mut parsed_until = 0;
    for length in (1..bytes.len()).step_by(step) {
        match parse(&bytes[..length]) {
            Ok(None) => {}
            Ok(Some(head_bytes)) => {
                assert!(head_may_end(&bytes[..length], parsed_until), "nobody would have looked");
                assert_eq!(*whole, Ok(Some(head_bytes)), "read whole after {length} bytes");
                return;
            }
            // Which of several faults is found first may differ, that there is one may not.
            Err(_) => {
                assert!(whole.is_err(), "refused after {length} bytes, then {whole:?}");
                return;
            }
        }
        parsed_until = length;
    }
}

pub fn response(bytes: &[u8]) {
    let (first, bytes) = super::first_line(bytes);
    let flags = first.first().copied().unwrap_or_default();
    let asked = Asked { head: flags & 1 == 1, upgrade: flags & 2 == 2 };
    let mut storage = Storage::new();
    let head_bytes = |parsed: &Parsed<Response<'_>>| match parsed {
        Parsed::Complete(response) => Some(response.head_bytes()),
        Parsed::Partial => None,
    };
    let parsed = Response::parse(bytes, &mut storage, &LIMITS, asked);
    pieces(bytes, &parsed.as_ref().map(head_bytes).map_err(|_| 502), |part| {
        let mut storage = Storage::new();
        Response::parse(part, &mut storage, &LIMITS, asked).map(|parsed| head_bytes(&parsed)).map_err(|_| 502)
    });
    let Ok(Parsed::Complete(response)) = parsed else { return };
    let connection = match response.upgrade {
        Some(protocol) => Connection::Upgrade(protocol),
        None => Connection::KeepAlive,
    };
    let edits: Vec<Edit<'_>> = Edit::set("X-A", b"edited").into_iter().collect();
    for edits in [[].as_slice(), &edits] {
        let reply = Reply { connection, framing: None, date: Some("Thu, 01 Jan 1970 00:00:00 GMT"), edits };
        let mut written = Vec::new();
        response.write(&mut written, &reply);
        let mut storage = Storage::new();
        let again = match Response::parse(&written, &mut storage, &WIDE, asked) {
            Ok(Parsed::Complete(again)) => again,
            other => panic!("{other:?}: {}", written.escape_ascii()),
        };
        assert_eq!(again.head_bytes(), written.len(), "bytes follow the head: {}", written.escape_ascii());
        assert_eq!((again.status, again.framing, again.upgrade), (response.status, response.framing, response.upgrade));
        if !edits.is_empty() {
            assert_eq!(again.header("x-a"), Some(b"edited".as_slice()));
        }
    }
}

/// All the data of a chunked body that comes in these pieces, how many bytes it had, and whether it ended.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, usize, bool), BadChunk> {
    let mut body = Body::new(Framing::Chunked);
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() && !body.is_done() {
            let decoded = body.decode(&piece[at..])?;
            assert!(decoded.consumed > 0 && decoded.consumed <= piece.len() - at);
            data.extend_from_slice(decoded.data);
            at += decoded.consumed;
        }
        used += at;
    }
    assert_eq!(body.data_bytes(), data.len() as u64);
    Ok((data, used, body.is_done()))
}

pub fn chunks(bytes: &[u8]) {
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    let piece = bytes.first().map_or(1, |first| usize::from(*first) % 13 + 2);
    assert_eq!(decode(bytes.chunks(piece)), whole, "in pieces of {piece}");

    let mut body = Body::new(Framing::Chunked);
    let advanced = body.advance(bytes);
    match (&whole, advanced) {
        (Ok((data, used, is_done)), Ok(advanced)) => {
            assert_eq!((advanced, body.is_done(), body.data_bytes()), (*used, *is_done, data.len() as u64));
        }
        (Err(one), Err(other)) => assert_eq!(*one, other),
        (one, other) => panic!("decoded {one:?}, advanced {other:?}"),
    }
    if let Ok((data, used, true)) = whole {
        assert_eq!(plainly(&bytes[..used]).as_ref(), Some(&data), "a plain decoder reads another body");
    }
}

/// Decodes a whole body as one would write it down at first.
fn plainly(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = &bytes[..line_end];
        let size = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = &bytes[line_end + 2..];
        if size == 0 {
            // Trailers end with an empty line, and so do the bytes.
            return (bytes == b"\r\n" || bytes.ends_with(b"\r\n\r\n")).then_some(data);
        }
        data.extend_from_slice(bytes.get(..size)?);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
}
