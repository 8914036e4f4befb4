//! Where a message's body ends, found in whatever pieces it comes.

use crate::Framing;
use crate::chunk::Chunks;
use crate::refusal::BadChunk;

/// Follows the body of one message.
///
/// Either [`Body::advance`] for bytes that are passed on as they are, or [`Body::decode`] for the data in them; mixing them
/// is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    state: State,
    data_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

/// A piece of a body, taken out of its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Empty if the bytes were framing only.
    pub data: &'a [u8],
    /// Bytes that were taken, framing included.
    pub consumed: usize,
}

impl Body {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, data_bytes: 0 }
    }

    /// How many of `bytes` belong to this message: all of them, unless it ends among them.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        if !matches!(self.state, State::Chunked(_)) {
            return Ok(self.take_plain(bytes));
        }
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            at += self.decode(&bytes[at..])?.consumed;
        }
        Ok(at)
    }

    /// The next piece of data: call it again with the bytes after `consumed` until none are left or the body is done.
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Decoded<'a>, BadChunk> {
        self.decode_at_most(bytes, usize::MAX)
    }

    /// The same, with at most so much data: with room for none it goes on through framing only.
    pub fn decode_at_most<'a>(&mut self, bytes: &'a [u8], data_bytes_max: usize) -> Result<Decoded<'a>, BadChunk> {
        let State::Chunked(chunks) = &mut self.state else {
            let consumed = self.take_plain(&bytes[..bytes.len().min(data_bytes_max)]);
            return Ok(Decoded { data: &bytes[..consumed], consumed });
        };
        let decoded = chunks.decode(bytes, data_bytes_max)?;
        self.data_bytes = self.data_bytes.saturating_add(decoded.data.len() as u64);
        if chunks.are_done() {
            self.state = State::Done;
        }
        Ok(decoded)
    }

    #[inline]
    fn take_plain(&mut self, bytes: &[u8]) -> usize {
        let taken = match &mut self.state {
            State::Done | State::Chunked(_) => 0,
            State::UntilClose => bytes.len(),
            State::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                taken
            }
        };
        self.data_bytes = self.data_bytes.saturating_add(taken as u64);
        taken
    }

    /// `taken` bytes went by unseen (splice); at most [`Body::remaining_length`].
    pub fn skip(&mut self, taken: u64) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(taken);
            if *left == 0 {
                self.state = State::Done;
            }
        }
        self.data_bytes = self.data_bytes.saturating_add(taken);
    }

    /// The connection ended, where it may.
    pub fn end(&mut self) {
        self.state = State::Done;
    }

    /// Whether all of it was seen. Never true of a body that ends with the connection.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether all data of a chunked body was seen: what [`Body::decode`] takes from here on are the lines of its trailers,
    /// with the empty one that ends them.
    pub fn is_in_trailers(&self) -> bool {
        matches!(&self.state, State::Chunked(chunks) if chunks.are_in_trailers())
    }

    /// Whether the connection may close here: the body is done, or ends that way.
    pub fn may_end_here(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// How many bytes are to come, if that is known.
    #[inline]
    pub fn remaining_length(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Bytes of data so far, framing not counted.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_down_whichever_way_bytes_go() {
        let mut body = Body::new(Framing::Length(10));
        assert_eq!(body.advance(b"abc"), Ok(3));
        assert_eq!(body.decode(b"de"), Ok(Decoded { data: b"de", consumed: 2 }));
        assert_eq!(body.remaining_length(), Some(5));
        body.skip(2);
        assert!(!body.is_done() && !body.may_end_here());
        assert_eq!(body.advance(b"xyzGET /"), Ok(3));
        assert_eq!(body.advance(b"GET /"), Ok(0));
        assert!(body.is_done());
        assert_eq!(body.data_bytes(), 10);
    }

    #[test]
    fn a_body_without_framing_ends_with_the_connection() {
        let mut body = Body::new(Framing::UntilClose);
        assert_eq!(body.advance(b"abc"), Ok(3));
        assert!(!body.is_done() && body.may_end_here());
        assert_eq!(body.remaining_length(), None);
        assert!(Body::new(Framing::None).is_done());
    }

    #[test]
    fn data_stays_where_there_is_no_room_and_trailers_begin_where_data_ends() {
        let mut body = Body::new(Framing::Chunked);
        let bytes = b"3\r\nabc\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(body.decode_at_most(bytes, 0), Ok(Decoded { data: b"", consumed: 3 }));
        assert_eq!(body.decode_at_most(&bytes[3..], 2), Ok(Decoded { data: b"ab", consumed: 2 }));
        assert_eq!(body.decode_at_most(&bytes[5..], 0), Ok(Decoded { data: b"", consumed: 0 }));
        assert_eq!(body.decode(&bytes[5..]), Ok(Decoded { data: b"c", consumed: 1 }));
        assert!(!body.is_in_trailers());
        assert_eq!(body.decode_at_most(&bytes[6..], 0), Ok(Decoded { data: b"", consumed: 5 }));
        assert!(body.is_in_trailers());
        assert_eq!(body.decode(&bytes[11..]), Ok(Decoded { data: b"", consumed: 8 }));
        assert!(body.is_done() && !body.is_in_trailers());
        let mut plain = Body::new(Framing::Length(3));
        assert_eq!(plain.decode_at_most(b"abc", 2), Ok(Decoded { data: b"ab", consumed: 2 }));
    }

    #[test]
    fn chunks_do_not_reach_into_the_next_message() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.advance(b"3\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1"), Ok(19));
        assert!(body.is_done());
        assert_eq!(body.data_bytes(), 3);
        assert_eq!(Body::new(Framing::Chunked).advance(b"fffffffffffffffff\r\n"), Err(BadChunk::Size));
        let mut largest = Body::new(Framing::Chunked);
        assert_eq!(largest.advance(b"ffffffffffffffff\r\nabc"), Ok(21));
    }
}
