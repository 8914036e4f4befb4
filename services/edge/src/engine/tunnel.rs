//! Upgraded connections (WebSockets and others): bytes both ways until both sides have ended, counted as in flight at their
//! server all the while. A tunnel in which nothing moves owns no buffer.

use super::client::{Client, Counted};
use super::dial::Connection;
use super::line::Line;
use super::share::Share;
use super::thread::Worker;
use super::unsent::Unsent;
use crate::count::Counter;
use crate::current::Admitted;
use crate::limits::CLIENT_UNACKED_MAX_FOR_TUNNEL;
use middleware::Finish;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

pub(super) struct Tunnel {
    server: Connection,
    up: Lane,
    down: Lane,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    unsent: Unsent,
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

impl Tunnel {
    /// `to_client` is what the client has not taken yet.
    pub fn new(server: Connection, to_client: Unsent) -> Self {
        Self { server, up: Lane::default(), down: Lane { unsent: to_client, ..Lane::default() } }
    }

    /// Works until both sides have ended, or one broke off; what went both ways.
    pub async fn run(mut self, worker: &Worker, client: &mut Client, admitted: &Admitted) -> Finish {
        let _counted = Counted::new(&worker.house.metrics.busy().tunnels);
        // What came behind the request is the tunnel's already.
        let early = mem::take(&mut client.leftover);
        if let Some(socket) = client.line.socket() {
            // One that refuses is closed already, which will show.
            let _closed = socket.set_tcp_user_timeout(Some(CLIENT_UNACKED_MAX_FOR_TUNNEL));
        }
        let passed = self.up.pass(&mut self.server.line, early.bytes());
        drop(early);
        if passed.is_ok() {
            count(admitted, true, self.up.bytes as usize);
            let ended = poll_fn(|context| self.poll(context, worker, client, admitted)).await;
            // Both connections end with it. That of one which broke off is no end that was meant.
            if ended.is_err() || client.is_cut() {
                client.line.abandon();
            }
        }
        Finish { request_body_bytes: self.up.bytes, response_body_bytes: self.down.bytes }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        client: &mut Client,
        admitted: &Admitted,
    ) -> Poll<io::Result<()>> {
        let (from, to) = (&mut client.line, &mut self.server.line);
        let up = self.up.poll(context, worker, from, to, |bytes| count(admitted, true, bytes))?;
        let down = self.down.poll(context, worker, to, from, |bytes| count(admitted, false, bytes))?;
        if client.is_cut() || up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Lane {
    fn pass(&mut self, to: &mut Line, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.unsent.send(to, &[], bytes)
    }

    fn poll(
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
            match self.state {
                State::Open => {
                    let count = ready!(worker.scratch.borrow_mut().poll_read(from, context))?;
                    if count == 0 {
                        self.state = State::Ending;
                    } else {
                        passed(count);
                        self.pass(to, worker.scratch.borrow().bytes(count))?;
                        if share.is_used_up(count, context) {
                            return Poll::Pending;
                        }
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
}

fn count(admitted: &Admitted, is_up: bool, bytes: usize) {
    for counts in [admitted.counts(), &admitted.server().counts] {
        let counts = counts.here();
        let counter: &Counter = if is_up { &counts.request_bytes } else { &counts.response_bytes };
        counter.add(bytes as u64);
    }
}
