//! One thread: its runtime, its listeners, its connections, and what they share.

use super::copies::{self, Copy};
use super::dial::{Connection, Want};
use super::http2::Http2;
use super::pool::{Pool, Reuse};
use super::proxy_header;
use super::registry::Registry;
use super::scratch::Scratch;
use super::splice::Pipes;
use super::{Command, Face, House};
use crate::limits::{
    ACCEPT_PAUSE, CONNECTIONS_MAX, COPIES_QUEUE_MAX, DRAIN_GRACE, HOUSEKEEPING_INTERVAL, IDLE_CONNECTIONS_ALL_MAX,
};
use crate::per_thread;
use crate::quiesce::{self, Phase};
use crate::servers::Server;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, interval, sleep, timeout};

/// What the connections of one thread share.
pub(super) struct Worker {
    pub house: Arc<House>,
    pub scratch: RefCell<Scratch>,
    /// Heads are written here, and sent or copied before anybody else runs.
    pub head: RefCell<Vec<u8>>,
    pub pool: RefCell<Pool>,
    pub pipes: RefCell<Pipes>,
    pub http2: Http2,
    pub connections: Rc<Registry>,
    /// For mirrors.
    pub copies: mpsc::Sender<Copy>,
    phase: Cell<Phase>,
    /// How often new clients were heard no more.
    shuts: Cell<u32>,
    stops: Cell<bool>,
}

/// A listener of this thread.
struct Open {
    face: Arc<Face>,
    listener: Rc<TcpListener>,
    accepting: JoinHandle<()>,
}

/// Starts the thread; `runs` is dropped when it has ended.
pub(super) fn start(
    index: usize,
    house: Arc<House>,
    commands: mpsc::Receiver<Command>,
    runs: mpsc::Sender<()>,
) -> io::Result<()> {
    let runtime = move || Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
    let run = move || {
        per_thread::enter(index);
        match runtime() {
            // Tasks that are left when it ends are dropped with the runtime.
            Ok(runtime) => {
                let (copies, to_mirrors) = mpsc::channel(COPIES_QUEUE_MAX);
                runtime.block_on(Rc::new(Worker::new(house, copies)).run(commands, to_mirrors));
            }
            Err(error) => tracing::error!(%error, "a thread of the edge has no runtime"),
        }
        drop(runs);
    };
    thread::Builder::new().name(format!("edge-{index}")).spawn(run).map(drop)
}

impl Worker {
    fn new(house: Arc<House>, copies: mpsc::Sender<Copy>) -> Self {
        Self {
            house,
            scratch: RefCell::new(Scratch::new()),
            head: RefCell::default(),
            pool: RefCell::new(Pool::new(IDLE_CONNECTIONS_ALL_MAX.div_ceil(per_thread::threads()))),
            pipes: RefCell::default(),
            http2: Http2::default(),
            connections: Rc::default(),
            copies,
            phase: Cell::default(),
            shuts: Cell::new(0),
            stops: Cell::new(false),
        }
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>, copies: mpsc::Receiver<Copy>) {
        spawn_local(copies::run(self.clone(), copies));
        let mut open = Vec::new();
        let (mut phases, mut tables) = (self.house.quiesce.phases(), self.house.current.changes());
        self.phase.set(*phases.borrow_and_update());
        // Its ticks also keep the runtime's next wake-up near, so that no timer set meanwhile has to interrupt its wait.
        let mut housekeeping = interval(HOUSEKEEPING_INTERVAL);
        loop {
            tokio::select! {
                () = self.house.stop.requested() => break,
                command = commands.recv() => match command {
                    Some(command) => self.follow(command, &mut open),
                    None => return,
                },
                Ok(()) = phases.changed() => self.enter(&mut phases, &open),
                Ok(()) = tables.changed() => self.forget_unlisted(),
                _ = housekeeping.tick() => self.expire(Instant::now()),
            }
        }
        drop(open.into_iter().map(Open::close).collect::<Vec<_>>());
        self.stops.set(true);
        self.connections.wake_all();
        if timeout(DRAIN_GRACE, self.emptied()).await.is_err() {
            tracing::warn!(grace = ?DRAIN_GRACE, "what outlived the grace is cut: {} connections", self.connections.len());
        }
    }

    /// A connection to a server that is not known to be dead.
    pub fn kept(&self, server: &Arc<Server>, want: Want<'_>, reuse: Reuse, now: Instant) -> Option<Connection> {
        let takes_http2 = want.takes_http2(&server.url);
        let shared = takes_http2.then(|| self.http2.links.borrow_mut().take(server, want)).flatten();
        shared.or_else(|| self.pool.borrow_mut().take(server, want, reuse, now))
    }

    /// What is kept of its connections is dead, as one of them was.
    pub fn clear(&self, server: &Server) {
        self.pool.borrow_mut().clear(server);
        self.http2.links.borrow_mut().clear(server);
    }

    fn forget_unlisted(&self) {
        self.pool.borrow_mut().forget_unlisted();
        self.http2.links.borrow_mut().forget_unlisted();
    }

    fn expire(&self, now: Instant) {
        self.pool.borrow_mut().expire(now);
        self.http2.links.borrow_mut().expire(now);
    }

    fn follow(self: &Rc<Self>, command: Command, open: &mut Vec<Open>) {
        match command {
            Command::Open(socket, face) => match TcpListener::from_std(socket) {
                Ok(listener) => {
                    let listener = Rc::new(listener);
                    let accepting = spawn_local(self.clone().accept(listener.clone(), face.clone()));
                    open.push(Open { face, listener, accepting });
                }
                Err(error) => tracing::error!(address = %face.address, %error, "a thread does not listen"),
            },
            Command::Retire(left) => {
                // The sockets are another process' as well, which hears new clients whatever this one did.
                open.iter().for_each(|open| hear(&open.listener, Phase::Open));
                let accepting: Vec<JoinHandle<()>> = open.drain(..).map(Open::close).collect();
                let worker = self.clone();
                spawn_local(async move {
                    // Whom a task has accepted is entered when it has ended.
                    for accepting in accepting {
                        let _aborted = accepting.await;
                    }
                    worker.emptied().await;
                    drop(left);
                });
            }
            Command::Close(face, closed) => {
                for Open { accepting, listener, .. } in open.extract_if(.., |open| Arc::ptr_eq(&open.face, &face)) {
                    drop(listener);
                    accepting.abort();
                    let closed = closed.clone();
                    spawn_local(async move {
                        // The task has the socket until it has ended, too.
                        let _aborted = accepting.await;
                        drop(closed);
                    });
                }
                self.connections.wake_all();
                let worker = self.clone();
                spawn_local(async move {
                    sleep(DRAIN_GRACE).await;
                    face.cut.store(true, Relaxed);
                    worker.connections.wake_all();
                });
            }
        }
    }

    fn enter(&self, phases: &mut watch::Receiver<Phase>, open: &[Open]) {
        let phase = *phases.borrow_and_update();
        self.phase.set(phase);
        if phase == Phase::Shut {
            self.shuts.set(self.shuts.get() + 1);
        }
        open.iter().for_each(|open| hear(&open.listener, phase));
        self.connections.wake_all();
    }

    async fn accept(self: Rc<Self>, listener: Rc<TcpListener>, face: Arc<Face>) {
        if self.house.accepts.clone().wait_for(|accepts| *accepts).await.is_err() {
            return;
        }
        // Only now: until then another process may have stopped hearing new clients there.
        hear(&listener, self.phase.get());
        let connections_max = CONNECTIONS_MAX.div_ceil(per_thread::threads());
        loop {
            while self.connections.len() >= connections_max {
                self.connections.ended.notified().await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let entry = self.connections.enter();
                    proxy_header::welcome(self.clone(), stream, peer, face.clone(), entry);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Whether a connection of this face ends with its request.
    pub fn is_ending(&self, face: &Face) -> bool {
        self.phase.get() != Phase::Open || self.stops(face)
    }

    /// Whether a connection of this face that idles ends now. One that came when the edge was quiet already brings its
    /// request along.
    pub fn ends_idle(&self, face: &Face, shuts_before: u32) -> bool {
        self.stops(face) || self.phase.get() == Phase::Shut && shuts_before != self.shuts.get()
    }

    /// How often new clients were heard no more, for [`Worker::ends_idle`].
    pub fn shuts(&self) -> u32 {
        self.shuts.get()
    }

    fn stops(&self, face: &Face) -> bool {
        self.stops.get() || face.closes.load(Relaxed)
    }

    async fn emptied(&self) {
        loop {
            let ended = self.connections.ended.notified();
            if self.connections.len() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Open {
    /// The task ends soon.
    fn close(self) -> JoinHandle<()> {
        self.accepting.abort();
        self.accepting
    }
}

fn hear(listener: &TcpListener, phase: Phase) {
    let changed = match phase {
        Phase::Shut => quiesce::stop_hearing(listener),
        Phase::Open => quiesce::hear_again(listener),
        Phase::Closing => Ok(()),
    };
    if let Err(error) = changed {
        // Then new clients are heard until the address goes, and may have to ask again.
        tracing::warn!(%error, ?phase, "the listener's filter");
    }
}
