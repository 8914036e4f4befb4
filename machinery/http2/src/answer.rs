//! The head of a response, from lines of HTTP/1 to fields of HTTP/2. The lines are the proxy's own, written by `http1`: what
//! no head may have is not in them.

use crate::hpack::{put_field, put_status};
use http1::{Asked, Framing};

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// In lines, with the empty one.
    pub bytes: usize,
    pub status: u16,
    /// Of the body; of 101, that of a tunnel.
    pub framing: Framing,
}

/// Why a head cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("the status line is none of HTTP/1.1")]
    StatusLine,
    #[error("a line has no colon")]
    Line,
    #[error("Content-Length is no number")]
    ContentLength,
}

/// Writes the block of fields for the head that `lines` begin with; `None` if they are not a whole one.
pub(crate) fn put(out: &mut Vec<u8>, lines: &[u8], asked: Asked) -> Result<Option<Told>, BadAnswer> {
    let Some((first, mut rest)) = next_line(lines) else { return Ok(None) };
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', a @ b'1'..=b'9', b, c, ..] = first else {
        return Err(BadAnswer::StatusLine);
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let (Some(a), Some(b), Some(c)) = (digit(a), digit(b), digit(c)) else { return Err(BadAnswer::StatusLine) };
    let status = a * 100 + b * 10 + c;
    // A tunnel begins with 200 in HTTP/2 (RFC 8441 §5).
    put_status(out, if status == 101 { 200 } else { status });
    let (mut length, mut is_chunked) = (None, false);
    loop {
        let Some((line, after)) = next_line(rest) else { return Ok(None) };
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BadAnswer::Line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match field(name) {
            Own::Length => length = Some(decimal(value).ok_or(BadAnswer::ContentLength)?),
            Own::Coding => {
                is_chunked = true;
                continue;
            }
            Own::Connection => continue,
            // The proof of a key that nobody sent.
            Own::Proof if status == 101 => continue,
            Own::Proof | Own::None => {}
        }
        put_field(out, name, value);
    }
    let framing = match (status, length) {
        (101, _) => Framing::UntilClose,
        (100..=199 | 204 | 304, _) => Framing::None,
        _ if asked.head => Framing::None,
        _ if is_chunked => Framing::Chunked,
        (_, Some(0)) => Framing::None,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => Framing::UntilClose,
    };
    Ok(Some(Told { bytes: lines.len() - rest.len(), status, framing }))
}

/// Writes the lines behind a chunked body; `None` if there are none.
pub(crate) fn put_trailers(out: &mut Vec<u8>, mut lines: &[u8]) -> Option<()> {
    let before = out.len();
    while let Some((line, after)) = next_line(lines) {
        lines = after;
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            put_field(out, &line[..colon], line[colon + 1..].trim_ascii());
        }
    }
    (out.len() > before).then_some(())
}

/// Headers that are not passed on as they are.
enum Own {
    /// It belongs to one connection of HTTP/1 and means nothing in HTTP/2, where it is forbidden (RFC 9113 §8.2.2).
    Connection,
    Coding,
    Length,
    Proof,
    None,
}

fn field(name: &[u8]) -> Own {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        7 if is("upgrade") => Own::Connection,
        10 if is("connection") || is("keep-alive") => Own::Connection,
        14 if is("content-length") => Own::Length,
        16 if is("proxy-connection") => Own::Connection,
        17 if is("transfer-encoding") => Own::Coding,
        20 if is("sec-websocket-accept") => Own::Proof,
        _ => Own::None,
    }
}

/// The line that the bytes begin with, without its end, and what follows.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Some((line, &bytes[end + 1..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
