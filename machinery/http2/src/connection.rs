//! A client's connection: what its frames do, and what its streams are told.

mod blocks;
mod data;
mod reading;
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

pub use reading::Unread;
pub use send::{Responded, SendError};

/// RFC 9113 §6.9.2: before anybody says otherwise.
const WINDOW_BYTES: i64 = 65_535;
/// A ping by which it is known that the client has heard of the end.
const LAST_PING: [u8; 8] = *b"the last";

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
