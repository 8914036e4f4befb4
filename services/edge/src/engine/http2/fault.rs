//! How a stream of HTTP/2 failed, for those who know sockets only.

use h2::Reason;
use std::io::{self, ErrorKind};

/// A stream ended before its message did, though its connection lives.
#[derive(Debug, thiserror::Error)]
#[error("the stream of HTTP/2 was reset")]
pub(in super::super) struct Reset {
    /// The peer says that it did nothing of the request (RFC 9113 §8.7).
    pub is_unprocessed: bool,
    source: h2::Error,
}

impl Reset {
    /// What is behind an error, if it is this.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// An error of the connection is that of its socket; others are a [`Reset`].
pub(super) fn fault(error: h2::Error) -> io::Error {
    if error.is_io()
        && let Some(io) = error.get_io()
    {
        return io::Error::new(io.kind(), error);
    }
    let is_refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    // Streams that the peer's last one comes before, and those begun after it said so, are the only ones to see its GOAWAY.
    let is_unprocessed = is_refused || error.is_go_away() && error.is_remote();
    io::Error::new(ErrorKind::ConnectionReset, Reset { is_unprocessed, source: error })
}
