//! The static table (RFC 7541 Appendix A).

use super::kind::Kind;

/// The first index of the dynamic table.
pub(super) const LENGTH: usize = 61;

/// Name, value, and what the name is.
#[rustfmt::skip]
pub(super) static FIELDS: [(&str, &str, Kind); LENGTH] = [
    (":authority", "", Kind::Authority),
    (":method", "GET", Kind::Method),
    (":method", "POST", Kind::Method),
    (":path", "/", Kind::Path),
    (":path", "/index.html", Kind::Path),
    (":scheme", "http", Kind::Scheme),
    (":scheme", "https", Kind::Scheme),
    (":status", "200", Kind::Malformed),
    (":status", "204", Kind::Malformed),
    (":status", "206", Kind::Malformed),
    (":status", "304", Kind::Malformed),
    (":status", "400", Kind::Malformed),
    (":status", "404", Kind::Malformed),
    (":status", "500", Kind::Malformed),
    ("accept-charset", "", Kind::Other),
    ("accept-encoding", "gzip, deflate", Kind::Other),
    ("accept-language", "", Kind::Other),
    ("accept-ranges", "", Kind::Other),
    ("accept", "", Kind::Other),
    ("access-control-allow-origin", "", Kind::Other),
    ("age", "", Kind::Other),
    ("allow", "", Kind::Other),
    ("authorization", "", Kind::Other),
    ("cache-control", "", Kind::Other),
    ("content-disposition", "", Kind::Other),
    ("content-encoding", "", Kind::Other),
    ("content-language", "", Kind::Other),
    ("content-length", "", Kind::ContentLength),
    ("content-location", "", Kind::Other),
    ("content-range", "", Kind::Other),
    ("content-type", "", Kind::Other),
    ("cookie", "", Kind::Cookie),
    ("date", "", Kind::Other),
    ("etag", "", Kind::Other),
    ("expect", "", Kind::Other),
    ("expires", "", Kind::Other),
    ("from", "", Kind::Other),
    ("host", "", Kind::Host),
    ("if-match", "", Kind::Other),
    ("if-modified-since", "", Kind::Other),
    ("if-none-match", "", Kind::Other),
    ("if-range", "", Kind::Other),
    ("if-unmodified-since", "", Kind::Other),
    ("last-modified", "", Kind::Other),
    ("link", "", Kind::Other),
    ("location", "", Kind::Other),
    ("max-forwards", "", Kind::Other),
    ("proxy-authenticate", "", Kind::Other),
    ("proxy-authorization", "", Kind::Other),
    ("range", "", Kind::Other),
    ("referer", "", Kind::Other),
    ("refresh", "", Kind::Other),
    ("retry-after", "", Kind::Other),
    ("server", "", Kind::Other),
    ("set-cookie", "", Kind::Other),
    ("strict-transport-security", "", Kind::Other),
    ("transfer-encoding", "", Kind::Malformed),
    ("user-agent", "", Kind::Other),
    ("vary", "", Kind::Other),
    ("via", "", Kind::Other),
    ("www-authenticate", "", Kind::Other),
];

/// `:status` with a value of its own.
pub(super) const STATUS: u8 = 8;
pub(super) const SET_COOKIE: u8 = 55;

/// The index of a status that the table has whole.
pub(super) fn status(status: u16) -> Option<u8> {
    Some(match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => return None,
    })
}

/// The index of a response header's name, in any case; 0 if it has none.
pub(super) fn name(name: &[u8]) -> u8 {
    let candidates: &[u8] = match name.len() {
        3 => &[21, 60],
        4 => &[33, 34, 59, 45],
        5 => &[22],
        6 => &[54],
        7 => &[36, 52],
        8 => &[46],
        10 => &[SET_COOKIE],
        11 => &[53],
        12 => &[31],
        13 => &[24, 44, 18, 30],
        14 => &[28],
        16 => &[26, 61, 27, 29],
        18 => &[48],
        19 => &[25],
        25 => &[56],
        27 => &[20],
        _ => &[],
    };
    let is = |index: &&u8| FIELDS[**index as usize - 1].0.as_bytes().eq_ignore_ascii_case(name);
    candidates.iter().find(is).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_the_names() {
        for (name, value, kind) in FIELDS {
            assert_eq!(Kind::of(name.as_bytes()).with(value.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn every_name_of_a_response_is_found_in_any_case() {
        let of_requests = ["accept-charset", "accept-encoding", "accept-language", "accept", "authorization", "cookie"];
        let others =
            ["expect", "from", "host", "max-forwards", "proxy-authorization", "range", "referer", "user-agent"];
        let is_asked = |text: &str| {
            !(text.starts_with([':', 'i']) || of_requests.contains(&text) || others.contains(&text))
                && text != "transfer-encoding"
        };
        for (index, (text, ..)) in FIELDS.iter().enumerate().filter(|(_, (text, ..))| is_asked(text)) {
            assert_eq!(name(text.to_uppercase().as_bytes()) as usize, index + 1, "{text}");
        }
        assert_eq!((name(b"x-date"), name(b"dat"), name(b"")), (0, 0, 0));
        assert_eq!(FIELDS[STATUS as usize - 1].0, ":status");
        for code in [200, 204, 206, 304, 400, 404, 500] {
            assert_eq!(FIELDS[status(code).unwrap() as usize - 1].1, code.to_string());
        }
    }
}
