//! What a connection of HTTP/2 is driven over. Frames that are written in one turn of its task, of whichever streams, are
//! gathered and go out together: one system call, and one record of TLS.

use super::super::line::Line;
use super::flood::Flood;
use super::piece::Spare;
use crate::limits::{H2_WIRE_BYTES, LINGER_BYTES_MAX};
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Shared by a connection and its task.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<State>>);

struct State {
    line: Line,
    /// What was read before it was known to be HTTP/2.
    early: Bytes,
    unsent: Vec<u8>,
    from: usize,
    spare: Rc<Spare>,
    /// Of a client.
    flood: Option<Flood>,
    /// The peer took something since that was last asked.
    has_moved: bool,
    has_heard: bool,
}

impl Wire {
    pub fn to_client(line: Line, early: Bytes, spare: Rc<Spare>) -> Self {
        Self::new(line, early, spare, Some(Flood::new(Instant::now())))
    }

    pub fn to_server(line: Line, spare: Rc<Spare>) -> Self {
        Self::new(line, Bytes::new(), spare, None)
    }

    fn new(line: Line, early: Bytes, spare: Rc<Spare>, flood: Option<Flood>) -> Self {
        let (unsent, from, has_moved, has_heard) = (Vec::new(), 0, false, false);
        Self(Rc::new(RefCell::new(State { line, early, unsent, from, spare, flood, has_moved, has_heard })))
    }

    /// Sends what was gathered.
    pub fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(context)
    }

    /// Whether the peer took something since this was last asked.
    pub fn has_moved(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().has_moved)
    }

    /// Whether the client sends too much of what is of no use.
    pub fn is_flooded(&self) -> bool {
        self.0.borrow_mut().flood.as_mut().is_some_and(|flood| flood.is_over(Instant::now))
    }

    /// Whether the peer has said anything.
    pub fn has_heard(&self) -> bool {
        self.0.borrow().has_heard
    }

    /// Lets the peer read what it was told last: what it still sends is thrown away.
    pub async fn linger(&self) {
        let ended = poll_fn(|context| self.0.borrow_mut().line.poll_shutdown(context));
        let mut left = if ended.await.is_ok() { LINGER_BYTES_MAX } else { 0 };
        while left > 0 {
            match poll_fn(|context| self.0.borrow_mut().line.poll_discard(context)).await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }

    /// Before it is dropped.
    pub fn close(&self) {
        self.0.borrow_mut().line.close();
    }
}

impl State {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.from < self.unsent.len() {
            let taken = ready!(self.line.poll_write(context, &self.unsent[self.from..]))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.from += taken;
            self.has_moved = true;
        }
        self.from = 0;
        self.spare.give_back(std::mem::take(&mut self.unsent));
        self.line.poll_flush(context)
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.from
    }

    /// Makes room for a frame.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent_bytes() >= H2_WIRE_BYTES {
            match self.poll_send(context)? {
                Poll::Pending if self.unsent_bytes() >= H2_WIRE_BYTES => return Poll::Pending,
                _ => {}
            }
        }
        if self.unsent.capacity() == 0 {
            self.unsent = self.spare.take();
        }
        if self.from > H2_WIRE_BYTES {
            self.unsent.drain(..self.from);
            self.from = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        if let Some(flood) = &mut self.flood {
            flood.went(bytes);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let State { line, early, flood, has_heard, spare, .. } = &mut *self.0.borrow_mut();
        let before = buffer.filled().len();
        if early.is_empty() {
            ready!(spare.read_into(buffer, |room| line.poll_read(context, room)))?;
        } else {
            let count = early.len().min(buffer.remaining());
            buffer.put_slice(&early[..count]);
            early.advance(count);
        }
        *has_heard |= buffer.filled().len() > before;
        if let Some(flood) = flood {
            flood.came(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_room(context))?;
        state.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_room(context))?;
        parts.iter().for_each(|part| state.put(part));
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The task does it at the end of its turn: a connection flushes for each large frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_send(context))?;
        state.line.poll_shutdown(context)
    }
}
