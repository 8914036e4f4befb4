//! A request that was admitted: attempt after attempt, until a response goes to the client.

mod reach;

use super::answer::Failure;
use super::client::{After, Client, Counted};
use super::copies;
use super::dial::Connection;
use super::download::Reply;
use super::guard::{self, Guard};
use super::journey::Journey;
use super::record::{self, Whose};
use super::thread::Worker;
use super::tunnel::Tunnel;
use super::unsent::Unsent;
use super::upload::{Sent, Upload};
use crate::count::Took;
use crate::current::Admitted;
use crate::limits::{EXPECT_TIMEOUT, FAILED_SERVER_PAUSE, RESPONSE_HEAD_TIMEOUT};
use lifecycle::ErrorChain;
use middleware::Finish;
pub(super) use reach::dial;
use reach::send;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How a request is counted whose client did not wait for all of its answer (nginx's code).
pub(crate) const CLIENT_LEFT: u16 = 499;

/// How far the first attempt has come.
pub(super) enum Start {
    Sent(Sent),
    /// There is no kept connection to the server.
    Unsent,
    Failed(Failure),
}

/// A request whose route and server were found. On the heap: it is large, and goes through many hands.
pub(super) struct Begun {
    pub journey: Journey,
    pub admitted: Admitted,
    pub start: Start,
}

/// A response that went to the client.
pub(super) struct Delivered {
    pub status: u16,
    pub after: After,
    pub at: Instant,
    /// What the connections are now.
    pub tunnel: Option<Box<Tunnel>>,
}

/// How an attempt ended otherwise.
pub(super) enum End {
    Failed(Failure),
    /// The server answered, and the failover predicate wants the answer of another one, which is this.
    Elsewhere(Box<Admitted>),
    /// After a part of the response had gone to the client.
    BrokeOff(Failure),
    ClientLeft,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One attempt that was sent.
pub(super) struct Exchange<'a, 'c> {
    pub worker: &'a Worker,
    pub client: &'a mut Client,
    pub journey: &'a Journey,
    /// The middlewares that let it pass.
    pub guard: Option<&'a mut Guard<'c>>,
    pub admitted: &'a Admitted,
    pub connection: Connection,
    pub upload: Upload,
    /// What the client has not taken yet.
    pub to_client: Unsent,
    /// What came of the response, while that is not enough.
    pub gathered: Vec<u8>,
    /// Bytes of the interim responses that came before.
    pub interim_bytes: u64,
    /// What was gathered is a head at least.
    pub has_head: bool,
    /// The client was told to send its body by the edge itself.
    pub was_continued: bool,
}

/// Answers a request; what becomes of the client's connection.
pub(super) async fn run(
    worker: &Worker,
    client: &mut Client,
    mut begun: Box<Begun>,
    mut guard: Option<&mut Guard<'_>>,
) -> After {
    let Begun { journey, admitted, start } = &mut *begun;
    copies::copy(worker, &client.peer, journey, admitted);
    let in_flight = Counted::new(&worker.house.metrics.busy().requests);
    loop {
        let ended = {
            let attempt = pin!(attempt(worker, client, journey, admitted, start, guard.as_deref_mut()));
            within(journey, attempt).await
        };
        let end = match ended {
            Ok(Delivered { status, after, at, tunnel }) => {
                answered(journey, admitted, status, at);
                journey.attempted(admitted, Some(status), None);
                client.timer.set(at + client.times.head);
                let Some(tunnel) = tunnel else {
                    record::ended(worker, &client.peer, journey, Whose::admitted(admitted), status, at);
                    return after;
                };
                drop(in_flight);
                journey.head_at.set(Some(at));
                let moved = Box::pin(tunnel.run(worker, client, admitted)).await;
                journey.moved.set((moved.request_body_bytes, moved.response_body_bytes));
                record::ended(worker, &client.peer, journey, Whose::admitted(admitted), status, Instant::now());
                if let Some(guard) = guard {
                    guard.moved = moved;
                }
                return After::Close;
            }
            Err(end) => end,
        };
        let next = match end {
            End::ClientLeft => {
                client.line.abandon();
                let at = Instant::now();
                answered(journey, admitted, CLIENT_LEFT, at);
                journey.attempted(admitted, None, Some(&"the client left"));
                record::ended(worker, &client.peer, journey, Whose::admitted(admitted), CLIENT_LEFT, at);
                return After::Close;
            }
            End::BrokeOff(failure) => {
                note(admitted, &failure);
                warn(journey, admitted, &failure);
                let (status, at) = (failure.status(), Instant::now());
                answered(journey, admitted, status, at);
                journey.attempted(admitted, None, Some(&failure));
                record::ended(worker, &client.peer, journey, Whose::admitted(admitted), status, at);
                return After::Reset;
            }
            End::Elsewhere(next) => *next,
            End::Failed(failure) => {
                note(admitted, &failure);
                journey.attempted(admitted, None, Some(&failure));
                let (status, is_untouched) = (failure.status(), failure.request_is_untouched());
                let next = match failure {
                    Failure::Deadline | Failure::Spool(_) => None,
                    _ => journey.go_on(worker, &client.peer, admitted, status, is_untouched),
                };
                match next {
                    Some(next) => next,
                    None => {
                        warn(journey, admitted, &failure);
                        let at = Instant::now();
                        answered(journey, admitted, status, at);
                        let after = Box::pin(fail(worker, client, journey, &failure, guard)).await;
                        record::ended(worker, &client.peer, journey, Whose::admitted(admitted), status, at);
                        return after;
                    }
                }
            }
        };
        go_on(journey, admitted, next);
    }
}

/// Ends it at the deadline that the middlewares set, if they did.
async fn within(
    journey: &Journey,
    attempt: Pin<&mut impl Future<Output = Result<Delivered, End>>>,
) -> Result<Delivered, End> {
    let Some(deadline) = journey.deadline() else { return attempt.await };
    timeout_at(deadline, attempt).await.unwrap_or_else(|_| {
        let is_answered = journey.is_answered.get();
        Err(if is_answered { End::BrokeOff(Failure::Deadline) } else { End::Failed(Failure::Deadline) })
    })
}

/// One attempt at one server; a second time when a kept connection turns out to be closed.
async fn attempt(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    admitted: &Admitted,
    start: &mut Start,
    mut guard: Option<&mut Guard<'_>>,
) -> Result<Delivered, End> {
    let mut is_fresh = false;
    loop {
        let (Sent { connection, upload }, sent_at) = match mem::replace(start, Start::Unsent) {
            Start::Sent(sent) => (sent, journey.begun),
            Start::Failed(failure) => return Err(failure.into()),
            Start::Unsent => (Box::pin(send(worker, client, journey, admitted, is_fresh)).await?, Instant::now()),
        };
        let is_reused = connection.is_reused;
        let wait = if upload.is_held() { EXPECT_TIMEOUT } else { head_timeout(journey, admitted) };
        client.timer.set(sent_at + wait);
        let mut exchange = Exchange {
            worker,
            client: &mut *client,
            journey,
            guard: guard.as_deref_mut(),
            admitted,
            connection,
            upload,
            to_client: Unsent::default(),
            gathered: Vec::new(),
            interim_bytes: 0,
            has_head: false,
            // A body that was taken whole was asked for then.
            was_continued: journey.stored.is_some(),
        };
        let end = exchange.converse().await;
        let is_begun = !exchange.to_client.is_empty();
        match end {
            Ok(reply) => return Ok(exchange.delivered(reply)),
            // The client has a part of an interim response: nothing else can follow.
            Err(End::Failed(failure)) if is_begun => return Err(End::BrokeOff(failure)),
            Err(End::Failed(failure)) if is_reused && !is_fresh && journey.can_repeat() && failure.is_closed() => {
                worker.clear(admitted.server());
                is_fresh = true;
            }
            Err(End::Failed(Failure::Unprocessed(error))) if !exchange.upload.is_untouched(journey.framing) => {
                return Err(Failure::Reset(error).into());
            }
            Err(End::Failed(Failure::Unprocessed(_))) if !is_fresh => {
                worker.clear(admitted.server());
                is_fresh = true;
            }
            Err(end) => {
                journey.was_read.set(exchange.upload.was_read());
                journey.moved.set((exchange.upload.body_bytes(), journey.moved.get().1));
                return Err(end);
            }
        }
    }
}

impl Exchange<'_, '_> {
    /// Waits for the response, and passes it on.
    async fn converse(&mut self) -> Result<Reply, End> {
        let mut reply = poll_fn(|context| self.poll_head(context)).await?;
        if let Reply::Response(download) = &mut reply
            && !(download.is_done() && self.to_client.is_empty())
        {
            self.journey.head_at.set(Some(Instant::now()));
            let passed = poll_fn(|context| self.poll_body(context, download)).await;
            self.note_moved(download.sent_bytes());
            passed?;
        } else if let Reply::Response(download) = &reply {
            self.note_moved(download.sent_bytes());
        }
        Ok(reply)
    }

    fn note_moved(&mut self, response_body_bytes: u64) {
        self.journey.moved.set((self.upload.body_bytes(), response_body_bytes));
        // For the middlewares.
        if let Some(guard) = &mut self.guard {
            guard.moved = Finish { request_body_bytes: self.upload.body_bytes(), response_body_bytes };
        }
    }

    fn delivered(self, reply: Reply) -> Delivered {
        let Self { worker, client, admitted, mut connection, upload, to_client, .. } = self;
        let at = Instant::now();
        let download = match reply {
            Reply::Response(download) => download,
            Reply::Switched => {
                let tunnel = Some(Box::new(Tunnel::new(connection, to_client)));
                return Delivered { status: 101, after: After::Close, at, tunnel };
            }
        };
        if let Some(pipe) = download.pipe {
            worker.pipes.borrow_mut().give_back(pipe);
        }
        let is_sent = upload.is_done();
        // One that began with a header is this client's, and a request's.
        if is_sent && download.keeps_server && admitted.route().send_proxy.is_none() {
            connection.is_doubted = download.is_bodiless;
            connection.brings_much = download.is_much;
            worker.pool.borrow_mut().put(admitted.server(), connection, at);
        }
        let after = match (download.closes, is_sent && !client.sent_more()) {
            (false, _) => After::Next,
            (true, true) => After::Close,
            (true, false) => After::Linger,
        };
        Delivered { status: download.status, after, at, tunnel: None }
    }
}

/// Until the response's head.
pub(super) fn head_timeout(journey: &Journey, admitted: &Admitted) -> Duration {
    let asked = journey.orders.as_ref().and_then(|orders| orders.limits.timeouts.response_head);
    asked.or(admitted.route().head_timeout).unwrap_or(RESPONSE_HEAD_TIMEOUT)
}

/// Others are told of a server that failed.
pub(super) fn note(admitted: &Admitted, failure: &Failure) {
    if failure.is_servers() {
        admitted.counts().here().failures.add(1);
        admitted.server().counts.here().failures.add(1);
        admitted.observe(failure.status());
    }
    if failure.suggests_death() {
        admitted.server().pause(FAILED_SERVER_PAUSE);
    }
    if failure.is_silence() {
        admitted.server().pause_host(FAILED_SERVER_PAUSE);
    }
}

fn warn(journey: &Journey, admitted: &Admitted, failure: &Failure) {
    let (route, url, attempts) = (&admitted.route().id, admitted.server().url.as_str(), journey.attempts());
    tracing::warn!(route, url, attempts, error = %ErrorChain(failure), "request failed");
}

fn go_on(journey: &mut Journey, admitted: &mut Admitted, next: Admitted) {
    let from = mem::replace(admitted, next);
    let to = &admitted.server().url;
    tracing::debug!(route = from.route().id, from = %from.server().url, %to, "retrying");
    from.counts().here().retries.add(1);
    from.server().counts.here().retries.add(1);
    journey.tried.push(from.server().clone());
    journey.attempt_begun.set(Instant::now());
}

fn answered(journey: &Journey, admitted: &Admitted, status: u16, at: Instant) {
    let head_at = journey.head_at.get().unwrap_or(at);
    let took = |from: Instant| Took {
        head: head_at.saturating_duration_since(from),
        whole: at.saturating_duration_since(from),
    };
    admitted.counts().here().answered(status, took(journey.begun));
    admitted.server().counts.here().answered(status, took(journey.attempt_begun.get()));
}

/// Tells the client that it failed. What has not come of its body is not awaited.
async fn fail(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    failure: &Failure,
    guard: Option<&mut Guard<'_>>,
) -> After {
    let was_read = journey.was_read.get() && !failure.is_in_request();
    let (connection, after) = match (was_read, journey.keep_alive && !worker.is_ending(&client.peer.face)) {
        (true, true) => (http1::Connection::KeepAlive, After::Next),
        (true, false) => (http1::Connection::Close, After::Close),
        (false, _) => (http1::Connection::Close, After::Linger),
    };
    let (status, message) = (failure.status(), failure.to_string());
    let bytes = guard::error(worker, guard, status, &message, connection, journey.asked.head);
    journey.moved.set((journey.moved.get().0, record::body_bytes(&bytes)));
    client.answer(&bytes).await.unwrap_or(after)
}
