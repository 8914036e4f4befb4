//! What is read of a stream, how the client may send as much again, and how a stream ends.

use super::{Connection, Ending};
use crate::reason::Reason;
use crate::stream::{Cut, Key};
use std::mem;
use std::task::Waker;

/// A stream's buffer that is larger is not kept once it is empty.
const KEPT_BYTES_MAX: usize = 32 * 1024;

/// What there is to read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread<'a> {
    Data(&'a [u8]),
    /// All was read; the lines of trailers.
    End(&'a [u8]),
    Nothing,
    Reset(Reason),
}

impl Connection {
    /// What there is to read.
    pub fn unread(&mut self, key: Key) -> Unread<'_> {
        let Some(stream) = self.streams.get(key) else { return Unread::Reset(Reason::Cancel) };
        if let Some(cut) = stream.reset {
            return Unread::Reset(cut.reason);
        }
        let data = &stream.data[stream.from..];
        match (data, stream.came) {
            // Who has all of a body that is told to end may let go of its stream, which would be reset: the last byte waits for the
            // end.
            ([data @ .., _], false) if stream.length_left == Some(0) => match data {
                [] => Unread::Nothing,
                data => Unread::Data(data),
            },
            ([], false) => Unread::Nothing,
            ([], true) => Unread::End(&stream.trailers),
            (data, _) => Unread::Data(data),
        }
    }

    /// So much of it was read: the client may send as much again.
    pub fn read(&mut self, key: Key, count: usize) {
        if let Some(stream) = self.streams.get(key) {
            stream.from += count;
            if stream.from == stream.data.len() {
                stream.data.clear();
                stream.data.shrink_to(KEPT_BYTES_MAX);
                stream.from = 0;
            } else if stream.from > stream.data.len() / 2 {
                stream.data.drain(..stream.from);
                stream.from = 0;
            }
            self.give_back(key, count);
        }
    }

    /// Wakes the task when there is something to read, or the stream ended.
    pub fn wait(&mut self, key: Key, waker: &Waker) {
        if let Some(stream) = self.streams.get(key)
            && !stream.waker.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            stream.waker = Some(waker.clone());
        }
    }

    /// Whether the stream ended before its time.
    pub fn is_reset(&mut self, key: Key) -> bool {
        self.streams.get(key).is_none_or(|stream| stream.reset.is_some())
    }

    /// Whoever served the stream does so no more. What the client takes for the whole must have been; what it has not sent yet is
    /// not wanted (RFC 9113 §8.1).
    pub fn release(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        if stream.is_open() {
            let reason = if stream.went { Reason::NoError } else { Reason::Cancel };
            self.reset(key, reason);
        }
        self.drop_data(key);
        self.streams.remove(key);
        if self.is_over() {
            self.stir();
        }
    }

    /// Ends a stream before its time.
    pub fn reset(&mut self, key: Key, reason: Reason) {
        let cut = Cut { by_client: false, reason };
        let was_open = self.streams.change(key, |stream| {
            let was_open = stream.is_open();
            if was_open {
                stream.reset = Some(cut);
                stream.wake();
            }
            was_open
        });
        if was_open == Some(true) && self.ending != Ending::Over {
            self.out.reset(key.id(), reason);
            self.drop_data(key);
            self.stir();
        }
    }

    /// What nobody will read makes room for others.
    pub(super) fn drop_data(&mut self, key: Key) {
        if let Some(stream) = self.streams.get(key) {
            let unread = stream.unread().len();
            (stream.from, stream.data, stream.trailers) = (0, Vec::new(), Vec::new());
            self.give_back_of_connection(unread);
        }
    }

    pub(super) fn give_back(&mut self, key: Key, count: usize) {
        let window = self.limits.stream_window_bytes as usize;
        if let Some(stream) = self.streams.get(key) {
            stream.unreturned += count;
            if stream.unreturned >= window / 2 && !stream.came && stream.reset.is_none() {
                let bytes = mem::take(&mut stream.unreturned);
                stream.receive_window += bytes as i64;
                self.out.window_update(key.id(), bytes);
                self.stir();
            }
        }
        self.give_back_of_connection(count);
    }

    pub(super) fn give_back_of_connection(&mut self, count: usize) {
        self.unreturned += count;
        // What some streams leave unread must not keep from others what is left.
        let left = usize::try_from(self.receive_window).unwrap_or(0);
        let enough = left.min(self.limits.connection_window_bytes as usize / 2);
        if count > 0 && self.unreturned >= enough && self.ending != Ending::Over {
            let bytes = mem::take(&mut self.unreturned);
            self.receive_window += bytes as i64;
            self.out.window_update(0, bytes);
            self.stir();
        }
    }
}
