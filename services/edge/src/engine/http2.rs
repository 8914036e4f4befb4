//! HTTP/2, to clients and to servers. The house's language is HTTP/1: a stream of HTTP/2 is a [`Line`](super::line::Line)
//! that carries one request, so whatever the engine does with a connection (routes, middlewares, failover, drain, limits,
//! counts) it does with a stream. What differs is translated here, at the door, without a copy of the conversation in
//! between: a read is served from frames that came, a write becomes frames.
//!
//! ```text
//! socket ── front ── http2 ── from_client ── engine ── to_server ── stream ── h2 ── wire ── socket
//!           (frames, windows, heads:      (inbound, outbound: bodies;        links: who is on
//!            machinery/http2)              heads: http2heads)                which connection)
//! ```
//!
//! One task per connection moves its frames; one per client's stream serves it, on the same thread. Memory is bounded by
//! the windows that are offered (`H2_CONNECTION_WINDOW_BYTES`) one way, and by what the socket has not taken
//! (`H2_UNSENT_BYTES_MAX` for all streams of a connection) the other way: a window opens as fast as the other side takes
//! what came through it.
//!
//! # What peers do, and what becomes of it
//! | | |
//! |---|---|
//! | a client resets its stream | it has left: as if it had closed its connection; counted as 499 |
//! | a response ends before its request | the stream is reset with NO_ERROR; the connection stays |
//! | a response breaks off | the stream is reset with INTERNAL_ERROR |
//! | a malformed request (RFC 9113 §8.1.1) | its stream is reset with PROTOCOL_ERROR |
//! | more streams than were offered | REFUSED_STREAM |
//! | pings, settings, resets, empty data without end | GOAWAY with ENHANCE_YOUR_CALM |
//! | headers larger than offered | 431; GOAWAY if they do not end |
//! | a client idles for `ClientTimes::head` | GOAWAY with NO_ERROR |
//! | the edge quiesces, or leaves the address | GOAWAY with NO_ERROR; streams end as requests do |
//! | a server resets a stream with REFUSED_STREAM, or goes away before it | it did nothing: any request is sent again |
//! | a server resets a stream otherwise | 502; the server is not passed over for it |
//! | a server's streams are all taken | waited for as for a new connection; then 503 |
//!
//! `Upgrade: h2c` is not offered: a tunnel in a connection would carry requests past the routes.

mod fault;
mod from_client;
mod front;
mod inbound;
mod links;
mod outbound;
mod piece;
mod to_server;
mod wire;

pub(super) use ::http2::PREFACE;
pub(super) use fault::Reset;
pub(super) use front::serve;
pub(super) use links::{Links, alone, connect};

use super::handshake::Agreed;
use ::http2::Head;
use from_client::FromClient;
use piece::Spare;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use to_server::ToServer;

/// What the streams of one thread share.
#[derive(Default)]
pub(super) struct Http2 {
    pub links: RefCell<Links>,
    spare: Rc<Spare>,
    /// Heads of requests are written here, and looked at before anybody else runs.
    head: RefCell<Head>,
    /// Of clients.
    streams: Cell<usize>,
}

/// A stream as a connection of HTTP/1.
pub(super) enum Stream {
    FromClient(FromClient),
    ToServer(ToServer),
}

/// Whether this may be how a connection of HTTP/2 begins: its preface, or a part of it.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let length = bytes.len().min(PREFACE.len());
    bytes[..length] == PREFACE[..length]
}

impl Stream {
    /// Of a client, over TLS: what was agreed on.
    pub fn tls(&self) -> Option<&Agreed> {
        match self {
            Self::FromClient(stream) => stream.tls.as_ref(),
            Self::ToServer(_) => None,
        }
    }

    /// Reads; 0 at the end.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::FromClient(stream) => stream.poll_read(context, buffer),
            Self::ToServer(stream) => stream.poll_read(context, buffer),
        }
    }

    /// Ready at the end. What there is to read is never a next request.
    pub fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::FromClient(stream) => match stream.poll_left(context) {
                true => Poll::Ready(Ok(0)),
                false => Poll::Pending,
            },
            Self::ToServer(_) => Poll::Pending,
        }
    }

    /// Writes what is taken at once, maybe nothing.
    pub fn try_write(&mut self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        let mut write = |bytes: &[u8]| match self {
            Self::FromClient(stream) => stream.try_write(bytes),
            Self::ToServer(stream) => stream.try_write(bytes),
        };
        let taken = write(head)?;
        if taken < head.len() { Ok(taken) } else { Ok(taken + write(body)?) }
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::FromClient(stream) => stream.poll_write(context, bytes),
            Self::ToServer(stream) => stream.poll_write(context, bytes),
        }
    }

    /// Ends this direction.
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Self::FromClient(stream) => stream.end(),
            Self::ToServer(stream) => stream.end(),
        }
    }

    /// The peer must not take what it got for the whole.
    pub fn reset(&mut self) {
        if let Self::FromClient(stream) = self {
            stream.reset();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromClient(_) => "a client's stream",
            Self::ToServer(_) => "a stream to a server",
        })
    }
}
