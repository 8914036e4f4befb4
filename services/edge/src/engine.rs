//! The data path: one thread per core, each with a runtime, listening sockets and connections to servers of its own. A
//! client's connection lives on the thread that accepted it, in one task, and so does everything its requests need.
//!
//! # A request
//! Its head is read into the thread's one read buffer. There it is parsed, routed and admitted ([`crate::current`]), and its
//! rewritten form is sent to a kept connection of the server together with what came of the body, all before the task waits
//! for anything: no copy, no further task, no channel. The response comes back the same way. Only what a peer does not take
//! at once is copied, so an idle connection owns no buffer.
//!
//! A route with middlewares goes another way ([`guard`]): they are asked before a server is chosen, and may have to wait
//! for an answer; then all goes on as above, with what they changed.
//!
//! # Failover
//! A request goes to another server when nothing of an answer has reached the client yet and
//! * no byte of it was sent, because connecting failed: any request; or
//! * the route's failover predicate allows it and the request has no body, or one that was taken whole before a server was
//!   chosen because the route asks for that ([`buffering`]; bodies stream otherwise, and are never replayed).
//!
//! All but the first alternative to a server that cannot be reached is taken from the route's retry budget; when that is used
//! up, the failure at hand is answered.
//!
//! The response to a GET that was sent to a machine which then vanished is no longer waited for after the times that
//! [`dial`] names. What was sent with a body is never sent again: it fails, since nobody knows whether it was done.
//!
//! So that a server that dies in the middle of a response costs no GET, the response to a GET of at most
//! `READ_AHEAD_BYTES_MAX` is read whole before its head goes on, where the predicate would let it go to another server and
//! there is one. Others go on as they come, large ones through the kernel alone (`splice`). A kept connection that turns out to be closed is not the
//! server's failure: an idempotent request without a body is sent once more, on a new connection to the same server.
//!
//! No server is tried twice for one request; one that failed is passed over for `FAILED_SERVER_PAUSE` by others too.
//!
//! # What peers do, and what becomes of it
//! | | |
//! |---|---|
//! | a client's head comes slower than `ClientTimes::head` | 408, closed |
//! | its handshake does | closed, counted as failed |
//! | a client closes its side while it waits | it has left: the server's connection is closed, the request is not retried; counted as 499 |
//! | a client takes nothing of its response for `ClientTimes::stall` | closed |
//! | a response comes before the request has ended | it is passed on; the connection ends with it |
//! | a server closes in the middle of a response that was begun to be passed on | closed: the client sees the break |
//! | a server sends `INTERIM_BYTES_MAX` before its response | 502 |
//! | a server sends more than it announced | its connection is not used again |
//!
//! What peers say is read and written by a `line`, in the clear or over TLS.
//!
//! Reading order: `thread` (the house of everything else), `client` (a connection's life), `arrival` (the fast path),
//! `exchange` (attempts and failover), `upload` and `download` (the two directions), `tunnel`; `tcp` for connections that are
//! passed on as they are.

mod answer;
mod arrival;
mod buffering;
mod client;
mod coding;
mod copies;
mod dial;
mod download;
mod encoder;
mod exchange;
mod guard;
mod handshake;
mod http2;
mod journey;
mod lane;
mod leftover;
mod line;
mod orders;
mod pool;
mod proxy_header;
mod record;
mod registry;
mod scratch;
mod share;
mod socket;
mod splice;
mod tcp;
mod thread;
mod timer;
mod tls;
mod tunnel;
mod unsent;
mod upload;

pub(crate) use exchange::CLIENT_LEFT;

use crate::ClientTimes;
use crate::challenges::Challenges;
use crate::current::Current;
use crate::limits::COMMANDS_QUEUE_MAX;
use crate::metrics::Metrics;
use crate::mirror::CopyCounts;
use crate::observation::Observer;
use crate::outside::Outside;
use crate::per_thread::threads;
use crate::quiesce::Quiesce;
use crate::ready::Probe;
use crate::servers::lock;
use crate::spool::Spool;
use crate::succession::{Sockets, Use};
use arc_swap::ArcSwapOption;
use lifecycle::Stop;
use line::Line;
pub(crate) use proxy_header::ProxyHeader;
use routing::Expression;
use rustls::ServerConfig;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tls::Tls;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// What all threads share.
pub(crate) struct House {
    pub current: Arc<Current>,
    pub challenges: Arc<Challenges>,
    pub metrics: Arc<Metrics>,
    pub quiesce: Arc<Quiesce>,
    /// The edge's name in `X-Forwarded-Server`.
    pub edge_id: String,
    pub probe: Arc<Probe>,
    pub outside: Arc<Outside>,
    pub observer: Arc<Observer>,
    pub client_times: ClientTimes,
    pub spool: Arc<Spool>,
    pub copies: Arc<CopyCounts>,
    /// False until this process may accept connections.
    pub accepts: watch::Receiver<bool>,
    pub sockets: Arc<Sockets>,
    pub stop: Stop,
}

/// An address that is listened on, and what its clients see.
pub(crate) struct Face {
    pub address: SocketAddr,
    pub kind: Kind,
    /// Requests outside of it are answered 404.
    pub scope: ArcSwapOption<Expression>,
    /// How TLS is spoken; none: it is not.
    pub tls: ArcSwapOption<ServerConfig>,
    /// What some of its clients send first.
    proxy_header: Option<ProxyHeader>,
    /// Its connections end when they are idle.
    closes: AtomicBool,
    /// They end.
    cut: AtomicBool,
}

/// A face to open.
#[derive(Clone, Debug)]
pub(crate) struct FaceSpec {
    /// Port 0 picks one.
    pub address: SocketAddr,
    pub kind: Kind,
    pub scope: Option<Arc<Expression>>,
    pub tls: Option<Arc<ServerConfig>>,
    pub proxy_header: Option<ProxyHeader>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Http,
    /// Connections are passed on as they are.
    Tcp,
}

/// Told to every thread.
enum Command {
    Open(std::net::TcpListener, Arc<Face>),
    /// The sender is dropped once the address is left.
    Close(Arc<Face>, mpsc::Sender<()>),
    /// Another process accepts whoever comes to any face. The sender is dropped once nobody is connected any more.
    Retire(mpsc::Sender<()>),
}

/// The threads. They end with the stop, or when this is dropped.
pub(crate) struct Engine {
    threads: Vec<Thread>,
    sockets: Arc<Sockets>,
    narrow: Mutex<Vec<Narrow>>,
}

/// A face on sockets of another process, which had fewer threads.
struct Narrow {
    face: Arc<Face>,
    asked: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

struct Thread {
    commands: mpsc::Sender<Command>,
    /// Closed when the thread has ended.
    running: mpsc::Receiver<()>,
}

impl Face {
    /// A connection that was accepted here.
    fn line(&self, stream: TcpStream) -> Result<Line, rustls::Error> {
        match &*self.tls.load() {
            None => Ok(Line::Plain(stream)),
            Some(config) => Ok(Line::Tls(Box::new(Tls::accept(stream, config.clone())?))),
        }
    }

    /// Whether the grace of its closing has ended.
    fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }
}

impl Engine {
    pub fn start(house: Arc<House>) -> io::Result<Self> {
        let start = |index| {
            let (commands, heard) = mpsc::channel(COMMANDS_QUEUE_MAX);
            let (runs, running) = mpsc::channel(1);
            thread::start(index, house.clone(), heard, runs)?;
            Ok(Thread { commands, running })
        };
        let threads = (0..threads()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, sockets: house.sockets.clone(), narrow: Mutex::default() })
    }

    pub fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Listens on an address. Sockets of another process stay as they are until [`Engine::widen`].
    pub async fn open(&self, spec: FaceSpec) -> io::Result<Arc<Face>> {
        let FaceSpec { address: asked, kind, scope, tls, proxy_header } = spec;
        let sockets = match self.sockets.take(Use::Service, asked) {
            Some(inherited) => inherited,
            None => socket::listen(asked, self.threads.len())?,
        };
        self.sockets.keep(Use::Service, asked, &sockets)?;
        let (closes, cut) = (AtomicBool::new(false), AtomicBool::new(false));
        let (scope, tls) = (ArcSwapOption::new(scope), ArcSwapOption::new(tls));
        let address = sockets[0].local_addr()?;
        let face = Arc::new(Face { address, kind, scope, tls, proxy_header, closes, cut });
        if sockets.len() < self.threads.len() {
            let sockets = sockets.iter().map(std::net::TcpListener::try_clone).collect::<io::Result<_>>()?;
            lock(&self.narrow).push(Narrow { face: face.clone(), asked, sockets });
        }
        self.listen(0, sockets, &face).await;
        Ok(face)
    }

    /// Every thread listens on every face, now that this process serves: a client whom the kernel gives to a socket of this
    /// process alone would be lost with it if the other one went on.
    pub async fn widen(&self) {
        let narrow = mem::take(&mut *lock(&self.narrow));
        for Narrow { face, asked, sockets } in narrow {
            let count = sockets.len();
            let widened = socket::at_least(sockets, self.threads.len()).and_then(|mut sockets| {
                let siblings = sockets.split_off(count);
                self.sockets.keep(Use::Service, asked, &siblings)?;
                Ok(siblings)
            });
            match widened {
                Ok(siblings) => self.listen(count, siblings, &face).await,
                Err(error) => tracing::warn!(address = %face.address, %error, "not every thread listens"),
            }
        }
    }

    /// One socket per thread, from this one on.
    async fn listen(&self, first: usize, sockets: Vec<std::net::TcpListener>, face: &Arc<Face>) {
        for (thread, socket) in self.threads.iter().cycle().skip(first).zip(sockets) {
            // A thread that has ended serves no more.
            let _ended = thread.commands.send(Command::Open(socket, face.clone())).await;
        }
    }

    /// Stops listening; requests in flight end. When it returns the address is free.
    pub async fn close(&self, face: &Arc<Face>) {
        face.closes.store(true, Relaxed);
        self.sockets.forget(face.address);
        let (closed, mut open) = mpsc::channel(1);
        for thread in &self.threads {
            let _ended = thread.commands.send(Command::Close(face.clone(), closed.clone())).await;
        }
        drop(closed);
        while open.recv().await.is_some() {}
    }

    /// Accepts nobody any more; returns once everybody has left.
    pub async fn retire(&self) {
        self.sockets.forget_all();
        let (left, mut connected) = mpsc::channel(1);
        for thread in &self.threads {
            let _ended = thread.commands.send(Command::Retire(left.clone())).await;
        }
        drop(left);
        while connected.recv().await.is_some() {}
    }

    /// Waits until all threads have ended, which the stop makes them do within the grace.
    pub async fn ended(mut self) {
        self.sockets.forget_all();
        for thread in &mut self.threads {
            while thread.running.recv().await.is_some() {}
        }
    }
}
