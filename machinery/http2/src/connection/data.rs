//! Frames of data, taken as they come (RFC 9113 §6.1).

use super::Connection;
use super::receive::{Input, Step};
use crate::closed::How;
use crate::frame::{Head as Frame, flag};
use crate::reason::{Fault, Reason};
use crate::stream::{Cut, Key};

/// What is still to come of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    /// Whose it is; `None`: nobody's any more.
    key: Option<Key>,
    left: usize,
    padding: Padding,
    ends: bool,
    /// Somebody took some of it.
    is_of_use: bool,
    /// What nobody reads of it: given back at its end.
    unread: usize,
}

/// What fills a frame up, behind its data.
#[derive(Debug, Clone, Copy)]
enum Padding {
    /// How much it is comes first.
    Unknown,
    Left(usize),
}

impl Connection {
    /// How a frame is to be taken. One that is at fault is taken to its end, too, for nobody.
    pub(super) fn begin_data(&mut self, frame: Frame) -> (Data, Result<(), Fault>) {
        let padding = if frame.has(flag::PADDED) { Padding::Unknown } else { Padding::Left(0) };
        let ends = frame.has(flag::END_STREAM);
        let mut data = Data { key: None, left: frame.bytes, padding, ends, is_of_use: false, unread: 0 };
        let begun = self.whose(frame).and_then(|key| {
            data.key = key;
            if frame.has(flag::PADDED) { Ok(()) } else { self.counted(&mut data) }
        });
        (data, begun)
    }

    /// Whose data comes; `None`: nobody's any more.
    fn whose(&mut self, frame: Frame) -> Result<Option<Key>, Fault> {
        let bytes = frame.bytes as i64;
        self.not_idle(frame.stream)?;
        if bytes > self.receive_window {
            return Err(Fault::Connection(Reason::FlowControl));
        }
        self.receive_window -= bytes;
        let Some(key) = self.streams.find(frame.stream) else {
            return match self.streams.closed.how(frame.stream) {
                Some(How::ByClient) => Err(Fault::Connection(Reason::StreamClosed)),
                // It was under way when its stream was reset.
                Some(How::ByUs) | None => Ok(None),
            };
        };
        let Some(stream) = self.streams.get(key) else { return Ok(None) };
        match stream.reset {
            Some(Cut { by_client: true, .. }) => return Err(Fault::Connection(Reason::StreamClosed)),
            Some(_) => return Ok(None),
            None if stream.came => return Err(Fault::Stream(frame.stream, Reason::StreamClosed)),
            None if bytes > stream.receive_window => return Err(Fault::Stream(frame.stream, Reason::FlowControl)),
            None => stream.receive_window -= bytes,
        }
        Ok(Some(key))
    }

    /// Counts the data of a frame, whose padding is known, towards the length that was told (RFC 9113 §8.1.1).
    fn counted(&mut self, data: &mut Data) -> Result<(), Fault> {
        let Some(stream) = data.key.and_then(|key| self.streams.get(key)) else { return Ok(()) };
        let Some(left) = &mut stream.length_left else { return Ok(()) };
        match left.checked_sub(data.left as u64) {
            Some(rest) => *left = rest,
            None => {
                data.key = None;
                return Err(Fault::Stream(stream.id, Reason::Protocol));
            }
        }
        Ok(())
    }

    /// Takes what has come of a frame.
    pub(super) fn data(&mut self, mut data: Data, bytes: &[u8]) -> Step {
        let mut used = 0;
        if let (Padding::Unknown, Some(padding)) = (data.padding, bytes.first()) {
            let padding = usize::from(*padding);
            let Some(left) = (data.left - 1).checked_sub(padding) else {
                return (1, Err(Fault::Connection(Reason::Protocol)));
            };
            (used, data.left, data.padding, data.unread) = (1, left, Padding::Left(padding), 1);
            if let Err(fault) = self.counted(&mut data) {
                self.input = Input::Data(data);
                return (used, Err(fault));
            }
        }
        let Padding::Left(mut padding) = data.padding else { return (used, Ok(None)) };
        let count = data.left.min(bytes.len() - used);
        if self.take_data(data.key, &bytes[used..used + count]) {
            data.is_of_use = true;
        } else {
            data.unread += count;
        }
        used += count;
        data.left -= count;
        let filling = if data.left == 0 { padding.min(bytes.len() - used) } else { 0 };
        padding -= filling;
        used += filling;
        data.unread += filling;
        data.padding = Padding::Left(padding);
        if data.left > 0 || padding > 0 {
            self.input = Input::Data(data);
            return (used, Ok(None));
        }
        self.input = Input::next_frame();
        (used, self.end_data(&data).map(|()| None))
    }

    /// Whether somebody wanted it.
    fn take_data(&mut self, key: Option<Key>, bytes: &[u8]) -> bool {
        let Some(stream) = key.and_then(|key| self.streams.get(key)).filter(|stream| stream.reset.is_none()) else {
            return false;
        };
        if !bytes.is_empty() {
            stream.data.extend_from_slice(bytes);
            stream.wake();
        }
        !bytes.is_empty()
    }

    fn end_data(&mut self, data: &Data) -> Result<(), Fault> {
        if data.is_of_use {
            self.calm.was_of_use();
        }
        match data.key {
            Some(key) => {
                self.give_back(key, data.unread);
                if data.ends { self.ends(key) } else { Ok(()) }
            }
            None => {
                self.give_back_of_connection(data.unread);
                Ok(())
            }
        }
    }

    /// The client has sent all of a stream.
    pub(super) fn ends(&mut self, key: Key) -> Result<(), Fault> {
        let is_whole = self.streams.change(key, |stream| {
            let is_whole = stream.length_left.unwrap_or(0) == 0;
            stream.came |= is_whole;
            stream.wake();
            is_whole
        });
        if is_whole == Some(false) { Err(Fault::Stream(key.id(), Reason::Protocol)) } else { Ok(()) }
    }
}
