//! Upgraded connections (WebSockets and others): bytes both ways until both sides have ended, counted as in flight at their
//! server all the while. A tunnel in which nothing moves owns no buffer.

use super::client::{Client, Counted};
use super::dial::Connection;
use super::lane::{Lane, count};
use super::thread::Worker;
use super::unsent::Unsent;
use crate::current::Admitted;
use crate::limits::CLIENT_UNACKED_MAX_FOR_TUNNEL;
use middleware::Finish;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem;
use std::task::{Context, Poll};

pub(super) struct Tunnel {
    server: Connection,
    up: Lane,
    down: Lane,
}

impl Tunnel {
    /// `to_client` is what the client has not taken yet.
    pub fn new(server: Connection, to_client: Unsent) -> Self {
        Self { server, up: Lane::default(), down: Lane::behind(to_client) }
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
        let passed = self.up.pass_early(&mut self.server.line, &[], early.bytes());
        drop(early);
        if passed.is_ok() {
            count(admitted, true, self.up.bytes() as usize);
            let ended = poll_fn(|context| self.poll(context, worker, client, admitted)).await;
            // Both connections end with it. That of one which broke off is no end that was meant.
            if ended.is_err() || client.is_cut() {
                client.line.abandon();
            }
        }
        Finish { request_body_bytes: self.up.bytes(), response_body_bytes: self.down.bytes() }
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
        // Its reset shows nowhere else while neither side takes what the other one sent.
        if client.line.poll_gone(context) {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if client.is_cut() || up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
