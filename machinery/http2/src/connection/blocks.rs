//! Heads and trailers, whole or in parts (RFC 9113 §4.3, §6.2, §6.10).

use super::{Connection, Ending, Event, Request};
use crate::closed::How;
use crate::frame::{Head as Frame, MASK_31, flag};
use crate::hpack::{BadBlock, Field};
use crate::reason::{Fault, Reason};
use crate::request::{Head, put_trailer};
use crate::stream::{Cut, Key};
use http1::{Asked, Coding, TRAILER_BYTES_MAX};
use std::mem;

/// Fields that go on in the next frame.
#[derive(Debug)]
pub(super) struct Block {
    begun: Begun,
    fields: Vec<u8>,
}

/// What a frame of kind HEADERS says besides its fields.
#[derive(Debug, Clone, Copy)]
struct Begun {
    stream: u32,
    ends: bool,
    /// It depends on itself (RFC 7540 §5.3.1).
    is_circular: bool,
}

/// What a block of fields is.
enum Purpose {
    Request,
    Trailers(Key),
    /// Nobody's any more: it is read, since what comes after it may refer to it.
    Nothing,
}

impl Block {
    pub fn stream(&self) -> u32 {
        self.begun.stream
    }
}

impl Connection {
    pub(super) fn headers(&mut self, frame: Frame, payload: &[u8], head: &mut Head) -> Result<Option<Event>, Fault> {
        let malformed = Fault::Connection(Reason::Protocol);
        // RFC 9113 §5.1.1: those of clients are odd.
        if frame.stream.is_multiple_of(2) {
            return Err(malformed);
        }
        let mut fields = payload;
        if frame.has(flag::PADDED) {
            let (padding, rest) = fields.split_first().ok_or(malformed)?;
            fields = rest;
            let bytes = fields.len().checked_sub(usize::from(*padding)).ok_or(malformed)?;
            fields = &fields[..bytes];
        }
        let mut is_circular = false;
        if frame.has(flag::PRIORITY) {
            let ([a, b, c, d, _], rest) = fields.split_first_chunk().ok_or(malformed)?;
            is_circular = u32::from_be_bytes([*a, *b, *c, *d]) & MASK_31 == frame.stream;
            fields = rest;
        }
        let begun = Begun { stream: frame.stream, ends: frame.has(flag::END_STREAM), is_circular };
        if frame.has(flag::END_HEADERS) {
            return self.fields(begun, fields, head);
        }
        self.block = Some(Block { begun, fields: fields.to_vec() });
        Ok(None)
    }

    /// `may_come` has seen that it goes on.
    pub(super) fn continuation(
        &mut self,
        frame: Frame,
        payload: &[u8],
        head: &mut Head,
    ) -> Result<Option<Event>, Fault> {
        let Some(block) = &mut self.block else { return Err(Fault::Connection(Reason::Protocol)) };
        // One that is larger than was offered is answered (431), if it ends.
        if block.fields.len() + payload.len() > 2 * self.limits.head_bytes_max {
            return Err(Fault::Connection(Reason::EnhanceYourCalm));
        }
        block.fields.extend_from_slice(payload);
        if !frame.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Block { begun, fields } = mem::replace(block, Block { begun: block.begun, fields: Vec::new() });
        self.block = None;
        self.fields(begun, &fields, head)
    }

    /// A whole block of fields.
    fn fields(&mut self, begun: Begun, fields: &[u8], head: &mut Head) -> Result<Option<Event>, Fault> {
        match self.purpose(begun) {
            Ok(Purpose::Request) => self.request(begun, fields, head),
            Ok(Purpose::Trailers(key)) => self.trailers(key, fields).map(|()| None),
            Ok(Purpose::Nothing) => self.decode(fields, |_| {}).map(|()| None),
            Err(fault @ Fault::Connection(_)) => Err(fault),
            Err(fault) => {
                self.decode(fields, |_| {})?;
                Err(fault)
            }
        }
    }

    fn purpose(&mut self, begun: Begun) -> Result<Purpose, Fault> {
        let id = begun.stream;
        if let Some(key) = self.streams.find(id)
            && let Some(stream) = self.streams.get(key)
        {
            return match stream.reset {
                Some(Cut { by_client: true, .. }) => Err(Fault::Connection(Reason::StreamClosed)),
                Some(_) => Ok(Purpose::Nothing),
                None if stream.came => Err(Fault::Stream(id, Reason::StreamClosed)),
                // RFC 9113 §8.1: they are the end.
                None if !begun.ends => Err(Fault::Stream(id, Reason::Protocol)),
                None => Ok(Purpose::Trailers(key)),
            };
        }
        if id > self.last_id {
            self.last_id = id;
            if matches!(self.ending, Ending::After(_)) {
                self.streams.closed.put(id, How::ByUs);
                return Ok(Purpose::Nothing);
            }
            if begun.is_circular {
                return Err(Fault::Stream(id, Reason::Protocol));
            }
            // More than was offered (RFC 9113 §5.1.2).
            return if self.streams.open() < self.limits.streams_max {
                Ok(Purpose::Request)
            } else {
                Err(Fault::Stream(id, Reason::RefusedStream))
            };
        }
        match self.streams.closed.how(id) {
            Some(How::ByUs) => Ok(Purpose::Nothing),
            Some(How::ByClient) => Err(Fault::Connection(Reason::StreamClosed)),
            // RFC 9113 §5.1.1: identifiers ascend.
            None => Err(Fault::Connection(Reason::Protocol)),
        }
    }

    fn request(&mut self, begun: Begun, fields: &[u8], head: &mut Head) -> Result<Option<Event>, Fault> {
        let bytes_max = self.limits.head_bytes_max;
        head.clear();
        self.decode(fields, |field| head.put(field, bytes_max))?;
        let is_too_large = head.is_too_large(bytes_max);
        let told = match head.end(!begun.ends, self.limits.websocket_key) {
            Ok(told) => Some(told),
            Err(_) if is_too_large => None,
            Err(malformed) => {
                self.follow(Fault::Stream(begun.stream, Reason::Protocol));
                return Ok(Some(Event::Malformed(malformed)));
            }
        };
        self.calm.was_of_use();
        let window = i64::from(self.limits.stream_window_bytes);
        let key = self.streams.insert(begun.stream, window, self.peer.window);
        self.streams.change(key, |stream| {
            (stream.came, stream.length_left) = (begun.ends, told.and_then(|told| told.length));
        });
        Ok(Some(Event::Request(Request {
            key,
            coding: told.map_or(Coding::Plain, |told| told.coding),
            asked: Asked {
                head: told.is_some_and(|told| told.is_head),
                upgrade: told.is_some_and(|told| told.is_tunnel),
            },
            is_too_large,
        })))
    }

    /// The fields behind a body, and its end.
    fn trailers(&mut self, key: Key, fields: &[u8]) -> Result<(), Fault> {
        let (mut lines, mut is_fit) = (Vec::new(), true);
        self.decode(fields, |field| {
            let has_room = lines.len() + field.name.len() + field.value.len() <= TRAILER_BYTES_MAX;
            is_fit = is_fit && has_room && put_trailer(&mut lines, field).is_some();
        })?;
        if !is_fit {
            return Err(Fault::Stream(key.id(), Reason::Protocol));
        }
        if let Some(stream) = self.streams.get(key) {
            stream.trailers = lines;
        }
        self.calm.was_of_use();
        self.ends(key)
    }

    /// RFC 9113 §4.3: when a block cannot be read, what follows could not be either.
    fn decode(&mut self, fields: &[u8], visit: impl FnMut(Field<'_>)) -> Result<(), Fault> {
        let decoded = self.decoder.decode(fields, 4 * self.limits.head_bytes_max, visit);
        decoded.map_err(|bad| {
            let is_too_large = bad == BadBlock::TooLarge;
            Fault::Connection(if is_too_large { Reason::EnhanceYourCalm } else { Reason::Compression })
        })
    }
}
