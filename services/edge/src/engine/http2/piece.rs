//! Data that waits to be sent, in buffers that a thread uses again and again.

use crate::limits::{H2_PIECE_BYTES, H2_SPARE_BYTES_MAX, H2_SPARE_PIECES_MAX, H2_UNSENT_BYTES_MAX};
use bytes::Buf;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::{io, mem};
use tokio::io::ReadBuf;

/// Buffers of a thread.
#[derive(Debug)]
pub(super) struct Spare {
    empty: RefCell<Vec<Vec<u8>>>,
    /// What is read goes through here: a buffer that is new each time would have to be zeroed each time.
    scratch: RefCell<Box<[u8]>>,
}

impl Default for Spare {
    fn default() -> Self {
        Self { empty: RefCell::default(), scratch: RefCell::new(vec![0; H2_PIECE_BYTES].into_boxed_slice()) }
    }
}

impl Spare {
    pub fn take(&self) -> Vec<u8> {
        self.empty.borrow_mut().pop().unwrap_or_default()
    }

    /// Reads into `room`.
    pub fn read_into(
        &self,
        room: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let scratch = &mut *self.scratch.borrow_mut();
        let bytes_max = scratch.len().min(room.remaining());
        let count = ready!(read(&mut scratch[..bytes_max]))?;
        room.put_slice(&scratch[..count]);
        Poll::Ready(Ok(()))
    }

    pub fn give_back(&self, mut bytes: Vec<u8>) {
        let spare = &mut *self.empty.borrow_mut();
        if (1..=H2_SPARE_BYTES_MAX).contains(&bytes.capacity()) && spare.len() < H2_SPARE_PIECES_MAX {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

/// What all streams of a connection have handed over and the socket has not taken. The peer's windows do not bound it: a
/// peer may open them wide, and read nothing.
#[derive(Debug, Default)]
pub(super) struct Sending {
    spare: Rc<Spare>,
    unsent_bytes: Cell<usize>,
    /// By the number of the stream.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    streams: Cell<u64>,
}

/// A stream's place among those that wait for room: it waits no longer than it lives.
#[derive(Debug)]
pub(super) struct Waiting {
    of: Rc<Sending>,
    stream: u64,
}

impl Sending {
    pub fn new(spare: Rc<Spare>) -> Rc<Self> {
        Rc::new(Self { spare, ..Self::default() })
    }

    /// How much more it takes.
    pub fn room(&self) -> usize {
        H2_UNSENT_BYTES_MAX.saturating_sub(self.unsent_bytes.get())
    }

    pub fn waiting(self: &Rc<Self>) -> Waiting {
        let stream = self.streams.get() + 1;
        self.streams.set(stream);
        Waiting { of: self.clone(), stream }
    }

    pub fn piece(self: &Rc<Self>) -> Piece {
        Piece { bytes: self.spare.take(), from: 0, counted: 0, sending: self.clone() }
    }

    fn sent(&self, count: usize) {
        let before = self.unsent_bytes.get();
        self.unsent_bytes.set(before - count);
        if before >= H2_UNSENT_BYTES_MAX / 2 && before - count < H2_UNSENT_BYTES_MAX / 2 {
            mem::take(&mut *self.waiting.borrow_mut()).into_values().for_each(Waker::wake);
        }
    }
}

impl Waiting {
    /// Wakes the task, which is the stream's last one to wait, once there is room again; maybe in vain.
    pub fn wait(&self, context: &Context<'_>) {
        let waiting = &mut *self.of.waiting.borrow_mut();
        waiting.entry(self.stream).or_insert_with(|| context.waker().clone()).clone_from(context.waker());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _waker = self.of.waiting.borrow_mut().remove(&self.stream);
    }
}

/// A part of a body, at most one frame.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    from: usize,
    counted: usize,
    sending: Rc<Sending>,
}

impl Piece {
    /// How much more it holds.
    pub fn room(&self) -> usize {
        H2_PIECE_BYTES - self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// At most [`Piece::room`].
    pub fn extend(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.counted += data.len();
        self.sending.unsent_bytes.set(self.sending.unsent_bytes.get() + data.len());
    }

    fn sent(&mut self, count: usize) {
        self.counted -= count;
        self.sending.sent(count);
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.from
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn advance(&mut self, count: usize) {
        self.from += count;
        self.sent(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.sent(self.counted);
        self.sending.spare.give_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn what_is_sent_or_dropped_makes_room_and_its_buffer_is_used_again() {
        let spare = Rc::new(Spare::default());
        let sending = Sending::new(spare.clone());
        let mut piece = sending.piece();
        piece.extend(&[1; 100]);
        assert_eq!((sending.room(), piece.room()), (H2_UNSENT_BYTES_MAX - 100, H2_PIECE_BYTES - 100));
        piece.advance(40);
        assert_eq!((piece.remaining(), sending.room()), (60, H2_UNSENT_BYTES_MAX - 60));
        drop(piece);
        assert_eq!(sending.room(), H2_UNSENT_BYTES_MAX);
        assert_eq!(spare.empty.borrow().len(), 1);
        assert!(sending.piece().bytes.capacity() >= 100);
        assert!(spare.empty.borrow().is_empty() || sending.piece().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken_once_half_of_it_is_free() {
        let sending = Sending::new(Rc::default());
        let mut pieces: Vec<Piece> = std::iter::from_fn(|| {
            let mut piece = sending.piece();
            let count = sending.room().min(H2_PIECE_BYTES);
            piece.extend(&vec![0; count]);
            (count > 0).then_some(piece)
        })
        .collect();
        assert_eq!(sending.room(), 0);
        let (waiting, mut polls) = (sending.waiting(), 0);
        poll_fn(|context| {
            polls += 1;
            if sending.room() > 0 {
                return Poll::Ready(());
            }
            waiting.wait(context);
            waiting.wait(context);
            pieces.truncate(pieces.len() / 2 - 1);
            Poll::Pending
        })
        .await;
        assert_eq!(polls, 2);
    }

    #[test]
    fn a_stream_that_has_ended_waits_for_room_no_more() {
        let sending = Sending::new(Rc::default());
        let context = Context::from_waker(Waker::noop());
        let (stays, ends) = (sending.waiting(), sending.waiting());
        stays.wait(&context);
        for _ in 0..2 {
            ends.wait(&context);
        }
        assert_eq!(sending.waiting.borrow().len(), 2);
        drop(ends);
        assert_eq!(sending.waiting.borrow().keys().copied().collect::<Vec<_>>(), [stays.stream]);
    }
}
