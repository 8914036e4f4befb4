//! Header fields on their way between the two versions of HTTP.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http1::{Header, may_be_trailer};

/// Headers that belong to one connection of HTTP/1 and mean nothing in HTTP/2, where they are forbidden (RFC 9113 §8.2.2).
const OF_A_CONNECTION: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"];

/// The fields of an HTTP/1 head, as HTTP/2 has them; `None` if they are none there. `head` is where they lie: their values are
/// copied together.
pub fn to_map(head: &[u8], headers: &[Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    let copied = Bytes::copy_from_slice(head);
    for header in headers {
        if OF_A_CONNECTION.iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = match name == http::header::TE {
            // Its one member that HTTP/2 knows; the others are transfer codings.
            true => HeaderValue::from_static("trailers"),
            false => {
                let from = (header.value.as_ptr() as usize).checked_sub(head.as_ptr() as usize)?;
                let to = from.checked_add(header.value.len()).filter(|to| *to <= copied.len())?;
                let value = copied.slice(from..to);
                HeaderValue::from_maybe_shared(value).ok()?
            }
        };
        map.append(name, value);
    }
    Some(map)
}

/// Writes fields as lines of a head. Crumbs of a cookie are one line again (RFC 9113 §8.2.3).
pub fn put_lines(out: &mut Vec<u8>, fields: &HeaderMap) {
    let mut has_cookie = false;
    for (name, value) in fields {
        if name == http::header::COOKIE {
            if !std::mem::replace(&mut has_cookie, true) {
                put_cookie(out, fields);
            }
        } else {
            put_line(out, name.as_str(), value.as_bytes());
        }
    }
}

fn put_cookie(out: &mut Vec<u8>, fields: &HeaderMap) {
    out.extend_from_slice(b"cookie: ");
    for (position, crumb) in fields.get_all(http::header::COOKIE).iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

pub fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The end of a server's chunked body, with its trailers. Those that no trailer may be are left out.
pub fn put_trailers(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_be_trailer(name.as_str()) {
            put_line(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The lines behind a chunked body, with the empty one; `None` if there are none.
pub fn trailers(lines: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        map.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    (!map.is_empty()).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::{Asked, Limits, Parsed, Response, Storage};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\
                     Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Bytes: \xe9\r\n\r\n";
        let mut storage = Storage::new();
        let Ok(Parsed::Complete(response)) = Response::parse(head, &mut storage, &LIMITS, Asked::default()) else {
            panic!("it is whole")
        };
        let map = to_map(head, response.headers()).unwrap();
        assert_eq!(map.len(), 3);
        assert_eq!(map.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(map["x-bytes"].as_bytes(), b"\xe9");
    }

    #[test]
    fn crumbs_are_one_cookie() {
        let mut fields = HeaderMap::new();
        for (name, value) in [("a", "1"), ("cookie", "x=1"), ("b", "2"), ("cookie", "y=2")] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        put_lines(&mut out, &fields);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("cookie").count(), 1);
        assert!(text.contains("cookie: x=1; y=2\r\n") && text.contains("a: 1\r\n") && text.contains("b: 2\r\n"));
    }

    #[test]
    fn a_servers_forbidden_trailers_are_left_out() {
        let mut map = HeaderMap::new();
        for name in ["grpc-status", "content-type", "x-forwarded-for"] {
            map.append(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        let mut out = Vec::new();
        put_trailers(&mut out, Some(&map));
        assert_eq!(out, b"0\r\ngrpc-status: 0\r\n\r\n");
        out.clear();
        put_trailers(&mut out, None);
        assert_eq!(out, http1::LAST_CHUNK);
    }

    proptest! {
        #[test]
        fn trailers_come_out_as_they_went_in(pairs in prop::collection::vec(("x-[a-z]{1,9}", "[!-~]{0,9}"), 0..9)) {
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let mut out = Vec::new();
            put_trailers(&mut out, Some(&map));
            prop_assert_eq!(trailers(&out[3..]).unwrap_or_default(), map);
        }

        #[test]
        fn any_lines_are_trailers_or_none(lines in prop::collection::vec(any::<u8>(), 0..99)) {
            let _whichever = trailers(&lines);
        }
    }
}
