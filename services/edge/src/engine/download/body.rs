//! The body of a response, as it comes.

use super::super::answer::Failure;
use super::super::coding::Coding;
use super::super::exchange::{End, Exchange};
use super::super::share::Share;
use super::super::splice::{Pipe, pipe_to_fill};
use super::{Download, Waits};
use http1::{BadChunk, LAST_CHUNK};
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

impl Exchange<'_, '_> {
    /// Passes the body on until it ends, and the rest of the request the other way.
    pub fn poll_body(&mut self, context: &mut Context<'_>, download: &mut Download) -> Poll<Result<(), End>> {
        let mut moved = self.poll_upload(context).map_err(End::broke_off)?;
        let mut share = Share::new();
        let waits_for = loop {
            let waiting_bytes = self.waiting_bytes(download);
            let flushed = self.poll_flush(context, download);
            moved |= self.waiting_bytes(download) < waiting_bytes;
            match flushed {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::ClientLeft)),
                Poll::Pending => break Waits::Client,
            }
            if download.is_done() {
                return Poll::Ready(Ok(()));
            }
            let plain = self.connection.line.plain();
            let plain = plain.filter(|_| download.encoder.is_none() && self.client.line.plain().is_some());
            let pipe = plain.and_then(|from| {
                let (pipe, left) = pipe_to_fill(&mut download.pipe, &download.body, &self.worker.pipes)?;
                Some((pipe, from, left))
            });
            let came = match pipe {
                Some((pipe, from, left)) => pipe.poll_fill(context, from, left),
                None => self.poll_server(context),
            };
            match came {
                Poll::Ready(Ok(0)) => self.ended(download)?,
                Poll::Ready(Ok(count)) => {
                    self.pass(download, count)?;
                    moved = true;
                    if share.is_used_up(count, context) {
                        break Waits::Server;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::BrokeOff(Failure::Body(error)))),
                Poll::Pending if self.flush_encoder(download)? => {}
                Poll::Pending => break Waits::Server,
            }
        };
        if self.poll_left(context) {
            return Poll::Ready(Err(End::ClientLeft));
        }
        if moved || download.waits_for != waits_for {
            let length = if waits_for == Waits::Client { self.client.times.stall } else { self.idle_max() };
            self.client.timer.set_in(length);
            download.waits_for = waits_for;
        }
        if !self.client.timer.has_passed(context) {
            return Poll::Pending;
        }
        Poll::Ready(Err(match waits_for {
            Waits::Client => End::ClientLeft,
            _ => End::BrokeOff(Failure::BodyTimeout),
        }))
    }

    /// What came from the server, and the client has not taken.
    fn waiting_bytes(&self, download: &Download) -> usize {
        self.to_client.bytes_left() + download.pipe.as_ref().map_or(0, Pipe::filled)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, download: &mut Download) -> Poll<io::Result<()>> {
        ready!(self.to_client.poll_flush(&mut self.client.line, context))?;
        match (&mut download.pipe, self.client.line.plain()) {
            (Some(pipe), Some(to)) => pipe.poll_drain(context, to),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Passes on what came, unless it is in the pipe.
    fn pass(&mut self, download: &mut Download, count: usize) -> Result<(), End> {
        if download.pipe.is_some() {
            download.body.skip(count as u64);
            self.count(count as u64);
            return Ok(());
        }
        let (scratch, out) = (self.worker.scratch.borrow(), &mut *self.worker.head.borrow_mut());
        let bytes = scratch.bytes(count);
        out.clear();
        let before = download.body.data_bytes();
        let (used, as_it_is) = match &mut download.encoder {
            None => download.coding.put(out, &mut download.body, bytes).map_err(End::broke_off_in_chunk)?,
            Some(encoder) => (encoder.put(out, &mut download.body, bytes).map_err(End::BrokeOff)?, 0),
        };
        download.keeps_server &= used == count;
        self.count(download.body.data_bytes() - before);
        self.to_client.send(&mut self.client.line, out, &bytes[..as_it_is]).map_err(|_| End::ClientLeft)
    }

    /// The server pauses: what it said so far goes on; whether there was anything.
    fn flush_encoder(&mut self, download: &mut Download) -> Result<bool, End> {
        let Some(encoder) = &mut download.encoder else { return Ok(false) };
        let out = &mut *self.worker.head.borrow_mut();
        out.clear();
        let is_flushed = encoder.flush(out).map_err(End::BrokeOff)?;
        self.to_client.send(&mut self.client.line, out, &[]).map_err(|_| End::ClientLeft)?;
        Ok(is_flushed)
    }

    /// The server's connection ended.
    fn ended(&mut self, download: &mut Download) -> Result<(), End> {
        if !download.body.may_end_here() {
            return Err(End::BrokeOff(Failure::Body(ErrorKind::UnexpectedEof.into())));
        }
        download.body.end();
        download.keeps_server = false;
        if let Some(encoder) = &mut download.encoder {
            let out = &mut *self.worker.head.borrow_mut();
            out.clear();
            encoder.finish(out).map_err(End::BrokeOff)?;
            return self.to_client.send(&mut self.client.line, out, &[]).map_err(|_| End::ClientLeft);
        }
        if download.coding == Coding::IntoChunks {
            self.to_client.send(&mut self.client.line, LAST_CHUNK, &[]).map_err(|_| End::ClientLeft)?;
        }
        Ok(())
    }
}

impl End {
    /// What would be a failure before the response had begun to go on.
    fn broke_off(self) -> Self {
        match self {
            Self::Failed(failure) => Self::BrokeOff(failure),
            end => end,
        }
    }

    fn broke_off_in_chunk(bad: BadChunk) -> Self {
        Self::BrokeOff(Failure::Chunk(bad))
    }
}
