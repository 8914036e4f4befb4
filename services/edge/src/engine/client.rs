//! A client's connection, from its acceptance to its end: heads are awaited, requests answered one after the other.

use super::arrival::{Arrival, look};
use super::leftover::Leftover;
use super::line::Line;
use super::registry::Entry;
use super::thread::Worker;
use super::timer::Timer;
use super::unsent::Unsent;
use super::{Face, answer, buffering, exchange, guard, http2};
use crate::ClientTimes;
use crate::count::Counter;
use crate::limits::{HEAD_BYTES_MAX, LINGER_BYTES_MAX, LINGER_MAX};
use http1::Connection::Close;
use http1::Scheme;
use std::future::poll_fn;
use std::io::Write;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) struct Client {
    pub line: Line,
    /// What came and is not part of a request yet: the beginning of a head, or what follows a request.
    pub leftover: Leftover,
    /// That came with the request before: nobody has looked at it yet.
    is_leftover_new: bool,
    /// There is more to read than was: the client sent something while it waited for an answer.
    has_more: bool,
    /// It has not sent a request yet, so this may be HTTP/2. Later it may not: another proxy's connection carries requests
    /// of many clients, and one of them must not make it another thing.
    is_first: bool,
    /// For whatever is waited for.
    pub timer: Timer,
    pub times: ClientTimes,
    pub peer: Peer,
    /// How often the thread had stopped to hear new clients when it came.
    shuts_before: u32,
}

/// Who asks, and where.
pub(super) struct Peer {
    pub address: IpAddr,
    port: u16,
    text: AddressText,
    pub face: Arc<Face>,
    /// Nobody on the way can read what is said.
    pub is_secure: bool,
    /// It speaks HTTP/2, and this is one of its streams.
    pub is_http2: bool,
}

/// An address as text, without an allocation.
struct AddressText {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
}

/// What becomes of a client's connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Next,
    Close,
    /// The client may still be sending.
    Linger,
    /// The client must not take what it got for the whole.
    Reset,
}

/// Counts something in for as long as it lives.
pub(super) struct Counted<'a>(&'a Counter);

impl<'a> Counted<'a> {
    pub fn new(counter: &'a Counter) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// A request on its way to its answer. On the heap: it is many times as large as a connection that idles.
type Serving<'a> = Pin<Box<dyn Future<Output = After> + 'a>>;

/// Serves a connection to its end.
pub(super) fn serve(
    worker: Rc<Worker>,
    line: Line,
    peer: SocketAddr,
    face: Arc<Face>,
    entry: Entry,
) -> impl Future<Output = ()> {
    // Made here, since a task would have room for the arguments of an `async fn` besides what is made of them.
    let mut client = Client::new(line, peer, face, &worker);
    async move {
        poll_fn(|context| {
            entry.wake_by(context.waker());
            Poll::Ready(())
        })
        .await;
        let _counted = Counted::new(&worker.house.metrics.busy().connections);
        if client.line.tls().is_some() && !Box::pin(client.shake_hands(&worker)).await {
            return client.line.close();
        }
        loop {
            let serving = match poll_fn(|context| client.poll_arrival(context, &worker)).await {
                Arrival::None => return client.line.close(),
                Arrival::Http2 => break,
                arrival => answering(&worker, &mut client, arrival),
            };
            match serving.await {
                After::Next => {
                    (client.is_leftover_new, client.has_more, client.is_first) = (true, false, false);
                    // Requests that came together may all be answered without a wait: others have their turn.
                    consume_budget().await;
                }
                After::Close => return client.line.close(),
                After::Linger => return Box::pin(client.linger()).await,
                After::Reset => {
                    return client.line.reset();
                }
            }
        }
        serve_http2(worker.clone(), client, entry).await;
    }
}

/// What came is the beginning of it. (A function of its own, so that a task has no room for what is moved here.)
fn serve_http2(worker: Rc<Worker>, client: Client, entry: Entry) -> Pin<Box<dyn Future<Output = ()>>> {
    let Client { line, leftover, peer, .. } = client;
    let early = leftover.bytes().to_vec().into();
    Box::pin(http2::serve(worker, line, early, peer.socket_address(), peer.face, entry))
}

/// Answers a request that arrived.
pub(super) fn answering<'a>(worker: &'a Worker, client: &'a mut Client, arrival: Arrival) -> Serving<'a> {
    match arrival {
        Arrival::None | Arrival::Http2 => Box::pin(async { After::Close }),
        Arrival::Answer(bytes, after) => Box::pin(async move { client.answer(&bytes).await.unwrap_or(after) }),
        Arrival::Request(begun) => Box::pin(exchange::run(worker, client, begun, None)),
        Arrival::Unkept(journey, turns) => Box::pin(buffering::run(worker, client, *journey, turns)),
        Arrival::Guarded(journey, turns) => Box::pin(guard::run(worker, client, *journey, turns)),
    }
}

impl Client {
    pub fn new(line: Line, peer: SocketAddr, face: Arc<Face>, worker: &Worker) -> Self {
        let (address, port, text) = (peer.ip(), peer.port(), AddressText::of(peer.ip()));
        let peer = Peer { address, port, text, face, is_secure: line.is_secure(), is_http2: line.is_stream() };
        let times = worker.house.client_times;
        let timer = Timer::new(Instant::now() + times.head);
        Self {
            line,
            leftover: Leftover::default(),
            is_leftover_new: false,
            has_more: false,
            is_first: true,
            timer,
            times,
            peer,
            shuts_before: worker.shuts(),
        }
    }

    /// Waits for a request's head.
    fn poll_arrival(&mut self, context: &mut Context<'_>, worker: &Worker) -> Poll<Arrival> {
        if mem::take(&mut self.is_leftover_new)
            && !self.leftover.is_empty()
            && let Some(arrival) = self.look_again(worker)
        {
            return Poll::Ready(arrival);
        }
        loop {
            let read = worker.scratch.borrow_mut().poll_read(&mut self.line, context);
            match read {
                Poll::Ready(Ok(count @ 1..)) => {
                    if let Some(arrival) = self.came(worker, worker.scratch.borrow().bytes(count)) {
                        return Poll::Ready(arrival);
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Arrival::None),
                Poll::Pending => break,
            }
        }
        let idles = self.leftover.is_blank();
        if self.is_cut() || idles && self.ends_idle(worker) {
            return Poll::Ready(Arrival::None);
        }
        if !self.timer.has_passed(context) {
            return Poll::Pending;
        }
        Poll::Ready(if idles {
            Arrival::None
        } else {
            Arrival::Answer(answer::error(408, "the request's head came too slowly", Close, false), After::Linger)
        })
    }

    /// What the client sent, behind what it sent before.
    fn came(&mut self, worker: &Worker, bytes: &[u8]) -> Option<Arrival> {
        let before = self.leftover.bytes().len();
        if before > 0 {
            self.leftover.extend(bytes);
            let all = self.leftover.bytes();
            let may_end = http1::head_may_end(all, before) || all.len() >= HEAD_BYTES_MAX;
            return if may_end { self.look_again(worker) } else { None };
        }
        if self.is_first && http2::begins(bytes) {
            self.leftover.extend(bytes);
            self.timer.set_in(self.times.head);
            return self.look_again(worker);
        }
        let Some((arrival, used)) = look(worker, &self.peer, bytes) else {
            self.leftover.extend(bytes);
            self.timer.set_in(self.times.head);
            return None;
        };
        self.leftover.extend(&bytes[used..]);
        Some(arrival)
    }

    /// Looks at what came before.
    fn look_again(&mut self, worker: &Worker) -> Option<Arrival> {
        let bytes = self.leftover.bytes();
        if self.is_first && http2::begins(bytes) {
            return (bytes.len() >= http2::PREFACE.len()).then_some(Arrival::Http2);
        }
        let (arrival, used) = look(worker, &self.peer, bytes)?;
        self.leftover.advance(used);
        Some(arrival)
    }

    /// Whether the client went away while it waits, or must. What it sends meanwhile is left unread.
    pub fn poll_left(&mut self, context: &mut Context<'_>) -> bool {
        if self.has_more || !self.leftover.is_empty() {
            return self.is_cut();
        }
        match self.line.poll_peek(context) {
            Poll::Ready(Ok(1..)) => self.has_more = true,
            Poll::Ready(_) => return true,
            Poll::Pending => {}
        }
        self.is_cut()
    }

    /// Whether it ends now, when it has no request.
    pub fn ends_idle(&self, worker: &Worker) -> bool {
        self.is_cut() || worker.ends_idle(&self.peer.face, self.shuts_before)
    }

    /// Whether the grace of its listener has ended.
    pub fn is_cut(&self) -> bool {
        self.peer.face.is_cut()
    }

    /// The client sent more than its request.
    pub fn sent_more(&self) -> bool {
        self.has_more || !self.leftover.is_empty()
    }

    /// Sends an answer of the edge itself; `None` when it was taken, else what becomes of the connection.
    pub async fn answer(&mut self, bytes: &[u8]) -> Option<After> {
        let mut unsent = Unsent::default();
        if unsent.send(&mut self.line, bytes, &[]).is_err() {
            return Some(After::Close);
        }
        if !unsent.is_empty() {
            let flushed = poll_fn(|context| unsent.poll_flush(&mut self.line, context));
            if !matches!(timeout(self.times.stall, flushed).await, Ok(Ok(()))) {
                return Some(After::Close);
            }
        }
        self.timer.set_in(self.times.head);
        None
    }

    /// Lets the client read its answer before the connection goes: what it still sends is thrown away.
    async fn linger(mut self) {
        let deadline = Instant::now() + LINGER_MAX;
        let ended = timeout_at(deadline, poll_fn(|context| self.line.poll_shutdown(context))).await;
        if !matches!(ended, Ok(Ok(()))) {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match timeout_at(deadline, poll_fn(|context| self.line.poll_discard(context))).await {
                Ok(Ok(count @ 1..)) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

impl Peer {
    pub fn scheme(&self) -> Scheme {
        if self.is_secure { Scheme::Https } else { Scheme::Http }
    }

    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The address as servers see it.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }
}

impl AddressText {
    /// As `ffff:…:255.255.255.255` at most.
    const BYTES_MAX: usize = 46;

    fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; Self::BYTES_MAX], length: 0 };
        match address.to_canonical() {
            IpAddr::V4(address) => text.put_v4(address.octets()),
            IpAddr::V6(address) => {
                let mut room = &mut text.bytes[..];
                // It fits, so this does not fail.
                let _fits = write!(room, "{address}");
                text.length = (Self::BYTES_MAX - room.len()) as u8;
            }
        }
        text
    }

    /// For each connection: a formatter takes ten times as long.
    fn put_v4(&mut self, octets: [u8; 4]) {
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.length)] = byte;
        self.length += 1;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs, beside its socket and its timer.
    #[test]
    fn a_task_that_idles_is_small() {
        fn size_of_task<T>(_: impl FnOnce(Rc<Worker>, Line, SocketAddr, Arc<Face>, Entry) -> T) -> usize {
            size_of::<T>()
        }
        let bytes = size_of_task(serve);
        assert!(bytes <= 448, "{bytes} bytes");
    }

    #[test]
    fn addresses_are_text() {
        for address in
            ["1.2.3.4", "255.255.255.255", "10.0.100.99", "0.0.0.0", "::1", "2001:db8:1111:2222:3333:4444:5555:6666"]
        {
            assert_eq!(AddressText::of(address.parse().unwrap()).as_str(), address);
        }
        assert_eq!(AddressText::of("::ffff:10.0.0.1".parse().unwrap()).as_str(), "10.0.0.1");
    }
}
