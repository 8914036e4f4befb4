//! What goes: sealed, written, and announced to be over.

use super::session::What;
use super::wire::{OUT, PENDING_BYTES_MAX, SEALED_AT_ONCE_BYTES_MAX};
use super::{Tls, io_error};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

impl Tls {
    /// Seals and writes; what was sealed counts as taken, since it can be sealed once only.
    pub fn try_write(&mut self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        for mut piece in [head, body] {
            while !piece.is_empty() {
                let is_last = body.is_empty() || taken >= head.len();
                if self.pending_bytes() > PENDING_BYTES_MAX {
                    self.try_flush()?;
                    if self.pending_bytes() > PENDING_BYTES_MAX {
                        return Ok(taken);
                    }
                }
                let (now, later) = piece.split_at(piece.len().min(SEALED_AT_ONCE_BYTES_MAX));
                // The head's records go with the body's.
                self.seal_and_write(now, is_last || !later.is_empty())?;
                taken += now.len();
                piece = later;
            }
        }
        Ok(taken)
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.pending_bytes() > PENDING_BYTES_MAX {
            ready!(self.poll_flush(context))?;
        }
        let now = &bytes[..bytes.len().min(SEALED_AT_ONCE_BYTES_MAX)];
        self.seal_and_write(now, true)?;
        Poll::Ready(Ok(now.len()))
    }

    /// At most [`SEALED_AT_ONCE_BYTES_MAX`], while no more than [`PENDING_BYTES_MAX`] are pending.
    fn seal_and_write(&mut self, plain: &[u8], writes: bool) -> io::Result<()> {
        OUT.with_borrow_mut(|out| {
            let filled = self.seal(What::Data(plain), out)?;
            let taken = if writes && filled > 0 { taken_at_once(self.stream.try_write(&out[..filled]))? } else { 0 };
            if taken < filled {
                self.outgoing.extend_from_slice(&out[taken..filled]);
            }
            Ok(())
        })
    }

    /// Puts what is pending into the buffer, and behind it `what`, sealed: how much that is.
    fn seal(&mut self, what: What<'_>, out: &mut [u8]) -> io::Result<usize> {
        // A session that failed is never asked again: it remembers the beginning of what is thrown away.
        if let Some(fault) = &self.fault {
            return Err(io_error(fault.clone()));
        }
        loop {
            let pending = &self.outgoing[self.sent..];
            let filled = pending.len();
            if filled > out.len() {
                return Err(ErrorKind::OutOfMemory.into());
            }
            out[..filled].copy_from_slice(pending);
            let sealed = self.session.seal(&mut self.incoming, what, &mut out[filled..], &mut self.outgoing)?;
            if let Some(sealed) = sealed {
                (self.outgoing, self.sent) = (Vec::new(), 0);
                return Ok(filled + sealed);
            }
        }
    }

    /// Sealed bytes that the socket has not taken.
    pub fn pending_bytes(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while self.pending_bytes() > 0 {
            let taken = taken_at_once(self.stream.try_write(&self.outgoing[self.sent..]))?;
            if taken == 0 {
                return Ok(());
            }
            self.sent += taken;
        }
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending_bytes() > 0 {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing[self.sent..]))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent += taken;
        }
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.may_announce_end() {
            ready!(self.poll_flush(context))?;
            self.is_closed = true;
            self.seal_and_keep(What::End)?;
        }
        ready!(self.poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// Announces the end, if the socket takes that at once; never behind bytes that it did not take.
    pub fn close(&mut self) {
        if !self.may_announce_end() || self.try_flush().is_err() || self.pending_bytes() > 0 {
            return;
        }
        self.is_closed = true;
        if self.seal_and_keep(What::End).is_ok() {
            // A peer that does not hear it any more misses nothing.
            let _heard = self.try_flush();
        }
    }

    /// Its end will not be announced.
    pub fn abandon(&mut self) {
        self.is_closed = true;
    }

    fn may_announce_end(&self) -> bool {
        !self.is_closed && self.fault.is_none() && !self.agreed().is_handshaking()
    }

    fn seal_and_keep(&mut self, what: What<'_>) -> io::Result<()> {
        OUT.with_borrow_mut(|out| {
            let filled = self.seal(what, out)?;
            self.outgoing.extend_from_slice(&out[..filled]);
            Ok(())
        })
    }
}

fn taken_at_once(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
