//! Frames, found in whatever pieces they come, and what each does.

use super::data::Data;
use super::{Connection, Ending, Event, LAST_PING};
use crate::frame::{self, HEAD_BYTES, PAYLOAD_BYTES_MAX, PREFACE, flag, kind};
use crate::reason::{Fault, Reason};
use crate::request::Head;
use crate::stream::Cut;
use std::mem;

/// How far a frame has come.
#[derive(Debug)]
pub(super) enum Input {
    /// So much of the preface.
    Preface(usize),
    /// So much of a frame's head.
    Head([u8; HEAD_BYTES], usize),
    /// A frame that is looked at once it is whole.
    Payload(frame::Head, Vec<u8>),
    /// A frame whose data is taken as it comes.
    Data(Data),
}

/// What a piece of input led to, and how much of it was used.
pub(super) type Step = (usize, Result<Option<Event>, Fault>);

impl Input {
    pub fn begin() -> Self {
        Self::Preface(0)
    }

    pub fn next_frame() -> Self {
        Self::Head([0; HEAD_BYTES], 0)
    }
}

impl Connection {
    /// Takes what a client sent, up to a request, whose head is written to `head`: how many bytes that is, and the request. It is
    /// called again with the rest until there is none. What is not frames ends the connection ([`Connection::is_over`]).
    pub fn receive(&mut self, bytes: &[u8], head: &mut Head) -> (usize, Option<Event>) {
        let mut at = 0;
        while at < bytes.len() && self.ending != Ending::Over {
            let (used, came) = self.step(&bytes[at..], head);
            at += used;
            match came {
                Ok(None) => {}
                Ok(event) => return (at, event),
                Err(fault) => self.follow(fault),
            }
        }
        (bytes.len(), None)
    }

    fn step(&mut self, bytes: &[u8], head: &mut Head) -> Step {
        match &mut self.input {
            Input::Preface(seen) => {
                let count = bytes.len().min(PREFACE.len() - *seen);
                if bytes[..count] != PREFACE[*seen..*seen + count] {
                    return (count, Err(Fault::Connection(Reason::Protocol)));
                }
                *seen += count;
                if *seen == PREFACE.len() {
                    self.input = Input::next_frame();
                }
                (count, Ok(None))
            }
            Input::Head(kept, filled) => {
                if let (0, Some(whole)) = (*filled, bytes.first_chunk()) {
                    let frame = frame::Head::read(*whole);
                    return self.begin(frame, HEAD_BYTES, bytes, head);
                }
                let count = bytes.len().min(HEAD_BYTES - *filled);
                kept[*filled..*filled + count].copy_from_slice(&bytes[..count]);
                *filled += count;
                if *filled < HEAD_BYTES {
                    return (count, Ok(None));
                }
                let frame = frame::Head::read(*kept);
                self.begin(frame, count, bytes, head)
            }
            Input::Payload(frame, kept) => {
                let count = bytes.len().min(frame.bytes - kept.len());
                kept.extend_from_slice(&bytes[..count]);
                if kept.len() < frame.bytes {
                    return (count, Ok(None));
                }
                let (frame, payload) = (*frame, mem::take(kept));
                self.input = Input::next_frame();
                (count, self.whole(frame, &payload, head))
            }
            Input::Data(data) => {
                let data = *data;
                self.data(data, bytes)
            }
        }
    }

    /// A frame whose head is the last of the first `used` bytes.
    fn begin(&mut self, frame: frame::Head, used: usize, bytes: &[u8], head: &mut Head) -> Step {
        self.input = Input::next_frame();
        self.calm.came(frame);
        if let Err(reason) = self.may_come(frame) {
            return (used, Err(Fault::Connection(reason)));
        }
        if frame.kind == kind::DATA {
            let (data, begun) = self.begin_data(frame);
            self.input = Input::Data(data);
            if begun.is_err() || frame.bytes > 0 {
                return (used, begun.map(|()| None));
            }
            let (_, ended) = self.data(data, &[]);
            return (used, ended);
        }
        let rest = &bytes[used..];
        if rest.len() < frame.bytes {
            self.input = Input::Payload(frame, Vec::new());
            return (used, Ok(None));
        }
        (used + frame.bytes, self.whole(frame, &rest[..frame.bytes], head))
    }

    /// Whether a frame of this kind may come now.
    fn may_come(&self, frame: frame::Head) -> Result<(), Reason> {
        let is_first = !self.peer.has_settled;
        if is_first && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(Reason::Protocol);
        }
        let has_no_padding = frame.kind == kind::DATA && frame.has(flag::PADDED) && frame.bytes == 0;
        if frame.bytes > PAYLOAD_BYTES_MAX || has_no_padding {
            return Err(Reason::FrameSize);
        }
        // RFC 9113 §6.10: nothing comes between the parts of a head.
        let goes_on = self.block.as_ref().map(|block| block.stream());
        let is_rest = (frame.kind == kind::CONTINUATION).then_some(frame.stream);
        if goes_on == is_rest { Ok(()) } else { Err(Reason::Protocol) }
    }

    fn whole(&mut self, frame: frame::Head, payload: &[u8], head: &mut Head) -> Result<Option<Event>, Fault> {
        match frame.kind {
            kind::HEADERS => return self.headers(frame, payload, head),
            kind::CONTINUATION => return self.continuation(frame, payload, head),
            kind::PRIORITY => priority(frame, payload)?,
            kind::RST_STREAM => self.rst_stream(frame, payload)?,
            kind::SETTINGS => self.settings(frame, payload)?,
            kind::PUSH_PROMISE => return Err(Fault::Connection(Reason::Protocol)),
            kind::PING => self.ping(frame, payload)?,
            kind::GOAWAY => self.goaway(frame, payload)?,
            kind::WINDOW_UPDATE => self.window_update(frame, payload)?,
            _ => {}
        }
        Ok(None)
    }

    fn rst_stream(&mut self, frame: frame::Head, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != 4 {
            return Err(Fault::Connection(Reason::FrameSize));
        }
        self.not_idle(frame.stream)?;
        if let Some(key) = self.streams.find(frame.stream) {
            let cut = Cut { by_client: true, reason: Reason::Cancel };
            self.streams.change(key, |stream| {
                stream.reset.get_or_insert(cut);
                stream.wake();
            });
            self.drop_data(key);
        }
        Ok(())
    }

    fn ping(&mut self, frame: frame::Head, payload: &[u8]) -> Result<(), Fault> {
        if frame.stream != 0 {
            return Err(Fault::Connection(Reason::Protocol));
        }
        if payload.len() != LAST_PING.len() {
            return Err(Fault::Connection(Reason::FrameSize));
        }
        if !frame.has(flag::ACK) {
            self.out.frame(kind::PING, flag::ACK, 0, payload);
        } else if payload == LAST_PING && self.ending == Ending::Announced {
            // It has heard of the end: what it began before has come.
            self.out.goaway(self.last_id, Reason::NoError);
            self.ending = Ending::After(self.last_id);
        }
        Ok(())
    }

    fn goaway(&mut self, frame: frame::Head, payload: &[u8]) -> Result<(), Fault> {
        if frame.stream != 0 {
            return Err(Fault::Connection(Reason::Protocol));
        }
        if payload.len() < 8 {
            return Err(Fault::Connection(Reason::FrameSize));
        }
        if self.ending == Ending::No {
            self.ending = Ending::ByClient;
        }
        Ok(())
    }

    /// RFC 9113 §5.1: most frames cannot come on a stream that nobody has begun.
    pub(super) fn not_idle(&self, id: u32) -> Result<(), Fault> {
        if id == 0 || id > self.last_id || id.is_multiple_of(2) {
            Err(Fault::Connection(Reason::Protocol))
        } else {
            Ok(())
        }
    }
}

/// Deprecated (RFC 9113 §5.3.2), and judged all the same.
fn priority(frame: frame::Head, payload: &[u8]) -> Result<(), Fault> {
    if frame.stream == 0 {
        return Err(Fault::Connection(Reason::Protocol));
    }
    let &[a, b, c, d, _] = payload else { return Err(Fault::Stream(frame.stream, Reason::FrameSize)) };
    if u32::from_be_bytes([a, b, c, d]) & frame::MASK_31 == frame.stream {
        return Err(Fault::Stream(frame.stream, Reason::Protocol));
    }
    Ok(())
}
