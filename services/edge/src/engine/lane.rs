//! One direction of a connection that is passed on as it is, until its sender ends it. What is read goes straight on; only
//! what the other side does not take at once is copied. While much comes it goes through a pipe, and never through this
//! process (splice). A lane in which nothing moves owns neither buffer nor pipe.

use super::line::Line;
use super::share::Share;
use super::splice::Pipe;
use super::thread::Worker;
use super::unsent::Unsent;
use crate::count::Counter;
use crate::current::Admitted;
use crate::limits::SPLICE_BYTES_MIN;
use std::io;
use std::task::{Context, Poll, ready};

#[derive(Debug, Default)]
pub(super) struct Lane {
    unsent: Unsent,
    pipe: Option<Pipe>,
    state: State,
    bytes: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The one who sends has ended; the other one is to be told.
    Ending,
    Ended,
}

impl Lane {
    /// One to which something was sent that it has not taken yet.
    pub fn behind(unsent: Unsent) -> Self {
        Self { unsent, ..Self::default() }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends what came before: `head` is not counted.
    pub fn pass_early(&mut self, to: &mut Line, head: &[u8], bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.unsent.send(to, head, bytes)
    }

    /// Ready once the sender has ended and everything was passed on.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        from: &mut Line,
        to: &mut Line,
        passed: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        let mut share = Share::new();
        loop {
            ready!(self.unsent.poll_flush(to, context))?;
            if let (Some(pipe), Some(to)) = (&mut self.pipe, to.plain()) {
                ready!(pipe.poll_drain(context, to))?;
            }
            match self.state {
                State::Open => {
                    let count = ready!(self.poll_move(context, worker, from, to))?;
                    if count == 0 {
                        self.state = State::Ending;
                        continue;
                    }
                    self.bytes += count as u64;
                    passed(count);
                    if share.is_used_up(count, context) {
                        return Poll::Pending;
                    }
                }
                State::Ending => {
                    ready!(to.poll_shutdown(context))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Moves what is there: how much, 0 at the end.
    fn poll_move(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        from: &mut Line,
        to: &mut Line,
    ) -> Poll<io::Result<usize>> {
        if let (Some(mut pipe), Some(from)) = (self.pipe.take(), from.plain()) {
            let filled = pipe.poll_fill(context, from, u64::MAX);
            match filled {
                Poll::Ready(Ok(1..)) => self.pipe = Some(pipe),
                _ => worker.pipes.borrow_mut().give_back(pipe),
            }
            return filled;
        }
        let count = ready!(worker.scratch.borrow_mut().poll_read(from, context))?;
        self.unsent.send(to, &[], worker.scratch.borrow().bytes(count))?;
        if count as u64 >= SPLICE_BYTES_MIN && from.plain().is_some() && to.plain().is_some() {
            self.pipe = worker.pipes.borrow_mut().take();
        }
        Poll::Ready(Ok(count))
    }
}

/// Bytes that went to the server (`is_up`), or came from it.
pub(super) fn count(admitted: &Admitted, is_up: bool, bytes: usize) {
    for counts in [admitted.counts(), &admitted.server().counts] {
        let counts = counts.here();
        let counter: &Counter = if is_up { &counts.request_bytes } else { &counts.response_bytes };
        counter.add(bytes as u64);
    }
}
