//! `compress`: whether a response is encoded, and how. Negotiated here; the encoders are the shell's.
//!
//! A response is encoded when the client accepts it, its type is listed, it is long enough (or of unknown length), and
//! nothing forbids it: an encoding of its own, a range, `no-transform`, a status without content. A response that could be
//! encoded for another client says `Vary: Accept-Encoding`. Its ETag becomes a weak one; its length is framing, and the shell's.

use crate::edits::HeaderEdit;
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};

/// Encodings in the order of preference among equally acceptable ones.
const ENCODINGS: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];
/// Shorter bodies fit into one packet anyway.
const BYTES_MIN: u64 = 1024;
const BYTES_MIN_MAX: i64 = 1 << 30;
/// Coded names in one `Accept-Encoding` that are looked at.
const ACCEPTED_MAX: usize = 32;
/// Types that shrink; `text/event-stream` must not wait for an encoder.
const TYPES: [&str; 13] = [
    "text/html",
    "text/css",
    "text/plain",
    "text/xml",
    "text/csv",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/xml",
    "application/rss+xml",
    "application/wasm",
    "application/vnd.api+json",
    "image/svg+xml",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Brotli,
    Zstd,
}

#[derive(Debug)]
pub(crate) struct Compress {
    encodings: Vec<Encoding>,
    types: Vec<String>,
    bytes_min: u64,
}

impl Encoding {
    /// Its name in HTTP's registry of content codings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

impl Compress {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let mut encodings = Vec::new();
        for name in fields.texts("Encodings")? {
            let known = ENCODINGS.into_iter().find(|encoding| encoding.name() == name);
            encodings.push(known.ok_or_else(|| fields.error("Encodings", format!("{name:?}: zstd, br or gzip")))?);
        }
        let mut types: Vec<String> = fields.texts("Types")?.iter().map(|kind| kind.to_ascii_lowercase()).collect();
        if let Some(wrong) = types.iter().find(|kind| !kind.contains('/') || kind.contains([';', ' '])) {
            return Err(fields.error("Types", format!("{wrong:?} is no media type (as in text/html)")));
        }
        if encodings.is_empty() {
            encodings.extend(ENCODINGS);
        }
        if types.is_empty() {
            types.extend(TYPES.map(str::to_owned));
        }
        let bytes_min = fields.bounded("MinBytes", 0, BYTES_MIN_MAX)?.unwrap_or(BYTES_MIN);
        fields.done()?;
        Ok(Self { encodings, types, bytes_min })
    }

    /// The client's favourite, and ours among its favourites.
    fn choose(&self, accept: &str) -> Option<Encoding> {
        let mut best: Option<(u32, Encoding)> = None;
        for encoding in &self.encodings {
            let quality = quality(accept, encoding.name());
            if quality > best.map_or(0, |(best, _)| best) {
                best = Some((quality, *encoding));
            }
        }
        best.map(|(_, encoding)| encoding)
    }

    fn may_encode(&self, seen: &SeenResponse<'_, '_>) -> bool {
        let response = seen.response;
        let kind = seen.header_text("Content-Type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let listed = self.types.iter().any(|known| known.eq_ignore_ascii_case(kind));
        let long = response.body_bytes.is_none_or(|bytes| bytes >= self.bytes_min.max(1));
        let bare = |name| seen.header(name).is_none();
        let transforms =
            !seen.header_text("Cache-Control").unwrap_or_default().to_ascii_lowercase().contains("no-transform");
        let content = response.status >= 200 && !matches!(response.status, 204 | 205 | 206 | 304);
        !response.is_own && content && listed && long && transforms && bare("Content-Encoding") && bare("Content-Range")
    }
}

/// What a client thinks of a coding, in thousandths (RFC 9110, section 12.5.3); 0 is not acceptable.
fn quality(accept: &str, coding: &str) -> u32 {
    let mut any = 0;
    for part in accept.split(',').take(ACCEPTED_MAX) {
        let mut pieces = part.split(';').map(str::trim);
        let name = pieces.next().unwrap_or_default();
        let weight = pieces.find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q=")));
        let quality = match weight.map(str::parse::<f32>) {
            None => 1000,
            Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u32,
            Some(_) => 0,
        };
        if name.eq_ignore_ascii_case(coding) || coding == "gzip" && name.eq_ignore_ascii_case("x-gzip") {
            return quality;
        }
        if name == "*" {
            any = quality;
        }
    }
    any
}

impl Step for Compress {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        // A response to HEAD has no body, and nobody knows its length after encoding.
        if seen.request.method == "HEAD" {
            return Verdict::Pass;
        }
        let encoding = seen.header_text("Accept-Encoding").and_then(|accept| self.choose(accept));
        Verdict::PassWith(Note::Encoding(encoding))
    }

    fn response<'c>(&'c self, note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let Note::Encoding(encoding) = note else { return };
        if !self.may_encode(seen) {
            return;
        }
        seen.vary("Accept-Encoding");
        let Some(encoding) = *encoding else { return };
        seen.edit(HeaderEdit::set("Content-Encoding", encoding.name().as_bytes()));
        for name in ["Accept-Ranges", "Content-MD5"] {
            seen.edit(HeaderEdit::remove(name));
        }
        if let Some(tag) = seen.header("ETag").filter(|tag| !tag.starts_with(b"W/")) {
            let weak = [b"W/".as_slice(), tag].concat();
            seen.edit(HeaderEdit::set("ETag", weak));
        }
        seen.edits.encoding = Some(encoding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, chain, passage, refusal, request};
    use crate::{Chain, Response, ResponseEdits};
    use proptest::prelude::*;
    use serde_json::json;

    const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");

    fn encoded<'c>(chain: &'c Chain, method: &str, accept: &str, response: &Response<'_>) -> ResponseEdits<'c> {
        let headers = [("Accept-Encoding", accept)];
        passage(chain, &request(method, "/", &headers)).response(response, at(0))
    }

    #[test]
    fn the_clients_favourite_wins_and_ours_among_equals() {
        let chain = chain("compress", json!({}));
        let response = Response { status: 200, headers: &[HTML], body_bytes: None, is_own: false };
        for (accept, expected) in [
            ("gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip;q=1.0, br;q=0.5", Some(Encoding::Gzip)),
            ("gzip;q=0.5, *;q=0.1", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Zstd)),
            ("zstd;q=0, *", Some(Encoding::Brotli)),
            ("BR", Some(Encoding::Brotli)),
            ("identity", None),
            ("gzip;q=0", None),
            ("gzip;q=nonsense", None),
            ("", None),
        ] {
            assert_eq!(encoded(&chain, "GET", accept, &response).encoding, expected, "{accept}");
        }
        assert_eq!(encoded(&chain, "HEAD", "gzip", &response).encoding, None);
        let only_gzip = crate::testing::chain("compress", json!({"Encodings": ["gzip"]}));
        assert_eq!(encoded(&only_gzip, "GET", "br, gzip;q=0.1", &response).encoding, Some(Encoding::Gzip));
    }

    #[test]
    fn the_head_says_what_was_done() {
        let chain = chain("compress", json!({}));
        let headers = [HTML, ("Content-Length", "5000"), ("ETag", "\"a\""), ("Accept-Ranges", "bytes")];
        let response = Response { status: 404, headers: &headers, body_bytes: Some(5000), is_own: false };
        let edits = encoded(&chain, "GET", "br", &response);
        let mut lines = Vec::new();
        edits.each(&headers, &mut |name, value| lines.push(format!("{name}: {}", String::from_utf8_lossy(value))));
        assert_eq!(
            lines,
            [
                "Content-Type: text/html; charset=utf-8",
                "Content-Length: 5000",
                "Vary: Accept-Encoding",
                "Content-Encoding: br",
                "ETag: W/\"a\""
            ]
        );
        let edits = encoded(&chain, "GET", "identity", &response);
        assert_eq!((edits.encoding, edits.headers.len()), (None, 1), "only Vary");
    }

    #[test]
    fn what_must_not_be_touched_is_not() {
        let chain = chain("compress", json!({"MinBytes": 100}));
        for (status, headers, body_bytes, is_own) in [
            (200, vec![HTML], Some(99), false),
            (200, vec![HTML], None, true),
            (206, vec![HTML], None, false),
            (304, vec![HTML], None, false),
            (204, vec![HTML], None, false),
            (200, vec![HTML, ("Content-Encoding", "gzip")], None, false),
            (200, vec![HTML, ("Content-Range", "bytes 0-1/2")], None, false),
            (200, vec![HTML, ("Cache-Control", "public, No-Transform")], None, false),
            (200, vec![("Content-Type", "image/png")], None, false),
            (200, vec![("Content-Type", "text/event-stream")], None, false),
            (200, vec![("Content-Type", "application/grpc")], None, false),
            (200, vec![], None, false),
        ] {
            let response = Response { status, headers: &headers.as_slice(), body_bytes, is_own };
            let edits = encoded(&chain, "GET", "gzip", &response);
            assert!(edits.encoding.is_none() && edits.headers.is_empty(), "{status} {headers:?}");
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        assert!(refusal("compress", json!({"Encodings": ["deflate"]})).starts_with("Encodings"));
        assert!(refusal("compress", json!({"Types": ["html"]})).starts_with("Types"));
    }

    proptest! {
        #[test]
        fn any_preference_is_safe(accept in "[a-z*;q=0-9., ]{0,60}") {
            prop_assert!(quality(&accept, "gzip") <= 1000);
        }
    }
}
