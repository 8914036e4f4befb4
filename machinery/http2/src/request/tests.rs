use super::*;
use http1::{Framing, Limits, Parsed, Request, Storage};
use proptest::prelude::*;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")];

fn written(fields: &[(&str, &str)], has_more: bool) -> Result<(String, Told), Malformed> {
    let mut head = Head::default();
    // What was in it before is gone.
    head.put(field(b"x-before", b"1"), 1000);
    head.clear();
    for (name, value) in fields {
        head.put(field(name.as_bytes(), value.as_bytes()), LIMITS.head_bytes_max);
    }
    let told = head.end(has_more, || "key".to_owned())?;
    Ok((String::from_utf8_lossy(head.bytes()).into_owned(), told))
}

fn field<'a>(name: &'a [u8], value: &'a [u8]) -> Field<'a> {
    Field { name, value, kind: Kind::of(name).with(value) }
}

fn with<'a>(change: (&'a str, &'a str), more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let changed = GET.map(|(name, value)| if name == change.0 { change } else { (name, value) });
    [&changed[..], more].concat()
}

#[test]
fn a_head_is_that_of_http1() {
    let more = [("x-a", "1"), ("cookie", "a=1"), ("x-b", ""), ("cookie", "b=2")];
    let (text, told) = written(&with((":path", "/p?q=1"), &more), false).unwrap();
    assert_eq!(text, "GET /p?q=1 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b: \r\ncookie: a=1; b=2\r\n\r\n");
    assert_eq!(told, Told { coding: Coding::Plain, is_tunnel: false, is_head: false, length: None });
    let post = with((":method", "POST"), &[("te", "trailers")]);
    let (text, told) = written(&post, true).unwrap();
    assert_eq!(text, "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(told.coding, Coding::Chunked);
    let (text, _) = written(&post, false).unwrap();
    assert!(text.ends_with("content-length: 0\r\n\r\n"), "{text}");
    let (text, told) = written(&with((":method", "PUT"), &[("content-length", "5")]), true).unwrap();
    assert!(text.ends_with("content-length: 5\r\n\r\n") && told.coding == Coding::Plain, "{text}");
    assert_eq!(told.length, Some(5));
    assert!(written(&with((":method", "HEAD"), &[]), false).unwrap().1.is_head);
}

#[test]
fn one_host_is_named_once_and_two_are_refused() {
    let same = with((":authority", "a.example"), &[("host", "A.example"), ("x-b", "2")]);
    assert_eq!(written(&same, false).unwrap().0, "GET / HTTP/1.1\r\nhost: a.example\r\nx-b: 2\r\n\r\n");
    assert_eq!(written(&with((":authority", "a"), &[("host", "b")]), false), Err(Malformed::Host));
    let old = [&GET[..3], &[("host", "a")]].concat();
    assert_eq!(written(&old, false).unwrap().0, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(written(&[&old[..], &[("host", "a")]].concat(), false), Err(Malformed::Host));
}

/// RFC 9113 §8.2 and §8.3.
#[test]
fn what_http2_forbids_is_malformed() {
    let without = |name: &str| -> Vec<_> { GET.into_iter().filter(|field| field.0 != name).collect() };
    for (fields, malformed) in [
        (without(":method"), Malformed::Pseudo),
        (without(":scheme"), Malformed::Pseudo),
        (without(":path"), Malformed::Pseudo),
        (with((":path", ""), &[]), Malformed::Path),
        (with((":path", "a"), &[]), Malformed::Path),
        (with((":path", "/a b"), &[]), Malformed::Path),
        (with((":path", "/a\r\nb"), &[]), Malformed::Pseudo),
        (with((":scheme", "ftp"), &[]), Malformed::Scheme),
        (with((":method", "G T"), &[]), Malformed::Method),
        (with((":method", "GET"), &[(":method", "GET")]), Malformed::Pseudo),
        (with((":method", "GET"), &[("x-a", "1"), (":authority", "b")]), Malformed::Pseudo),
        (with((":method", "GET"), &[(":status", "200")]), Malformed::Pseudo),
        (with((":method", "GET"), &[(":nonsense", "")]), Malformed::Pseudo),
        (with((":method", "GET"), &[("X-A", "1")]), Malformed::Header),
        (with((":method", "GET"), &[("connection", "close")]), Malformed::Header),
        (with((":method", "GET"), &[("transfer-encoding", "chunked")]), Malformed::Header),
        (with((":method", "GET"), &[("te", "gzip")]), Malformed::Header),
        (with((":method", "GET"), &[("x-a", "1\r\nx-b: 2")]), Malformed::Header),
        (with((":method", "GET"), &[("x-a\r\nx-b", "2")]), Malformed::Header),
        (with((":method", "GET"), &[("content-length", "+1")]), Malformed::ContentLength),
        (with((":method", "GET"), &[("content-length", "1"), ("content-length", "1")]), Malformed::ContentLength),
        (with((":method", "GET"), &[("content-length", "1")]), Malformed::ContentLength),
        (with((":method", "GET"), &[(":protocol", "websocket")]), Malformed::Protocol),
        (with((":method", "CONNECT"), &[]), Malformed::Pseudo),
    ] {
        assert_eq!(written(&fields, false), Err(malformed), "{fields:?}");
    }
}

#[test]
fn a_tunnel_is_refused_as_any_other() {
    let connect = [(":method", "CONNECT"), (":authority", "a:80")];
    let (text, _) = written(&connect, true).unwrap();
    let mut storage = Storage::new();
    assert_eq!(Request::parse(text.as_bytes(), &mut storage, &LIMITS), Err(http1::BadRequest::Connect));
}

#[test]
fn a_websocket_has_a_key_of_ours() {
    let asked = with((":method", "CONNECT"), &[(":protocol", "websocket"), ("origin", "https://a")]);
    let (text, told) = written(&asked, true).unwrap();
    assert_eq!(
        text,
        "GET / HTTP/1.1\r\nhost: a\r\norigin: https://a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: key\r\n\r\n"
    );
    assert!(told.is_tunnel && told.coding == Coding::Plain);
}

#[test]
fn what_is_too_large_is_not_kept() {
    let mut head = Head::default();
    for (name, value) in GET {
        head.put(field(name.as_bytes(), value.as_bytes()), 1000);
    }
    for _ in 0..1000 {
        head.put(field(b"x-a", &[b'x'; 100]), 1000);
    }
    assert!(head.is_too_large(1000) && head.bytes().len() < 1000);
}

proptest! {
    /// Whatever fields a client sends, they are refused, or are one request of HTTP/1 that says the same.
    #[test]
    fn a_request_is_refused_or_stays_one_request(
        method in "[A-Z]{1,8}",
        path in prop::collection::vec(any::<u8>(), 0..12),
        authority in prop::option::of("[!-~]{1,12}"),
        fields in prop::collection::vec(("[a-zA-Z: -]{1,12}", prop::collection::vec(any::<u8>(), 0..20)), 0..8),
        has_more in any::<bool>(),
    ) {
        let path = [b"/", &path[..]].concat();
        let mut head = Head::default();
        head.put(field(b":method", method.as_bytes()), 10_000);
        head.put(field(b":scheme", b"https"), 10_000);
        head.put(field(b":path", &path), 10_000);
        if let Some(authority) = &authority {
            head.put(field(b":authority", authority.as_bytes()), 10_000);
        }
        for (name, value) in &fields {
            head.put(field(name.as_bytes(), value), 10_000);
        }
        let Ok(told) = head.end(has_more, String::new) else { return Ok(()) };
        let smuggled = [head.bytes(), b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"].concat();
        let mut storage = Storage::new();
        if let Ok(Parsed::Complete(read)) = Request::parse(&smuggled, &mut storage, &LIMITS) {
            prop_assert_eq!(read.head_bytes(), head.bytes().len());
            prop_assert_eq!((read.method, read.target.as_bytes()), (&*method, &path[..]));
            prop_assert_eq!(read.framing == Framing::Chunked, told.coding == Coding::Chunked);
            prop_assert!(read.headers().len() <= fields.len() + 2);
        }
    }
}
