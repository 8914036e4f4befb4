//! Connections of TCP routes: passed on to a server as they are, bytes both ways until both sides have ended.
//!
//! Where routes of a face ask for names, the client's TLS handshake is read until it names one, and sent on with the rest;
//! where none does nothing is awaited, so that servers which speak first can be behind it. Another server is tried as long
//! as connecting fails, and not after. The connection counts as in flight at its server until it ends, as a tunnel does.

use super::Face;
use super::answer::Failure;
use super::client::Counted;
use super::client_hello::{Said, look};
use super::dial::{Patience, connect};
use super::exchange::note;
use super::lane::{Lane, count};
use super::line::Line;
use super::registry::Entry;
use super::thread::Worker;
use super::timer::Timer;
use crate::current::Admitted;
use crate::limits::{CLIENT_UNACKED_MAX_FOR_TUNNEL, DIAL_TIMEOUT, LAST_DIAL_TIMEOUT, TCP_IDLE_MAX};
use crate::servers::Server;
use lifecycle::ErrorChain;
use proxyprotocol::{Origin, write_v1, write_v2};
use routing::{Headers, RequestHead, SendProxy};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, client: TcpStream, peer: SocketAddr, face: Arc<Face>, entry: Entry) {
    poll_fn(|context| {
        entry.wake_by(context.waker());
        Poll::Ready(())
    })
    .await;
    let _counted = Counted::new(&worker.house.metrics.busy().connections);
    let client = Line::Plain(client);
    let mut arrived = Arrived { worker: &worker, face: &face, client, peer, name: None, early: Vec::new() };
    if worker.house.current.load().tcp.asks_for_names(face.address) && arrived.hear_name().await.is_none() {
        return;
    }
    match arrived.connect().await {
        Some((admitted, server)) => arrived.pass_on(admitted, server).await,
        None => {
            // A client that only listens must not take it for the server's end.
            arrived.client.reset();
        }
    }
}

/// A connection that came.
struct Arrived<'a> {
    worker: &'a Worker,
    face: &'a Face,
    client: Line,
    peer: SocketAddr,
    /// The server that its handshake names.
    name: Option<String>,
    /// What was read of it.
    early: Vec<u8>,
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn first(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl Arrived<'_> {
    /// Reads until the client has named a server, or is not going to; `None`: it is gone, or too slow.
    async fn hear_name(&mut self) -> Option<()> {
        let (worker, face) = (self.worker, self.face);
        let shuts = worker.shuts();
        let heard = poll_fn(|context| match self.poll_name(context) {
            Poll::Pending if worker.ends_idle(face, shuts) => Poll::Ready(false),
            heard => heard,
        });
        timeout(worker.house.client_times.head, heard).await.ok()?.then_some(())
    }

    fn poll_name(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            let read = ready!(self.worker.scratch.borrow_mut().poll_read(&mut self.client, context));
            let Ok(count @ 1..) = read else { return Poll::Ready(false) };
            self.early.extend_from_slice(self.worker.scratch.borrow().bytes(count));
            match look(&self.early) {
                Said::Partial => {}
                Said::Name(name) => {
                    self.name = Some(name);
                    return Poll::Ready(true);
                }
                Said::Nothing => return Poll::Ready(true),
            }
        }
    }

    /// A server that was reached.
    async fn connect(&self) -> Option<(Admitted, Line)> {
        let mut tried: Vec<Arc<Server>> = Vec::new();
        loop {
            let Some(admitted) = self.admit(&tried) else {
                let (face, name) = (self.face.address, self.name.as_deref());
                tracing::debug!(%face, name, peer = %self.peer, tried = tried.len(), "no server for a connection");
                return None;
            };
            let route = admitted.route();
            let is_last = tried.len() + 1 >= route.servers.len();
            let time = route.dial_timeout.unwrap_or(if is_last { LAST_DIAL_TIMEOUT } else { DIAL_TIMEOUT });
            let counts = [admitted.counts(), &admitted.server().counts].map(|counts| counts.here());
            match connect(&admitted.server().url, Patience::Long, time).await {
                Ok(server) => {
                    counts.iter().for_each(|counts| counts.tcp_connections.add(1));
                    admitted.observe(200);
                    return Some((admitted, Line::Plain(server)));
                }
                Err(failure) => {
                    note(&admitted, &failure);
                    self.warn(&admitted, &failure);
                    counts.iter().for_each(|counts| counts.retries.add(1));
                    tried.push(admitted.server().clone());
                    if tried.len() > routing::RETRIES_MAX as usize {
                        return None;
                    }
                }
            }
        }
    }

    fn admit(&self, tried: &[Arc<Server>]) -> Option<Admitted> {
        let (name, client) = (self.name.as_deref(), self.peer.ip());
        let host = name.unwrap_or_default();
        let head = RequestHead { method: "", host, path: "", query: None, headers: &NoHeaders, client };
        let admitted = self.worker.house.current.admit(|snapshot| {
            let position = snapshot.tcp.find(self.face.address, name).ok_or(())?;
            let turns = &snapshot.turns[position];
            if turns.refusal.is_some() {
                return Err(());
            }
            let picked = turns.pick(&head, |server| !tried.iter().any(|tried| tried.url == server.url));
            picked.map(|picked| (position, picked)).ok_or(())
        });
        admitted.ok()
    }

    fn warn(&self, admitted: &Admitted, failure: &Failure) {
        let (route, url) = (&admitted.route().id, admitted.server().url.as_str());
        tracing::warn!(route, url, error = %ErrorChain(failure), "connection failed");
    }

    async fn pass_on(self, admitted: Admitted, mut server: Line) {
        let Self { worker, face, mut client, peer, early, .. } = self;
        let _counted = Counted::new(&worker.house.metrics.busy().tunnels);
        for socket in [client.socket(), server.socket()].into_iter().flatten() {
            // A socket that refuses is closed already, which will show.
            let _closed = socket.set_tcp_user_timeout(Some(CLIENT_UNACKED_MAX_FOR_TUNNEL));
        }
        let mut head = Vec::new();
        if let Some(version) = admitted.route().send_proxy {
            write_header(version, peer, client.local_address().unwrap_or(face.address), &mut head);
        }
        let (mut up, mut down) = (Lane::default(), Lane::default());
        if up.pass_early(&mut server, &head, &early).is_err() {
            return;
        }
        count(&admitted, true, early.len());
        drop((head, early));
        let mut timer = Timer::new(Instant::now() + TCP_IDLE_MAX);
        let mut moved = 0;
        // How it ended is of no interest: both connections end with it.
        let _ended: io::Result<()> = poll_fn(|context| {
            let sent = up.poll(context, worker, &mut client, &mut server, |bytes| count(&admitted, true, bytes))?;
            let came = down.poll(context, worker, &mut server, &mut client, |bytes| count(&admitted, false, bytes))?;
            if up.bytes() + down.bytes() != moved {
                moved = up.bytes() + down.bytes();
                timer.set_in(TCP_IDLE_MAX);
            }
            let is_over = sent.is_ready() && came.is_ready() || face.is_cut() || timer.has_passed(context);
            if is_over { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await;
    }
}

/// Tells a server whom a connection is from.
pub(super) fn write_header(version: SendProxy, from: SocketAddr, at: SocketAddr, to: &mut Vec<u8>) {
    let origin = Origin::tcp(from, at);
    match version {
        SendProxy::V1 => write_v1(&origin, to),
        SendProxy::V2 => write_v2(&origin, &[], true, to),
    }
}
