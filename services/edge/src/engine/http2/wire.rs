//! What a connection of HTTP/2 to a server is driven over. Frames that are written in one turn of its task, of whichever streams, are
//! gathered and go out together: one system call, and one record of TLS.

use super::super::line::Line;
use super::piece::Spare;
use crate::limits::H2_WIRE_BYTES;
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Shared by a connection and its task.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<State>>);

struct State {
    line: Line,
    unsent: Vec<u8>,
    from: usize,
    spare: Rc<Spare>,
    has_heard: bool,
}

impl Wire {
    pub fn new(line: Line, spare: Rc<Spare>) -> Self {
        Self(Rc::new(RefCell::new(State { line, unsent: Vec::new(), from: 0, spare, has_heard: false })))
    }

    /// Sends what was gathered.
    pub fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(context)
    }

    /// Whether the peer has said anything.
    pub fn has_heard(&self) -> bool {
        self.0.borrow().has_heard
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
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let State { line, has_heard, spare, .. } = &mut *self.0.borrow_mut();
        let before = buffer.filled().len();
        ready!(spare.read_into(buffer, |room| line.poll_read(context, room)))?;
        *has_heard |= buffer.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_room(context))?;
        state.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        ready!(state.poll_room(context))?;
        parts.iter().for_each(|part| state.unsent.extend_from_slice(part));
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
