//! Connections of TCP routes: passed on to a server as they are, bytes both ways until both sides have ended.
//!
//! Where routes of a face ask for names, the client's TLS handshake is read until it names one, and sent on with the rest;
//! where none does nothing is awaited, so that servers which speak first can be behind it. Another server is tried as long
//! as connecting fails, and not after. The connection counts as in flight at its server until it ends, as a tunnel does, and
//! is a line of the access log then.

use super::Face;
use super::answer::Failure;
use super::client::Counted;
use super::dial::{Patience, connect};
use super::exchange::{CLIENT_LEFT, note};
use super::lane::{Lane, count};
use super::line::Line;
use super::record::Whose;
use super::registry::Entry;
use super::thread::Worker;
use super::timer::Timer;
use crate::count::Took;
use crate::current::Admitted;
use crate::limits::{CLIENT_UNACKED_MAX_FOR_TUNNEL, DIAL_TIMEOUT, LAST_DIAL_TIMEOUT, TCP_IDLE_MAX};
use crate::observation::{Ended, Told};
use crate::servers::Server;
use clienthello::{Said, look};
use lifecycle::ErrorChain;
use proxyprotocol::{Origin, write_v1, write_v2};
use routing::{Headers, RequestHead, SendProxy};
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// What became of a connection, in the numbers that nginx has for its streams: it was passed on,
const PASSED_ON: u16 = 200;
/// it named no server in time,
const TOO_SLOW: u16 = 408;
/// no server could be reached, or there was none.
const NO_SERVER: u16 = 502;

/// Serves a connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, client: TcpStream, peer: SocketAddr, face: Arc<Face>, entry: Entry) {
    poll_fn(|context| {
        entry.wake_by(context.waker());
        Poll::Ready(())
    })
    .await;
    let _counted = Counted::new(&worker.house.metrics.busy().connections);
    let client = Line::Plain(client);
    let (name, early, begun, attempts) = (None, Vec::new(), Instant::now(), 0);
    let mut arrived = Arrived { worker: &worker, face: &face, client, peer, name, early, begun, attempts };
    if worker.house.current.load().tcp.asks_for_names(face.address)
        && let Err(status) = arrived.hear_name().await
    {
        return arrived.tell(status, Whose::default(), Duration::ZERO, (0, 0));
    }
    match arrived.connect().await {
        Ok((admitted, server)) => arrived.pass_on(admitted, server).await,
        Err(last) => {
            let whose = last.as_ref().map(Whose::admitted).unwrap_or_default();
            arrived.tell(NO_SERVER, whose, Duration::ZERO, (0, 0));
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
    begun: Instant,
    /// Servers that were asked.
    attempts: u32,
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn first(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl Arrived<'_> {
    /// Reads until the client has named a server, or is not going to; else it is gone, or too slow.
    async fn hear_name(&mut self) -> Result<(), u16> {
        let (worker, face) = (self.worker, self.face);
        let shuts = worker.shuts();
        let heard = poll_fn(|context| match self.poll_name(context) {
            Poll::Pending if worker.ends_idle(face, shuts) => Poll::Ready(false),
            heard => heard,
        });
        match timeout(worker.house.client_times.head, heard).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(CLIENT_LEFT),
            Err(_) => Err(TOO_SLOW),
        }
    }

    fn poll_name(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            // No more than it takes: the rest stays with the kernel while a server is connected to.
            let bytes_max = clienthello::BYTES_MAX.saturating_sub(self.early.len());
            let mut scratch = self.worker.scratch.borrow_mut();
            let read = ready!(scratch.poll_read_at_most(bytes_max, &mut self.client, context));
            let Ok(count @ 1..) = read else { return Poll::Ready(false) };
            self.early.extend_from_slice(scratch.bytes(count));
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

    /// A server that was reached; else the last one that was not.
    async fn connect(&mut self) -> Result<(Admitted, Line), Option<Admitted>> {
        let (mut tried, mut last): (Vec<Arc<Server>>, _) = (Vec::new(), None);
        loop {
            let Some(admitted) = self.admit(&tried) else {
                let (face, name) = (self.face.address, self.name.as_deref());
                tracing::debug!(%face, name, peer = %self.peer, tried = tried.len(), "no server for a connection");
                return Err(last);
            };
            self.attempts += 1;
            let route = admitted.route();
            let is_last = tried.len() + 1 >= route.servers.len();
            let time = route.dial_timeout.unwrap_or(if is_last { LAST_DIAL_TIMEOUT } else { DIAL_TIMEOUT });
            let counts = [admitted.counts(), &admitted.server().counts].map(|counts| counts.here());
            match connect(&admitted.server().url, Patience::Long, time).await {
                Ok(server) => {
                    counts.iter().for_each(|counts| counts.tcp_connections.add(1));
                    admitted.observe(200);
                    return Ok((admitted, Line::Plain(server)));
                }
                Err(failure) => {
                    note(&admitted, &failure);
                    self.warn(&admitted, &failure);
                    counts.iter().for_each(|counts| counts.retries.add(1));
                    tried.push(admitted.server().clone());
                    if tried.len() > routing::RETRIES_MAX as usize {
                        return Err(Some(admitted));
                    }
                    last = Some(admitted);
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

    async fn pass_on(mut self, admitted: Admitted, mut server: Line) {
        let reached = self.begun.elapsed();
        let moved = self.move_bytes(&admitted, &mut server).await;
        self.tell(PASSED_ON, Whose::admitted(&admitted), reached, moved);
    }

    /// Both ways until both have ended: how many.
    async fn move_bytes(&mut self, admitted: &Admitted, server: &mut Line) -> (u64, u64) {
        let Self { worker, face, client, peer, .. } = self;
        let early = mem::take(&mut self.early);
        let _counted = Counted::new(&worker.house.metrics.busy().tunnels);
        for socket in [client.socket(), server.socket()].into_iter().flatten() {
            // A socket that refuses is closed already, which will show.
            let _closed = socket.set_tcp_user_timeout(Some(CLIENT_UNACKED_MAX_FOR_TUNNEL));
        }
        let mut head = Vec::new();
        if let Some(version) = admitted.route().send_proxy {
            write_header(version, *peer, client.local_address().unwrap_or(face.address), &mut head);
        }
        let (mut up, mut down) = (Lane::default(), Lane::default());
        if up.pass_early(server, &head, &early).is_err() {
            return (0, 0);
        }
        count(admitted, true, early.len());
        drop((head, early));
        let mut timer = Timer::new(Instant::now() + TCP_IDLE_MAX);
        let mut moved = 0;
        // How it ended is of no interest: both connections end with it.
        let _ended: io::Result<()> = poll_fn(|context| {
            let sent = up.poll(context, worker, client, server, |bytes| count(admitted, true, bytes))?;
            let came = down.poll(context, worker, server, client, |bytes| count(admitted, false, bytes))?;
            if up.bytes() + down.bytes() != moved {
                moved = up.bytes() + down.bytes();
                timer.set_in(TCP_IDLE_MAX);
            }
            let is_over = sent.is_ready() && came.is_ready() || face.is_cut() || timer.has_passed(context);
            if is_over { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await;
        (up.bytes(), down.bytes())
    }

    /// A line of the log, if anybody wants to know.
    fn tell(&self, status: u16, whose: Whose<'_>, head: Duration, (request_bytes, response_bytes): (u64, u64)) {
        let observer = &self.worker.house.observer;
        if !observer.tells() {
            return;
        }
        observer.ended(&Ended {
            request: Told::Connection(self.name.as_deref()),
            client: &self.peer.ip().to_canonical().to_string(),
            is_secure: false,
            is_http2: false,
            status,
            request_bytes,
            response_bytes,
            begun: self.begun,
            took: Took { head, whole: self.begun.elapsed() },
            route: whose.route,
            server: whose.server,
            attempts: self.attempts,
            trail: None,
        });
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
