//! What a peer has not taken yet: the only bytes that are copied on their way.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// What is copied rather than sent as a piece of its own.
const SMALL_BYTES_MAX: usize = 2048;

#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    from: usize,
}

impl Unsent {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn bytes_left(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// Sends a head and a part of a body. A small part is put behind the head: two pieces cost a system call more than
    /// copying it does.
    pub fn send_all(&mut self, stream: &TcpStream, head: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
        if body.len() > SMALL_BYTES_MAX {
            return self.send(stream, head, body);
        }
        head.extend_from_slice(body);
        self.send(stream, head, &[])
    }

    /// Sends, and keeps what the peer does not take at once.
    pub fn send(&mut self, stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
        let taken = if self.is_empty() { try_write(stream, head, body)? } else { 0 };
        if taken < head.len() {
            self.bytes.extend_from_slice(&head[taken..]);
        }
        if taken < head.len() + body.len() {
            self.bytes.extend_from_slice(&body[taken.saturating_sub(head.len())..]);
        }
        Ok(())
    }

    /// Ready when all of it was taken.
    pub fn poll_flush(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.from < self.bytes.len() {
            let taken = ready!(Pin::new(&mut *stream).poll_write(context, &self.bytes[self.from..]))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.from += taken;
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

fn try_write(stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<usize> {
    let written = match (head, body) {
        ([], []) => return Ok(0),
        (one, []) | ([], one) => stream.try_write(one),
        (head, body) => stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
    };
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
