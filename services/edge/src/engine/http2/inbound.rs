//! A body that comes in frames of HTTP/2, read as the bytes that HTTP/1 has for it. What was read is given back to the
//! peer's window, so it sends as fast as it is listened to; what was not lies in frames, bounded by the windows.

use super::fault::fault;
use bytes::{Buf, Bytes};
use h2::RecvStream;
use http1::ChunkHead;
use http2heads::{Coding, put_trailers};
use std::task::{Context, Poll};
use std::{io, mem};

pub(super) struct Inbound {
    stream: RecvStream,
    coding: Coding,
    /// Of a server: trailers that are none are left out.
    is_answer: bool,
    /// Of a frame that came, what was not read.
    frame: Bytes,
    /// Data that is still to come, if the head told how much.
    left: Option<u64>,
    /// The last data, while the stream has not ended: whoever has it all lets go of the stream, which would be reset.
    held: Bytes,
    /// What comes behind all data.
    end: Option<Bytes>,
}

/// What a chunk has beside its data, and more.
const CHUNK_FRAMING_BYTES: usize = 32;

impl Inbound {
    /// Of a client.
    pub fn request(stream: RecvStream, coding: Coding) -> Self {
        Self { stream, coding, is_answer: false, frame: Bytes::new(), left: None, held: Bytes::new(), end: None }
    }

    /// Of a server; `length` is what its head told.
    pub fn answer(stream: RecvStream, coding: Coding, length: Option<u64>) -> Self {
        Self { is_answer: true, left: length, ..Self::request(stream, coding) }
    }

    /// Nothing but data follows.
    pub fn becomes_tunnel(&mut self) {
        self.coding = Coding::Plain;
    }

    /// Reads into `room`, which is larger than a chunk's framing; 0 at the end.
    pub fn poll_read(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        loop {
            filled += self.take(&mut room[filled..]);
            if !self.frame.is_empty() {
                return Poll::Ready(Ok(filled));
            }
            if let Some(end) = &mut self.end {
                let taken = end.len().min(room.len() - filled);
                end.copy_to_slice(&mut room[filled..filled + taken]);
                return Poll::Ready(Ok(filled + taken));
            }
            match self.poll_frame(context) {
                Poll::Ready(Ok(())) => {}
                // It fails the next time as well.
                _ if filled > 0 => return Poll::Ready(Ok(filled)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next frame of data, or the end.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.poll_data(context) {
            Poll::Ready(Some(Ok(frame))) if frame.is_empty() => {}
            Poll::Ready(Some(Ok(frame))) => {
                self.left = self.left.map(|left| left.saturating_sub(frame.len() as u64));
                let is_held = self.left == Some(0) && !self.stream.is_end_stream();
                *(if is_held { &mut self.held } else { &mut self.frame }) = frame;
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(fault(error))),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => match self.stream.poll_trailers(context) {
                Poll::Ready(Ok(trailers)) => {
                    let mut end = Vec::new();
                    if self.coding == Coding::Chunked {
                        put_trailers(&mut end, trailers.as_ref(), self.is_answer);
                    }
                    self.end = Some(end.into());
                    self.frame = mem::take(&mut self.held);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(fault(error))),
                Poll::Pending => return Poll::Pending,
            },
        }
        Poll::Ready(Ok(()))
    }

    /// Takes from the frame what there is room for.
    fn take(&mut self, room: &mut [u8]) -> usize {
        let framing = if self.coding == Coding::Chunked { CHUNK_FRAMING_BYTES } else { 0 };
        let taken = self.frame.len().min(room.len().saturating_sub(framing));
        if taken == 0 {
            return 0;
        }
        let written = match self.coding {
            Coding::Plain => {
                room[..taken].copy_from_slice(&self.frame[..taken]);
                taken
            }
            Coding::Chunked => put_chunk(room, &self.frame[..taken]),
        };
        self.frame.advance(taken);
        // More than came is never given back.
        let _given = self.stream.flow_control().release_capacity(taken);
        written
    }
}

/// `room` has some for the framing, too.
fn put_chunk(room: &mut [u8], data: &[u8]) -> usize {
    let head = ChunkHead::new(data.len());
    let mut at = 0;
    for part in [head.as_bytes(), data, b"\r\n"] {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_chunk_head_fits() {
        assert!(ChunkHead::new(usize::MAX).as_bytes().len() + 2 <= CHUNK_FRAMING_BYTES);
        let mut room = [0; 64];
        let count = put_chunk(&mut room, b"hello");
        assert_eq!(&room[..count], b"5\r\nhello\r\n");
    }
}
