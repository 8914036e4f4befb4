//! A body in the bytes of HTTP/1, sent in frames of HTTP/2: as many at once as the peer's windows, and what its socket takes,
//! have room for.

use super::fault::fault;
use super::piece::{Piece, Sending, Waiting};
use crate::limits::H2_STREAM_UNSENT_BYTES_MAX;
use h2::{Reason, SendStream};
use http1::{Body, Framing};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

pub(super) struct Outbound {
    stream: SendStream<Piece>,
    body: Body,
    /// The lines behind all data, as far as they came.
    trailers: Vec<u8>,
    sending: Rc<Sending>,
    waiting: Waiting,
    is_over: bool,
}

impl Outbound {
    /// `is_over`: the head was all.
    pub fn new(stream: SendStream<Piece>, framing: Framing, sending: Rc<Sending>, is_over: bool) -> Self {
        let waiting = sending.waiting();
        Self { stream, body: Body::new(framing), trailers: Vec::new(), sending, waiting, is_over }
    }

    /// How many of the bytes were taken; maybe none.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut used = 0;
        let mut room = self.room(bytes.len());
        let mut piece = self.sending.piece();
        while used < bytes.len() && !self.body.is_done() {
            let is_trailer = self.body.is_in_trailers();
            let decoded = self.body.decode_at_most(&bytes[used..], room.min(piece.room()));
            let decoded = decoded.map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?;
            if is_trailer {
                self.trailers.extend_from_slice(&bytes[used..used + decoded.consumed]);
            }
            piece.extend(decoded.data);
            room -= decoded.data.len();
            used += decoded.consumed;
            if decoded.consumed == 0 {
                if room == 0 {
                    break;
                }
                let full = std::mem::replace(&mut piece, self.sending.piece());
                self.stream.send_data(full, false).map_err(fault)?;
            }
        }
        self.pass(piece)?;
        if used == bytes.len() && room > 0 && !self.is_over {
            // What is not needed now is of use to other streams.
            self.stream.reserve_capacity(0);
        }
        Ok(used)
    }

    /// Sends the last piece, with the end if this is it.
    fn pass(&mut self, piece: Piece) -> io::Result<()> {
        self.is_over = self.body.is_done();
        match http2heads::trailers(&self.trailers).filter(|_| self.is_over) {
            Some(trailers) => {
                if !piece.is_empty() {
                    self.stream.send_data(piece, false).map_err(fault)?;
                }
                self.stream.send_trailers(trailers).map_err(fault)
            }
            None if piece.is_empty() && !self.is_over => Ok(()),
            None => self.stream.send_data(piece, self.is_over).map_err(fault),
        }
    }

    /// How much data the peer takes now.
    fn room(&mut self, wanted: usize) -> usize {
        let room = self.sending.room();
        if room == 0 {
            return 0;
        }
        self.stream.reserve_capacity(wanted.min(H2_STREAM_UNSENT_BYTES_MAX));
        self.stream.capacity().min(room)
    }

    /// Ready with how many of the bytes were taken.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.try_write(bytes)?;
            if taken > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            if self.sending.room() == 0 {
                self.waiting.wait(context);
                // It may be gone for another reason meanwhile.
                return match self.stream.poll_reset(context) {
                    Poll::Ready(_) => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
                    Poll::Pending => Poll::Pending,
                };
            }
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(fault(error))),
                None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// All that will be sent was.
    pub fn end(&mut self) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        self.is_over = true;
        self.stream.send_data(self.sending.piece(), true).map_err(fault)
    }

    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}
