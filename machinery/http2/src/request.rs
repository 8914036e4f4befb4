//! The head of a request, from fields of HTTP/2 to lines of HTTP/1.
//!
//! A stream of HTTP/2 is one request, whatever is in it. A head of HTTP/1 is where its reader finds the end, so nothing may
//! be written that ends it earlier or later, or frames another body. What HTTP/2 forbids is refused here; what is written is
//! read once more, as any head is (`http1`), and refused there if it is no request of HTTP/1.

use crate::hpack::{Field, Kind};
use crate::reason::Malformed;
use http1::Coding;

/// What a field counts besides its text (RFC 9113 §6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE).
const FIELD_BYTES: usize = 32;

/// Where heads of requests are written, one after the other: their buffers are used again.
#[derive(Debug, Default)]
pub struct Head {
    lines: Vec<u8>,
    method: Vec<u8>,
    authority: Vec<u8>,
    path: Vec<u8>,
    protocol: Vec<u8>,
    cookie: Vec<u8>,
    /// Which fields came: bits of `seen`.
    seen: u8,
    is_known_scheme: bool,
    length: Option<u64>,
    /// As fields count.
    bytes: usize,
    malformed: Option<Malformed>,
}

mod seen {
    pub const METHOD: u8 = 1;
    pub const SCHEME: u8 = 2;
    pub const AUTHORITY: u8 = 4;
    pub const PATH: u8 = 8;
    pub const PROTOCOL: u8 = 16;
    pub const HOST: u8 = 32;
    /// Any that is no pseudo-header: the first line was written.
    pub const OTHER: u8 = 64;
}

/// What a whole head says besides its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub coding: Coding,
    /// It asks for a tunnel (RFC 8441).
    pub is_tunnel: bool,
    pub is_head: bool,
    /// Of the body.
    pub length: Option<u64>,
}

impl Head {
    /// The head of HTTP/1.
    pub fn bytes(&self) -> &[u8] {
        &self.lines
    }

    pub(crate) fn clear(&mut self) {
        let Self { lines, method, authority, path, protocol, cookie, .. } = self;
        [lines, method, authority, path, protocol, cookie].into_iter().for_each(Vec::clear);
        (self.seen, self.is_known_scheme, self.length, self.bytes, self.malformed) = (0, false, None, 0, None);
    }

    /// The next field. Of a head that has more than `bytes_max` nothing more is kept.
    pub(crate) fn put(&mut self, field: Field<'_>, bytes_max: usize) {
        self.bytes += field.name.len() + field.value.len() + FIELD_BYTES;
        if self.malformed.is_none()
            && !self.is_too_large(bytes_max)
            && let Err(malformed) = self.take(field)
        {
            self.malformed = Some(malformed);
        }
    }

    pub(crate) fn is_too_large(&self, bytes_max: usize) -> bool {
        self.bytes > bytes_max
    }

    fn take(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        let Field { name, value, kind } = field;
        match kind {
            Kind::Method | Kind::Scheme | Kind::Authority | Kind::Path | Kind::Protocol => {
                return self.take_pseudo(kind, value);
            }
            Kind::Malformed if name.starts_with(b":") => return Err(Malformed::Pseudo),
            Kind::Malformed => return Err(Malformed::Header),
            _ => {}
        }
        if self.seen & seen::OTHER == 0 {
            self.begin()?;
        }
        match kind {
            // Which host is meant is said once.
            Kind::Host if !self.authority.is_empty() => {
                return if value.eq_ignore_ascii_case(&self.authority) { Ok(()) } else { Err(Malformed::Host) };
            }
            Kind::Host if self.is_second(seen::HOST) => return Err(Malformed::Host),
            // Crumbs of a cookie are one line again (RFC 9113 §8.2.3).
            Kind::Cookie => {
                if !self.cookie.is_empty() {
                    self.cookie.extend_from_slice(b"; ");
                }
                self.cookie.extend_from_slice(value);
                return Ok(());
            }
            Kind::ContentLength if self.length.is_some() => return Err(Malformed::ContentLength),
            Kind::ContentLength => self.length = Some(decimal(value).ok_or(Malformed::ContentLength)?),
            // RFC 9113 §8.2.2.
            Kind::Te if !value.eq_ignore_ascii_case(b"trailers") => return Err(Malformed::Header),
            _ => {}
        }
        put_line(&mut self.lines, name, value);
        Ok(())
    }

    fn take_pseudo(&mut self, kind: Kind, value: &[u8]) -> Result<(), Malformed> {
        let bit = match kind {
            Kind::Method => seen::METHOD,
            Kind::Authority => seen::AUTHORITY,
            Kind::Path => seen::PATH,
            Kind::Protocol => seen::PROTOCOL,
            _ => seen::SCHEME,
        };
        if self.is_second(bit) || self.seen & seen::OTHER != 0 {
            return Err(Malformed::Pseudo);
        }
        match kind {
            Kind::Method => self.method.extend_from_slice(value),
            Kind::Authority => self.authority.extend_from_slice(value),
            Kind::Path => self.path.extend_from_slice(value),
            Kind::Protocol => self.protocol.extend_from_slice(value),
            _ => {
                self.is_known_scheme = value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https");
            }
        }
        Ok(())
    }

    /// Whether it came before.
    fn is_second(&mut self, bit: u8) -> bool {
        let before = self.seen;
        self.seen |= bit;
        before & bit != 0
    }

    fn has(&self, bit: u8) -> bool {
        self.seen & bit != 0
    }

    /// Writes the first line, and which host is meant: all pseudo-headers are known (RFC 9113 §8.3.1).
    fn begin(&mut self) -> Result<(), Malformed> {
        self.seen |= seen::OTHER;
        if !self.has(seen::METHOD) {
            return Err(Malformed::Pseudo);
        }
        if !is_word(&self.method) {
            return Err(Malformed::Method);
        }
        let is_connect = self.method == b"CONNECT";
        if self.has(seen::PROTOCOL) && !(is_connect && is_word(&self.protocol)) {
            return Err(Malformed::Protocol);
        }
        let target = if is_connect && !self.has(seen::PROTOCOL) {
            // It is refused as any other CONNECT.
            if self.has(seen::PATH) || self.has(seen::SCHEME) || !is_word(&self.authority) {
                return Err(Malformed::Pseudo);
            }
            &self.authority
        } else {
            if !self.has(seen::PATH) || !self.has(seen::SCHEME) {
                return Err(Malformed::Pseudo);
            }
            if !self.is_known_scheme {
                return Err(Malformed::Scheme);
            }
            if !is_word(&self.path) || !(self.path.starts_with(b"/") || self.path == b"*") {
                return Err(Malformed::Path);
            }
            &self.path
        };
        let method = if self.has(seen::PROTOCOL) { b"GET" } else { &self.method[..] };
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            self.lines.extend_from_slice(part);
        }
        if !self.authority.is_empty() {
            if !is_word(&self.authority) {
                return Err(Malformed::Host);
            }
            put_line(&mut self.lines, b"host", &self.authority);
        }
        Ok(())
    }

    /// Writes the rest. `has_more`: something follows the head. `websocket_key` is drawn for a websocket, which HTTP/2 needs none
    /// for.
    pub(crate) fn end(&mut self, has_more: bool, websocket_key: impl FnOnce() -> String) -> Result<Told, Malformed> {
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        if !self.has(seen::OTHER) {
            self.begin()?;
        }
        if !self.cookie.is_empty() {
            put_line(&mut self.lines, b"cookie", &self.cookie);
        }
        let is_tunnel = self.has(seen::PROTOCOL);
        let mut told = Told { coding: Coding::Plain, is_tunnel, is_head: self.method == b"HEAD", length: self.length };
        if is_tunnel {
            if self.length.is_some() {
                return Err(Malformed::ContentLength);
            }
            self.lines.extend_from_slice(b"connection: upgrade\r\n");
            put_line(&mut self.lines, b"upgrade", &self.protocol);
            if self.protocol == b"websocket" {
                put_line(&mut self.lines, b"sec-websocket-key", websocket_key().as_bytes());
            }
        } else if self.length.is_some_and(|length| length > 0) && !has_more {
            return Err(Malformed::ContentLength);
        } else if self.length.is_none() && has_more {
            self.lines.extend_from_slice(b"transfer-encoding: chunked\r\n");
            told.coding = Coding::Chunked;
        } else if self.length.is_none() && matches!(&self.method[..], b"POST" | b"PUT" | b"PATCH") {
            // Some servers insist (411).
            self.lines.extend_from_slice(b"content-length: 0\r\n");
        }
        self.lines.extend_from_slice(b"\r\n");
        Ok(told)
    }
}

/// The fields behind a body, as lines. `None`: they are malformed (RFC 9113 §8.1).
pub(crate) fn put_trailer(lines: &mut Vec<u8>, field: Field<'_>) -> Option<()> {
    let is_fit = !matches!(field.kind, Kind::Malformed) && !field.name.starts_with(b":");
    is_fit.then(|| put_line(lines, field.name, field.value))
}

fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Nothing that would end a word of a request line.
fn is_word(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// Of digits only (RFC 9110 §8.6).
fn decimal(text: &[u8]) -> Option<u64> {
    let is_decimal = text.iter().all(u8::is_ascii_digit);
    is_decimal.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
