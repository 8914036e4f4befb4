//! A client's connection: what its frames do, and what its streams are told.

mod blocks;
mod data;
mod receive;
mod send;
mod settings;

use crate::calm::Calm;
use crate::closed::How;
use crate::frame::{MASK_31, PAYLOAD_BYTES_MAX, kind};
use crate::hpack::Decoder;
use crate::out::Out;
use crate::reason::{Fault, Malformed, Reason};
use crate::stream::{Cut, Key, Streams};
use blocks::Block;
use http1::{Asked, Coding};
use receive::Input;
use std::mem;
use std::task::Waker;
use std::time::Instant;

pub use send::{Responded, SendError};

/// RFC 9113 §6.9.2: before anybody says otherwise.
const WINDOW_BYTES: i64 = 65_535;
/// A ping by which it is known that the client has heard of the end.
const LAST_PING: [u8; 8] = *b"the last";
/// A stream's buffer that is larger is not kept once it is empty.
const KEPT_BYTES_MAX: usize = 32 * 1024;

/// What is offered to a client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub streams_max: usize,
    /// SETTINGS_INITIAL_WINDOW_SIZE: of one body.
    pub stream_window_bytes: u32,
    /// Of all bodies.
    pub connection_window_bytes: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE.
    pub head_bytes_max: usize,
    /// Data that waits for the socket.
    pub unsent_bytes_max: usize,
    /// A stream's share of it.
    pub stream_unsent_bytes_max: usize,
    /// Drawn for a websocket, which HTTP/2 needs none for.
    pub websocket_key: fn() -> String,
}

#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    input: Input,
    /// Of a head that goes on in the next frame.
    block: Option<Block>,
    decoder: Decoder,
    streams: Streams,
    /// The highest identifier that the client has used.
    last_id: u32,
    /// Data that the client may still send, of all streams.
    receive_window: i64,
    /// What was read, and the client was not told.
    unreturned: usize,
    /// Data that we may send.
    send_window: i64,
    peer: Peer,
    out: Out,
    /// The client was told that no table is used for what it is sent.
    said_no_table: bool,
    calm: Calm,
    ending: Ending,
    /// Streams wait until more can be sent.
    someone_waits: bool,
    /// Begins whenever there is room: each stream has its share of every round.
    round: u64,
    /// Who was woken first for the last.
    first_woken: u32,
    /// Something is to be sent, and the task was woken for it.
    is_stirred: bool,
    waker: Option<Waker>,
}

/// What the client has set.
#[derive(Debug)]
struct Peer {
    /// Its first settings came.
    has_settled: bool,
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    window: i64,
    /// The longest frame it is sent.
    payload_bytes_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// The client was told, and what it has under way is served.
    Announced,
    /// What came behind this stream is not.
    After(u32),
    /// The client said that it begins no more.
    ByClient,
    /// Nothing is heard any more.
    Over,
}

/// What came of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream began; whoever serves it lets go of it with [`Connection::release`].
    Request(Request),
    /// One that began was reset.
    Malformed(Malformed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub key: Key,
    pub coding: Coding,
    pub asked: Asked,
    /// Its head is larger than was offered, and was not kept.
    pub is_too_large: bool,
}

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
    /// Settings go to the client first (RFC 9113 §3.4).
    pub fn new(limits: Limits, now: Instant) -> Self {
        let mut connection = Self {
            limits,
            input: Input::begin(),
            block: None,
            decoder: Decoder::new(),
            streams: Streams::default(),
            last_id: 0,
            receive_window: i64::from(limits.connection_window_bytes),
            unreturned: 0,
            send_window: WINDOW_BYTES,
            peer: Peer { has_settled: false, window: WINDOW_BYTES, payload_bytes_max: PAYLOAD_BYTES_MAX },
            out: Out::default(),
            said_no_table: false,
            calm: Calm::new(now),
            ending: Ending::No,
            someone_waits: false,
            round: 1,
            first_woken: 0,
            is_stirred: false,
            waker: None,
        };
        connection.put_settings();
        connection
    }

    /// What is to be sent.
    pub fn unsent(&self) -> &[u8] {
        self.out.unsent()
    }

    /// Whether so much is to be sent that nothing should be read until the client has taken some.
    pub fn is_full(&self) -> bool {
        self.out.unsent().len() >= self.limits.unsent_bytes_max
    }

    /// So much of it went.
    pub fn sent(&mut self, count: usize) {
        self.out.sent(count);
        if self.out.unsent().len() < self.limits.unsent_bytes_max / 2 {
            self.begin_round();
        }
    }

    /// Lends a buffer for what is to be sent, if there is none.
    pub fn lend(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        self.out.lend(buffer);
    }

    /// The buffer, once it is empty.
    pub fn take_back(&mut self) -> Option<Vec<u8>> {
        self.out.take_back()
    }

    /// The task that sends is woken for whatever a stream adds.
    pub fn wake_by(&mut self, waker: &Waker) {
        self.is_stirred = false;
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Whether the client sends too much of what is of no use; it was told so.
    pub fn is_flooded(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let is_flooded = self.ending != Ending::Over && self.calm.is_over(now);
        if is_flooded {
            self.fail(Reason::EnhanceYourCalm);
        }
        is_flooded
    }

    /// Tells the client to begin no more; what is under way is served (RFC 9113 §6.8).
    pub fn announce_end(&mut self) {
        if matches!(self.ending, Ending::No | Ending::ByClient) {
            self.out.goaway(MASK_31, Reason::NoError);
            self.out.frame(kind::PING, 0, 0, &LAST_PING);
            self.ending = Ending::Announced;
            self.stir();
        }
    }

    /// Nothing will be heard of the client, and nothing is sent once what there is went out.
    pub fn is_over(&self) -> bool {
        match self.ending {
            Ending::Over => true,
            Ending::After(_) | Ending::ByClient => self.streams.is_empty(),
            Ending::No | Ending::Announced => false,
        }
    }

    /// Nobody is there any more: whoever serves a stream is told.
    pub fn close(&mut self) {
        self.ending = Ending::Over;
        let mut woken = Vec::new();
        self.streams.each(|stream| {
            stream.reset.get_or_insert(Cut { by_client: true, reason: Reason::Cancel });
            woken.extend(stream.waker.take());
        });
        woken.into_iter().for_each(Waker::wake);
    }

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
    fn drop_data(&mut self, key: Key) {
        if let Some(stream) = self.streams.get(key) {
            let unread = stream.unread().len();
            (stream.from, stream.data, stream.trailers) = (0, Vec::new(), Vec::new());
            self.give_back_of_connection(unread);
        }
    }

    fn give_back(&mut self, key: Key, count: usize) {
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

    fn give_back_of_connection(&mut self, count: usize) {
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

    /// Something is to be sent.
    fn stir(&mut self) {
        if !mem::replace(&mut self.is_stirred, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    /// There is room. Those who wait for it are woken in turn, each time another one first: it may be no more than one takes.
    fn begin_round(&mut self) {
        self.round += 1;
        if mem::take(&mut self.someone_waits) {
            let mut first = None;
            self.streams.each_behind(self.first_woken, |stream| {
                if mem::take(&mut stream.waits_for_room) {
                    first.get_or_insert(stream.id);
                    stream.wake();
                }
            });
            self.first_woken = first.unwrap_or(0);
        }
    }

    /// The client is told what it did wrong, and heard no more (RFC 9113 §5.4.1).
    fn fail(&mut self, reason: Reason) {
        self.out.goaway(self.last_id, reason);
        self.close();
        self.stir();
    }

    fn follow(&mut self, fault: Fault) {
        match fault {
            Fault::Connection(reason) => self.fail(reason),
            Fault::Stream(id, reason) => {
                if reason != Reason::RefusedStream {
                    self.calm.was_at_fault();
                }
                if let Some(key) = self.streams.find(id) {
                    return self.reset(key, reason);
                }
                self.streams.closed.put(id, How::ByUs);
                self.out.reset(id, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
