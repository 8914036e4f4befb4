//! What goes to the client: heads, data as far as the windows and the socket have room, trailers.

use super::Connection;
use crate::answer::{self, BadAnswer};
use crate::frame::{Head as Frame, flag, kind};
use crate::hpack::put_no_table;
use crate::reason::Reason;
use crate::stream::Key;
use http1::{Asked, Framing};
use std::convert::Infallible;
use std::task::Waker;

/// What was sent of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responded {
    /// Of the lines.
    pub head_bytes: usize,
    pub status: u16,
    /// Of the body that follows.
    pub framing: Framing,
    /// Another head follows (RFC 9110 §15.2).
    pub is_interim: bool,
    /// Nothing follows.
    pub is_all: bool,
}

/// Why an answer cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the stream was reset ({0:?})")]
    Reset(Reason),
    #[error("the answer has no place in HTTP/2")]
    Answer(#[from] BadAnswer),
}

impl Connection {
    /// Sends the head that `lines`, of HTTP/1, begin with; `None` if they are not a whole one.
    pub fn respond(&mut self, key: Key, lines: &[u8], asked: Asked) -> Result<Option<Responded>, SendError> {
        self.writable(key)?;
        let (bytes_max, says_no_table) = (self.peer.payload_bytes_max, !self.said_no_table);
        let frame = Frame { bytes: 0, kind: kind::HEADERS, flags: 0, stream: key.id() };
        let sent = self.out.block(bytes_max, frame, flag::END_HEADERS, |out| {
            if says_no_table {
                put_no_table(out);
            }
            let Some(told) = answer::put(out, lines, asked)? else { return Ok::<_, BadAnswer>(None) };
            let is_interim = matches!(told.status, 100 | 102..=199);
            let is_all = !is_interim && told.framing == Framing::None;
            let (head_bytes, status, framing) = (told.bytes, told.status, told.framing);
            let responded = Responded { head_bytes, status, framing, is_interim, is_all };
            Ok(Some((responded, if is_all { flag::END_STREAM } else { 0 })))
        })?;
        let Some(responded) = sent else { return Ok(None) };
        self.said_no_table = true;
        self.calm.went();
        if responded.status == 101 {
            // What comes now is no body.
            self.streams.change(key, |stream| stream.length_left = None);
        }
        if responded.is_all {
            self.went(key);
        }
        self.stir();
        Ok(Some(responded))
    }

    /// How much data can be sent now. Of what there is room for at once no stream takes more than its share.
    pub fn room(&mut self, key: Key) -> usize {
        let unsent = self.limits.unsent_bytes_max.saturating_sub(self.out.unsent().len());
        let (connection, round) = (self.send_window, self.round);
        let Some(stream) = self.streams.get(key) else { return 0 };
        let taken = if stream.round == round { stream.taken } else { 0 };
        let share = self.limits.stream_unsent_bytes_max.saturating_sub(taken).min(unsent);
        usize::try_from(stream.send_window.min(connection)).unwrap_or(0).min(share)
    }

    /// Sends data for which there is room, and the end of the stream with it.
    pub fn send(&mut self, key: Key, data: &[u8], is_last: bool) -> Result<(), SendError> {
        self.writable(key)?;
        let mut parts = data.chunks(self.peer.payload_bytes_max).peekable();
        if parts.peek().is_none() && is_last {
            self.out.frame(kind::DATA, flag::END_STREAM, key.id(), &[]);
        }
        while let Some(part) = parts.next() {
            let flags = if is_last && parts.peek().is_none() { flag::END_STREAM } else { 0 };
            self.out.frame(kind::DATA, flags, key.id(), part);
            self.calm.went();
        }
        let (count, round) = (data.len(), self.round);
        self.send_window -= count as i64;
        if let Some(stream) = self.streams.get(key) {
            stream.send_window -= count as i64;
            let taken = if stream.round == round { stream.taken } else { 0 };
            (stream.round, stream.taken) = (round, taken + count);
        }
        if is_last {
            self.went(key);
        }
        self.stir();
        Ok(())
    }

    /// Sends the lines behind a chunked body, and the end of the stream.
    pub fn send_trailers(&mut self, key: Key, lines: &[u8]) -> Result<(), SendError> {
        self.writable(key)?;
        let frame = Frame { bytes: 0, kind: kind::HEADERS, flags: flag::END_STREAM, stream: key.id() };
        let bytes_max = self.peer.payload_bytes_max;
        let sent = self.out.block(bytes_max, frame, flag::END_HEADERS, |out| {
            Ok::<_, Infallible>(answer::put_trailers(out, lines).map(|()| ((), 0)))
        });
        let Ok(sent) = sent;
        if sent.is_none() {
            self.out.frame(kind::DATA, flag::END_STREAM, key.id(), &[]);
        }
        self.went(key);
        self.stir();
        Ok(())
    }

    /// Wakes the task when there is room, or the stream ended.
    pub fn wait_for_room(&mut self, key: Key, waker: &Waker) {
        self.wait(key, waker);
        if let Some(stream) = self.streams.get(key) {
            stream.waits_for_room = true;
            self.someone_waits = true;
        }
    }

    fn writable(&mut self, key: Key) -> Result<(), SendError> {
        match self.streams.get(key) {
            None => Err(SendError::Reset(Reason::Cancel)),
            Some(stream) => match stream.reset {
                Some(cut) => Err(SendError::Reset(cut.reason)),
                None if stream.went => Err(SendError::Reset(Reason::StreamClosed)),
                None => Ok(()),
            },
        }
    }

    fn went(&mut self, key: Key) {
        self.streams.change(key, |stream| stream.went = true);
    }
}
