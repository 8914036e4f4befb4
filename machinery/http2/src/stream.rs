//! One stream, and all that are served.

use crate::closed::{Closed, How};
use crate::reason::Reason;
use std::mem;
use std::task::Waker;

/// A stream, as who serves it holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    slot: u32,
    id: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// 0: nobody's.
    pub id: u32,
    /// What came and was not read,
    pub data: Vec<u8>,
    /// from here on.
    pub from: usize,
    /// The lines behind it.
    pub trailers: Vec<u8>,
    /// What the client may still send.
    pub receive_window: i64,
    /// What was read, and the client was not told.
    pub unreturned: usize,
    /// Of the body, if its length was told.
    pub length_left: Option<u64>,
    /// The client has sent all.
    pub came: bool,
    /// What we may send.
    pub send_window: i64,
    /// We have sent all.
    pub went: bool,
    /// It ended before its time.
    pub reset: Option<Cut>,
    pub waits_for_room: bool,
    /// What it has sent in the round that it sent last in.
    pub taken: usize,
    pub round: u64,
    pub waker: Option<Waker>,
}

/// Who ended a stream before its time, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub by_client: bool,
    pub reason: Reason,
}

/// Those that somebody serves. What ended is among them until it is let go of.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Stream>,
    vacant: Vec<u32>,
    /// Identifier and slot, in order.
    order: Vec<(u32, u32)>,
    /// That have not ended.
    open: usize,
    pub closed: Closed,
}

impl Key {
    pub(crate) fn id(self) -> u32 {
        self.id
    }
}

impl Stream {
    pub fn is_open(&self) -> bool {
        self.reset.is_none() && !(self.came && self.went)
    }

    pub fn unread(&self) -> &[u8] {
        &self.data[self.from..]
    }

    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Streams {
    /// Identifiers ascend.
    pub fn insert(&mut self, id: u32, receive_window: i64, send_window: i64) -> Key {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Stream::default());
            self.slots.len() as u32 - 1
        });
        let stream = &mut self.slots[slot as usize];
        // Its buffer stays.
        let mut data = mem::take(&mut stream.data);
        data.clear();
        *stream = Stream { id, data, receive_window, send_window, ..Stream::default() };
        self.order.push((id, slot));
        self.open += 1;
        Key { slot, id }
    }

    /// It is served no more.
    pub fn remove(&mut self, key: Key) {
        if let Ok(at) = self.order.binary_search_by_key(&key.id, |(id, _)| *id) {
            self.order.remove(at);
            let stream = &mut self.slots[key.slot as usize];
            let by_client = stream.reset.is_none_or(|cut| cut.by_client);
            self.closed.put(key.id, if by_client { How::ByClient } else { How::ByUs });
            (stream.id, stream.waker, stream.trailers) = (0, None, Vec::new());
            self.vacant.push(key.slot);
        }
        if self.order.is_empty() {
            // Who idles owns nothing.
            (self.slots, self.vacant, self.order) = Default::default();
        }
    }

    pub fn get(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot as usize).filter(|stream| stream.id == key.id)
    }

    pub fn find(&self, id: u32) -> Option<Key> {
        let at = self.order.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(Key { slot: self.order[at].1, id })
    }

    /// Changes a stream, and counts whether it ended with that.
    pub fn change<T>(&mut self, key: Key, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let stream = self.get(key)?;
        let was_open = stream.is_open();
        let changed = change(stream);
        if was_open && !stream.is_open() {
            self.open -= 1;
        }
        Some(changed)
    }

    pub fn each(&mut self, visit: impl FnMut(&mut Stream)) {
        self.each_behind(0, visit);
    }

    /// Each, and first those whose identifiers are behind this one.
    pub fn each_behind(&mut self, id: u32, mut visit: impl FnMut(&mut Stream)) {
        let (before, behind) = self.order.split_at(self.order.partition_point(|(other, _)| *other <= id));
        for (_, slot) in behind.iter().chain(before) {
            visit(&mut self.slots[*slot as usize]);
        }
    }

    pub fn open(&self) -> usize {
        self.open
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
