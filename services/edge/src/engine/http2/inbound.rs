//! A server's body that comes in frames of HTTP/2, read as the bytes that HTTP/1 has for it. What was read is given back to the
//! peer's window, so it sends as fast as it is listened to; what was not lies in frames, bounded by the windows.

use super::fault::fault;
use bytes::{Buf, Bytes};
use h2::RecvStream;
use http1::{Coded, Coding};
use http2heads::put_trailers;
use std::task::{Context, Poll};
use std::{io, mem};

pub(super) struct Inbound {
    stream: RecvStream,
    coding: Coding,
    /// Of a frame that came, what was not read.
    frame: Bytes,
    /// Data that is still to come, if the head told how much.
    left: Option<u64>,
    /// The last data, while the stream has not ended: whoever has it all lets go of the stream, which would be reset.
    held: Bytes,
    /// What comes behind all data.
    end: Option<Bytes>,
}

impl Inbound {
    /// `left` is what its head told of its length.
    pub fn new(stream: RecvStream, coding: Coding, left: Option<u64>) -> Self {
        Self { stream, coding, frame: Bytes::new(), left, held: Bytes::new(), end: None }
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
                        put_trailers(&mut end, trailers.as_ref());
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
        let Coded { taken, written } = self.coding.put(&self.frame, room);
        if taken == 0 {
            return 0;
        }
        self.frame.advance(taken);
        // More than came is never given back.
        let _given = self.stream.flow_control().release_capacity(taken);
        written
    }
}
