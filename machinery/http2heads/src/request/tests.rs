use super::*;
use http::{HeaderName, HeaderValue};
use http1::{Framing, Limits, Request as Head};
use proptest::prelude::*;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = uri.parse().unwrap();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn written(request: &Request<()>, has_more: bool) -> Result<(String, Coding), Malformed> {
    let mut out = Vec::new();
    let protocol =
        (request.method() == Method::CONNECT && request.uri().path_and_query().is_some()).then_some("websocket");
    let coding = write(&mut out, request, protocol, has_more, "key")?;
    Ok((String::from_utf8(out).unwrap(), coding))
}

#[test]
fn a_head_is_that_of_http1() {
    let get = request("GET", "https://a.example:8443/p?q=1", &[("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")]);
    let (text, coding) = written(&get, false).unwrap();
    assert_eq!(text, "GET /p?q=1 HTTP/1.1\r\nhost: a.example:8443\r\nx-a: 1\r\ncookie: a=1; b=2\r\n\r\n");
    assert_eq!(coding, Coding::Plain);
    let post = request("POST", "http://a/", &[("te", "trailers")]);
    let (text, coding) = written(&post, true).unwrap();
    assert_eq!(text, "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(coding, Coding::Chunked);
    let (text, _) = written(&post, false).unwrap();
    assert!(text.ends_with("content-length: 0\r\n\r\n"), "{text}");
    let sized = request("PUT", "http://a/", &[("content-length", "5")]);
    let (text, coding) = written(&sized, true).unwrap();
    assert!(text.ends_with("content-length: 5\r\n\r\n") && coding == Coding::Plain, "{text}");
}

#[test]
fn one_host_is_named_once_and_two_are_refused() {
    let same = request("GET", "http://a.example/", &[("host", "A.example"), ("x-b", "2")]);
    assert_eq!(written(&same, false).unwrap().0, "GET / HTTP/1.1\r\nhost: a.example\r\nx-b: 2\r\n\r\n");
    let other = request("GET", "http://a.example/", &[("host", "b.example")]);
    assert_eq!(written(&other, false), Err(Malformed::Host));
    let old = request("GET", "/", &[("host", "a")]);
    assert_eq!(written(&old, false).unwrap().0, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn what_is_no_path_or_scheme_is_refused() {
    assert_eq!(written(&request("GET", "ftp://a/", &[]), false), Err(Malformed::Scheme));
    assert_eq!(written(&request("GET", "a", &[]), false), Err(Malformed::Path));
    let (text, _) = written(&request("OPTIONS", "*", &[("host", "a")]), false).unwrap();
    assert!(text.starts_with("OPTIONS * HTTP/1.1\r\n"));
    let (text, _) = written(&request("CONNECT", "a:80", &[]), true).unwrap();
    let mut storage = Storage::new();
    assert_eq!(Head::parse(text.as_bytes(), &mut storage, &LIMITS), Err(http1::BadRequest::Connect));
}

#[test]
fn a_websocket_goes_both_ways() {
    let asked = request("CONNECT", "https://a/chat", &[("origin", "https://a")]);
    let (text, coding) = written(&asked, true).unwrap();
    assert_eq!(
        text,
        "GET /chat HTTP/1.1\r\nhost: a\r\norigin: https://a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: key\r\n\r\n"
    );
    assert_eq!(coding, Coding::Plain);
    let back = read(text.as_bytes(), &LIMITS, Scheme::HTTPS, true).unwrap().unwrap();
    assert_eq!((back.request.method(), back.upgrade.as_deref()), (&Method::CONNECT, Some(&b"key"[..])));
    assert_eq!(back.request.headers().len(), 1);
    let plain = read(text.as_bytes(), &LIMITS, Scheme::HTTP, false).unwrap().unwrap();
    assert_eq!((plain.request.method(), plain.upgrade), (&Method::GET, None));
}

#[test]
fn a_part_of_a_head_is_waited_for() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    for end in 0..head.len() - 4 {
        assert!(read(&head[..end], &LIMITS, Scheme::HTTP, false).unwrap().is_none());
    }
    assert_eq!(read(head, &LIMITS, Scheme::HTTP, false).unwrap().unwrap().head_bytes, head.len() - 4);
}

proptest! {
    /// Whatever HTTP/2 lets through is refused, or is one request of HTTP/1 that says the same.
    #[test]
    fn a_request_is_refused_or_stays_one_request(
        method in "[A-Z]{1,8}",
        authority in prop::option::of("[!-~]{1,12}"),
        target in "[ -~\u{80}-\u{ff}]{0,20}",
        fields in prop::collection::vec(("[a-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..20)), 0..8),
        has_more in any::<bool>(),
    ) {
        let mut parts = http::uri::Parts::default();
        parts.authority = authority.and_then(|authority| authority.parse().ok());
        parts.scheme = parts.authority.as_ref().map(|_| Scheme::HTTPS);
        parts.path_and_query = target.parse().ok();
        let Ok(uri) = Uri::from_parts(parts) else { return Ok(()) };
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        *request.method_mut() = method.parse().unwrap();
        for (name, value) in &fields {
            let Ok(value) = HeaderValue::from_bytes(value) else { continue };
            let connection = ["connection", "keep-alive", "transfer-encoding", "upgrade", "te"];
            if !connection.contains(&name.as_str()) {
                request.headers_mut().append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let mut out = Vec::new();
        let Ok(coding) = write(&mut out, &request, None, has_more, "") else { return Ok(()) };
        let head_bytes = out.len();
        out.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n");
        let mut storage = Storage::new();
        if let Ok(Parsed::Complete(head)) = Head::parse(&out, &mut storage, &LIMITS) {
            prop_assert_eq!(head.head_bytes(), head_bytes);
            prop_assert_eq!(head.method, method);
            prop_assert_eq!(head.framing == Framing::Chunked, coding == Coding::Chunked);
            prop_assert!(head.headers().len() <= fields.len() + 2);
        }
    }
}
