//! One stream of a client's connection, as a connection of HTTP/1 that carries one request: its body is read here, and what
//! the engine answers is written here.

use super::super::handshake::Agreed;
use super::super::journey::OWN_LIMITS;
use super::front::Shared;
use bytes::{Buf, Bytes};
use http1::{Asked, Body, Coding};
use http2::{Key, Reason, Request, SendError, Unread};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll};

pub(in super::super) struct FromClient {
    shared: Rc<Shared>,
    key: Key,
    coding: Coding,
    /// What comes behind all data.
    end: Option<Bytes>,
    asked: Asked,
    answer: Answer,
    pub tls: Option<Agreed>,
}

/// How far the answer has come.
enum Answer {
    /// What came of its head.
    Head(Vec<u8>),
    Body {
        body: Body,
        /// The lines behind all data, as far as they came.
        trailers: Vec<u8>,
    },
    Over,
}

impl FromClient {
    pub(super) fn new(shared: Rc<Shared>, request: &Request, tls: Option<Agreed>) -> Self {
        let Request { key, coding, asked, .. } = *request;
        Self { shared, key, coding, end: None, asked, answer: Answer::Head(Vec::new()), tls }
    }

    /// Reads into `room`, which is larger than a chunk's framing; 0 at the end.
    pub fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let connection = &mut *self.shared.connection();
        let mut filled = 0;
        loop {
            let room = &mut room[filled..];
            match connection.unread(self.key) {
                Unread::Data(data) => {
                    let coded = self.coding.put(data, room);
                    if coded.taken == 0 {
                        return Poll::Ready(Ok(filled));
                    }
                    filled += coded.written;
                    connection.read(self.key, coded.taken);
                }
                Unread::End(lines) => {
                    let end = self.end.get_or_insert_with(|| match self.coding {
                        Coding::Chunked => [b"0\r\n", lines, b"\r\n"].concat().into(),
                        Coding::Plain => Bytes::new(),
                    });
                    let taken = end.len().min(room.len());
                    end.copy_to_slice(&mut room[..taken]);
                    return Poll::Ready(Ok(filled + taken));
                }
                // What comes then comes the next time as well.
                _ if filled > 0 => return Poll::Ready(Ok(filled)),
                Unread::Nothing => {
                    connection.wait(self.key, context.waker());
                    return Poll::Pending;
                }
                Unread::Reset(reason) => return Poll::Ready(Err(fault(SendError::Reset(reason)))),
            }
        }
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let taken = match &self.answer {
                Answer::Head(_) => self.write_head(&bytes[used..])?,
                _ => self.write_body(&bytes[used..])?,
            };
            if taken == 0 {
                break;
            }
            used += taken;
        }
        Ok(used)
    }

    /// Ready with how many of the bytes were taken.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = self.try_write(bytes)?;
        if taken > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(taken));
        }
        let connection = &mut *self.shared.connection();
        if connection.is_reset(self.key) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        connection.wait_for_room(self.key, context.waker());
        Poll::Pending
    }

    /// How many of the bytes are the head's.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answer::Head(kept) = &mut self.answer else { return Ok(0) };
        if self.shared.connection().is_full() {
            return Ok(0);
        }
        let before = kept.len();
        if before > 0 {
            kept.extend_from_slice(bytes);
        }
        let lines = if before > 0 { &kept[..] } else { bytes };
        let Some(sent) = self.shared.writing().respond(self.key, lines, self.asked).map_err(fault)? else {
            if before == 0 {
                kept.extend_from_slice(bytes);
            }
            let is_too_long = kept.len() > OWN_LIMITS.head_bytes_max;
            return if is_too_long { Err(ErrorKind::InvalidData.into()) } else { Ok(bytes.len()) };
        };
        if sent.status == 101 {
            self.coding = Coding::Plain;
        }
        if sent.is_interim {
            kept.clear();
        } else if sent.is_all {
            self.answer = Answer::Over;
        } else {
            self.answer = Answer::Body { body: Body::new(sent.framing), trailers: Vec::new() };
        }
        Ok(sent.head_bytes - before)
    }

    /// Sends as many as there is room for; how many that is.
    fn write_body(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answer::Body { body, trailers } = &mut self.answer else { return Err(ErrorKind::BrokenPipe.into()) };
        let connection = &mut *self.shared.writing();
        let (mut room, mut used, mut unsent) = (connection.room(self.key), 0, &[][..]);
        while used < bytes.len() && !body.is_done() {
            let is_trailer = body.is_in_trailers();
            let decoded = body.decode_at_most(&bytes[used..], room);
            let decoded = decoded.map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?;
            if decoded.consumed == 0 {
                break;
            }
            if is_trailer {
                trailers.extend_from_slice(&bytes[used..used + decoded.consumed]);
            }
            if !decoded.data.is_empty() {
                if !unsent.is_empty() {
                    connection.send(self.key, unsent, false).map_err(fault)?;
                }
                unsent = decoded.data;
            }
            room -= decoded.data.len();
            used += decoded.consumed;
        }
        // There is an empty line behind them.
        let has_trailers = trailers.len() > b"\r\n".len();
        let ends = body.is_done();
        if !unsent.is_empty() || ends && !has_trailers {
            connection.send(self.key, unsent, ends && !has_trailers).map_err(fault)?;
        }
        if ends {
            if has_trailers {
                connection.send_trailers(self.key, trailers).map_err(fault)?;
            }
            self.answer = Answer::Over;
        }
        Ok(used)
    }

    /// Whether the client wants no more of it.
    pub fn poll_left(&mut self, context: &mut Context<'_>) -> bool {
        let connection = &mut *self.shared.connection();
        let is_left = !matches!(self.answer, Answer::Over) && connection.is_reset(self.key);
        if !is_left {
            connection.wait(self.key, context.waker());
        }
        is_left
    }

    pub fn end(&mut self) -> io::Result<()> {
        match self.answer {
            Answer::Head(_) => return Err(ErrorKind::BrokenPipe.into()),
            Answer::Body { .. } => self.shared.writing().send(self.key, &[], true).map_err(fault)?,
            Answer::Over => {}
        }
        self.answer = Answer::Over;
        Ok(())
    }

    /// The client must not take what it got for the whole.
    pub fn reset(&mut self) {
        if !matches!(self.answer, Answer::Over) {
            self.shared.connection().reset(self.key, Reason::Internal);
        }
    }
}

impl Drop for FromClient {
    fn drop(&mut self) {
        self.shared.connection().release(self.key);
    }
}

/// For those who know sockets only.
fn fault(error: SendError) -> io::Error {
    let kind = match error {
        SendError::Reset(_) => ErrorKind::ConnectionReset,
        SendError::Answer(_) => ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
