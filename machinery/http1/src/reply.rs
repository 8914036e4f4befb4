//! A response's head as the client receives it.

use crate::edit::{self, Edit};
use crate::text::put_line;
use crate::{Framing, Response, Version};

/// Room for what is written beside the server's own lines, so that the buffer grows once.
const ADDED_BYTES: usize = 256;

/// How a response goes on.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    pub connection: Connection<'a>,
    /// How the body is framed now; `None`: as it came.
    pub framing: Option<Framing>,
    /// For a response without `Date` (RFC 9110 §6.6.1).
    pub date: Option<&'a str>,
    pub edits: &'a [Edit<'a>],
}

/// What the client is told about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection<'a> {
    /// Nothing: in HTTP/1.1 it stays.
    Stays,
    /// It stays; HTTP/1.0 has to be told.
    KeepAlive,
    Close,
    /// It becomes a tunnel of this protocol.
    Upgrade(&'a [u8]),
}

impl Connection<'_> {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Stays => {}
            Self::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            Self::Close => out.extend_from_slice(b"Connection: close\r\n"),
            Self::Upgrade(protocol) => {
                out.extend_from_slice(b"Connection: upgrade\r\n");
                put_line(out, "Upgrade", protocol);
            }
        }
    }
}

impl Response<'_> {
    /// Writes the head that the client receives, in HTTP/1.1, with its empty line.
    pub fn write(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        out.reserve(self.head_bytes() + ADDED_BYTES);
        self.put_status_line(out);
        let mut dropped = self.fields.hop();
        edit::put(reply.edits, out, &self.fields, &mut dropped);
        match self.fields.coding {
            // RFC 9112 §6.1 and RFC 9110 §8.6: no framing where no body can be, but the length that GET would find.
            _ if self.never_has_body() => self.fields.put_framing(out, &mut dropped, Some(Framing::None)),
            Some(coding) if self.framing == Framing::None => dropped.insert(coding.index),
            _ => self.fields.put_framing(out, &mut dropped, reply.framing),
        }
        reply.connection.put(out);
        if let Some(date) = reply.date.filter(|_| !self.fields.has_date) {
            put_line(out, "Date", date.as_bytes());
        }
        self.fields.copy(out, self.fields.lines_start, &dropped);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn put_status_line(&self, out: &mut Vec<u8>) {
        let line = self.fields.first_line();
        // The space after the status may be missing.
        if self.version == Version::Http11 && line.get(b"HTTP/1.1 200".len()) == Some(&b' ') {
            out.extend_from_slice(line);
        } else {
            put_status_line(out, self.status, self.reason);
        }
    }
}

/// Writes a status line.
pub(crate) fn put_status_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    let digit = |place: u16| b'0' + (status / place % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
