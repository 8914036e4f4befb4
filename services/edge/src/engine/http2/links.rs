//! Connections of HTTP/2 to servers: per thread and server as many as its limit of concurrent streams asks for, each driven
//! by a task of its own. A request takes a [`Place`] on one of them.
//!
//! They follow the ways of kept connections ([`super::super::pool`]): they are of two kinds of patience, and of routes that
//! ask for the same TLS; they end when their server leaves the table and carries no request any more, when they have idled,
//! and take no more requests when the server met silence or said that it goes away.
//!
//! # A server that has the choice (`h2://`)
//! Every new connection offers both HTTPs (ALPN) and becomes what the server picks. The first request finds out while those
//! beside it wait for its connection; what was picked is remembered for all threads. A server that picked HTTP/1.1 has
//! nobody wait: each request makes the connection it needs, as with any server of HTTP/1.1, and once one of them is HTTP/2
//! the server is one that speaks HTTP/2.

mod link;
#[cfg(test)]
mod tests;

pub(super) use link::Place;

use super::super::answer::Failure;
use super::super::dial::{Connection, DialTimes, Want};
use super::super::thread::Worker;
use crate::limits::H2_LINKS_MAX;
use crate::servers::Server;
use link::{Kind, Link, make};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

#[derive(Default)]
pub(in super::super) struct Links {
    /// By the server's slot.
    of: Vec<Option<OfServer>>,
}

/// Of one server. While this knows the server its slot is nobody else's.
struct OfServer {
    server: Arc<Server>,
    /// How often the server had met silence when the first of these was made.
    silences: u64,
    kinds: Vec<OfKind>,
}

/// Its connections of one kind.
struct OfKind {
    kind: Kind,
    links: Vec<Link>,
    queue: Rc<Queue>,
}

/// Those who wait for connections of one kind.
///
/// Whenever there is a place, or a connection to make, and somebody waits, one of them has been woken; whoever takes it wakes
/// the next one if there is more. So what is taken costs one wake-up, however many wait. Nobody is forgotten: one that was
/// woken and leaves before it looked passes that on, which is [`Notify::notify_one`]'s promise.
#[derive(Default)]
struct Queue {
    changed: Notify,
    /// Somebody makes one more.
    is_dialing: Cell<bool>,
}

/// What a request comes to.
enum Found {
    Place(Connection),
    Turn(Turn),
    /// The server picked HTTP/1.1 when it had the choice.
    Http1,
}

/// Whose turn it is to make a connection, until this is dropped.
struct Turn(Rc<Queue>);

impl Links {
    /// A place for a request on a connection that is not known to be dead.
    pub fn take(&mut self, server: &Arc<Server>, want: Want<'_>) -> Option<Connection> {
        let of = self.of.get_mut(server.slot)?.as_mut()?;
        of.keep_live();
        of.kinds.iter().find(|of| of.kind.is_for(want))?.place()
    }

    /// Forgets those that were closed.
    pub fn clear(&mut self, server: &Server) {
        if let Some(Some(of)) = self.of.get_mut(server.slot) {
            of.keep_live();
        }
    }

    /// Called after the table changed.
    pub fn forget_unlisted(&mut self) {
        for of in &mut self.of {
            of.take_if(|of| !of.server.is_listed());
        }
    }

    pub fn expire(&mut self, now: Instant) {
        for of in self.of.iter_mut().flatten() {
            of.keep_live();
            for of in &mut of.kinds {
                of.links.retain(|link| !link.has_idled(now));
            }
            of.kinds.retain(OfKind::is_used);
        }
    }

    /// What there is for a request, or where to wait for it.
    fn find(&mut self, server: &Arc<Server>, want: Want<'_>) -> Result<Found, Rc<Queue>> {
        let of = self.of(server);
        of.keep_live();
        let of = of.kind(want);
        if let Some(place) = of.place() {
            if of.has_more() {
                of.queue.wake_one();
            }
            return Ok(Found::Place(place));
        }
        if server.chose_http1() {
            of.queue.wake_one();
            return Ok(Found::Http1);
        }
        match of.may_dial() {
            true => Ok(Found::Turn(Turn::begin(of.queue.clone()))),
            false => Err(of.queue.clone()),
        }
    }

    fn of(&mut self, server: &Arc<Server>) -> &mut OfServer {
        if self.of.len() <= server.slot {
            self.of.resize_with(server.slot + 1, || None);
        }
        self.of[server.slot].get_or_insert_with(|| OfServer {
            server: server.clone(),
            silences: server.silences(),
            kinds: Vec::new(),
        })
    }
}

impl OfServer {
    /// Without those that have ended, and without all where the server has met silence.
    fn keep_live(&mut self) {
        let is_silent = self.silences != self.server.silences();
        self.silences = self.server.silences();
        for of in &mut self.kinds {
            let before = of.links.len();
            of.links.retain_mut(|link| !is_silent && link.is_live());
            if of.links.len() < before {
                // There may be room for another one.
                of.queue.wake_one();
            }
        }
    }

    fn kind(&mut self, want: Want<'_>) -> &mut OfKind {
        let position = self.kinds.iter().position(|of| of.kind.is_for(want)).unwrap_or_else(|| {
            self.kinds.push(OfKind { kind: Kind::of(want), links: Vec::new(), queue: Rc::default() });
            self.kinds.len() - 1
        });
        &mut self.kinds[position]
    }
}

impl OfKind {
    fn place(&self) -> Option<Connection> {
        self.links.iter().find(|link| link.has_place()).map(Link::take)
    }

    /// One is made at a time, and the next one once the server has said how many streams it allows on the last.
    fn may_dial(&self) -> bool {
        self.links.len() < H2_LINKS_MAX && self.links.iter().all(Link::was_told) && !self.queue.is_dialing.get()
    }

    fn has_more(&self) -> bool {
        self.links.iter().any(Link::has_place) || self.may_dial()
    }

    /// Keeps it for others; one too many is for the request that made it.
    fn keep(&mut self, link: Link) {
        if self.links.len() < H2_LINKS_MAX {
            self.links.push(link);
        }
    }

    fn is_used(&self) -> bool {
        !self.links.is_empty() || Rc::strong_count(&self.queue) > 1
    }
}

/// Whoever waits looks where others do.
impl Drop for OfKind {
    fn drop(&mut self) {
        self.queue.changed.notify_waiters();
    }
}

impl Queue {
    fn wake_one(&self) {
        self.changed.notify_one();
    }
}

impl Turn {
    fn begin(queue: Rc<Queue>) -> Self {
        queue.is_dialing.set(true);
        Self(queue)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_dialing.set(false);
        self.0.wake_one();
    }
}

/// A place on a connection that is there, or is made, within these times; or a connection of HTTP/1.1, if that is what the
/// server picked.
pub(in super::super) async fn connect(
    worker: &Worker,
    server: &Arc<Server>,
    want: Want<'_>,
    times: DialTimes,
) -> Result<Connection, Failure> {
    let begun = Instant::now();
    let others_handshake = if want.upstream.is_some() { times.handshake } else { Duration::ZERO };
    let deadline = begun + times.dial + others_handshake;
    let links = &worker.http2.links;
    let _turn = match find(links, server, want, deadline).await? {
        Found::Place(place) => return Ok(place),
        Found::Turn(turn) => Some(turn),
        Found::Http1 => None,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let dialled =
        Connection::dial(worker, &server.url, want, DialTimes { dial: times.dial.min(left), ..times }).await?;
    let is_http2 = dialled.is_http2();
    server.chose(is_http2);
    if !is_http2 {
        return Ok(dialled);
    }
    let link = make(worker, server, dialled).await?;
    let place = link.take();
    links.borrow_mut().of(server).kind(link.kind.want()).keep(link);
    Ok(place)
}

async fn find(
    links: &RefCell<Links>,
    server: &Arc<Server>,
    want: Want<'_>,
    deadline: Instant,
) -> Result<Found, Failure> {
    loop {
        let found = links.borrow_mut().find(server, want);
        let queue = match found {
            Ok(found) => return Ok(found),
            Err(queue) => queue,
        };
        if timeout_at(deadline, queue.changed.notified()).await.is_err() {
            return Err(Failure::Crowded);
        }
    }
}

/// The one place on a connection that is for one client.
pub(in super::super) async fn alone(
    worker: &Worker,
    server: &Arc<Server>,
    connection: Connection,
) -> Result<Connection, Failure> {
    Ok(make(worker, server, connection).await?.take())
}
