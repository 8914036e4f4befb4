//! Trailers: headers behind a chunked body. They are passed on as they come, so they must be harmless to whoever merges
//! them into the head.

use crate::chunk::TRAILER_BYTES_MAX;
use crate::refusal::BadChunk;

/// Of framing, routing, connections, authentication and content (RFC 9110 §6.5.1), and what tells about clients.
const FORBIDDEN: [&[u8]; 29] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"www-authenticate",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-real-ip",
];

/// All of what a proxy says about its client.
const FORBIDDEN_PREFIX: &[u8] = b"x-forwarded-";

/// Longer than the longest forbidden name: what does not fit is allowed.
const NAME_BYTES_MAX: usize = 20;

/// Where in the trailers the next byte is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailers {
    at: At,
    bytes: usize,
    /// The name so far, lower-case.
    name: [u8; NAME_BYTES_MAX],
    name_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
}

impl Default for Trailers {
    fn default() -> Self {
        Self { at: At::LineStart, bytes: 0, name: [0; NAME_BYTES_MAX], name_bytes: 0 }
    }
}

impl Trailers {
    /// One byte; whether it is the last.
    pub fn step(&mut self, byte: u8) -> Result<bool, BadChunk> {
        self.bytes += 1;
        if self.bytes > TRAILER_BYTES_MAX {
            return Err(BadChunk::TrailersTooLong);
        }
        self.at = match (self.at, byte) {
            (At::LineStart, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => return Ok(true),
            (At::Name, b':') if self.is_forbidden() => return Err(BadChunk::TrailerName),
            (At::Name, b':') => At::Value,
            (At::LineStart | At::Name, _) if crate::text::is_token(&[byte]) => {
                self.push(byte);
                At::Name
            }
            (At::Value, b'\r') => At::ValueLf,
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => At::Value,
            (At::ValueLf, b'\n') => {
                self.name_bytes = 0;
                At::LineStart
            }
            _ => return Err(BadChunk::Trailer),
        };
        Ok(false)
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_bytes) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_bytes += 1;
    }

    fn is_forbidden(&self) -> bool {
        is_forbidden(&self.name[..self.name_bytes.min(NAME_BYTES_MAX)], self.name_bytes)
    }
}

/// Of a lower-case name, as far as it was kept.
fn is_forbidden(kept: &[u8], name_bytes: usize) -> bool {
    kept.starts_with(FORBIDDEN_PREFIX) || name_bytes <= NAME_BYTES_MAX && FORBIDDEN.contains(&kept)
}

/// Whether a header of this lower-case name may stand behind a body.
pub fn may_be_trailer(name: &str) -> bool {
    !is_forbidden(name.as_bytes(), name.len())
}

const _: () = {
    let mut index = 0;
    while index < FORBIDDEN.len() {
        assert!(FORBIDDEN[index].len() < NAME_BYTES_MAX, "the longest forbidden name is found whole");
        index += 1;
    }
};
