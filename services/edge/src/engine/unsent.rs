//! What a peer has not taken yet: the only bytes that are copied on their way.

use super::line::Line;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    from: u32,
    /// How many there are before them, which the line took and the peer did not. (There are never 4 GiB of either.)
    in_line: u32,
}

impl Unsent {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.in_line == 0
    }

    pub fn bytes_left(&self) -> usize {
        self.bytes.len() - self.from as usize + self.in_line as usize
    }

    /// Sends a head and a part of a body. A small part is put behind the head: two pieces cost more than copying it does.
    pub fn send_all(&mut self, line: &mut Line, head: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
        if body.len() > line.copied_bytes_max() {
            return self.send(line, head, body);
        }
        head.extend_from_slice(body);
        self.send(line, head, &[])
    }

    /// The same, when the connection ends with it.
    pub fn send_last(&mut self, line: &mut Line, head: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
        if body.len() > line.copied_bytes_max() || !self.bytes.is_empty() {
            return self.send_all(line, head, body);
        }
        head.extend_from_slice(body);
        let taken = line.try_write_last(head)?;
        self.send(line, &head[taken..], &[])
    }

    /// Sends, and keeps what the peer does not take at once.
    pub fn send(&mut self, line: &mut Line, head: &[u8], body: &[u8]) -> io::Result<()> {
        let taken = if self.bytes.is_empty() { line.try_write(head, body)? } else { 0 };
        self.in_line = line.pending_bytes() as u32;
        if taken < head.len() {
            self.bytes.extend_from_slice(&head[taken..]);
        }
        if taken < head.len() + body.len() {
            self.bytes.extend_from_slice(&body[taken.saturating_sub(head.len())..]);
        }
        Ok(())
    }

    /// Ready when all of it was taken.
    pub fn poll_flush(&mut self, line: &mut Line, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while (self.from as usize) < self.bytes.len() {
            let taken = line.poll_write(context, &self.bytes[self.from as usize..]);
            self.in_line = line.pending_bytes() as u32;
            let taken = ready!(taken)?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.from += taken as u32;
        }
        let flushed = line.poll_flush(context);
        self.in_line = line.pending_bytes() as u32;
        ready!(flushed)?;
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}
