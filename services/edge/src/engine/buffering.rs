//! A request whose body is taken whole before a server is chosen, because its route wants to send it again if it must.
//!
//! What is kept takes room that others want as well, so that a body has to come at a least rate: `BUFFERED_WINDOW_BYTES_MIN`
//! in each `ClientTimes::head`, and all of it in `BUFFERED_BODY_TIME_MAX` ([`pace`]). Who is slower is answered 408.

mod pace;

use super::answer::Failure;
use super::client::{After, Client};
use super::exchange::{self, Begun, CLIENT_LEFT, Start};
use super::guard::{self, Guard};
use super::journey::{Journey, NoServer, admit};
use super::record::{self, Whose};
use super::share::Share;
use super::thread::Worker;
use crate::count::Took;
use crate::current::Turns;
use crate::limits::BUFFERED_BODY_BYTES_MAX;
use crate::spool::{Filling, Owner, SpoolError};
use http1::Connection::Close;
use http1::{Answer, Body, Connection, Framing, Version};
use lifecycle::ErrorChain;
use pace::Pace;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Instant, timeout_at};

/// Why a body did not come whole.
pub(super) enum NotKept {
    Failed(Failure),
    ClientLeft,
}

/// Answers a request of a route without middlewares.
pub(super) async fn run(worker: &Worker, client: &mut Client, mut journey: Journey, turns: Arc<Turns>) -> After {
    if let Err(not_kept) = keep(worker, client, &mut journey, &turns).await {
        return refuse(worker, client, &journey, &turns, not_kept, None).await;
    }
    match journey.read(|request| admit(worker, &client.peer, request, &[], journey.passed())) {
        Ok(admitted) => {
            let begun = Begun { journey, admitted, start: Start::Unsent };
            exchange::run(worker, client, Box::new(begun), None).await
        }
        // The route is another one meanwhile.
        Err(NoServer::Guarded(turns)) => guard::run(worker, client, journey, turns).await,
        Err(none) => guard::unserved(worker, client, &journey, &none, None).await,
    }
}

/// Takes the body whole, as the journey's own.
pub(super) async fn keep(
    worker: &Worker,
    client: &mut Client,
    journey: &mut Journey,
    turns: &Turns,
) -> Result<(), NotKept> {
    let (memory_bytes, expects_continue) =
        journey.read(|request| (turns.route.buffered_bytes(request.method), request.expects_continue));
    let bytes_max = journey.body_bytes_max(&turns.route);
    match journey.framing {
        Framing::Length(length) if length > bytes_max => return Err(Failure::RequestTooLarge.into()),
        Framing::Length(length) if length > BUFFERED_BODY_BYTES_MAX => {
            return Err(Failure::Spool(SpoolError::TooLarge).into());
        }
        _ => {}
    }
    // The server is not known yet, so the edge itself says that it wants the body.
    if expects_continue && client.leftover.is_empty() && journey.version != Version::Http10 {
        let mut go_on = Vec::new();
        Answer { status: 100, headers: &[], connection: Connection::Stays }.write_head(&mut go_on, Framing::None);
        if client.answer(&go_on).await.is_some() {
            return Err(NotKept::ClientLeft);
        }
    }
    let owner = Owner::new(client.peer.address, &turns.route.id);
    let filling = worker.house.spool.begin(memory_bytes.unwrap_or_default(), owner);
    let pace = Pace::new(client.times.head, Instant::now());
    let mut coming = Coming { body: Body::new(journey.framing), filling, bytes_max, pace };
    let come = poll_fn(|context| coming.poll(context, worker, client));
    match journey.deadline() {
        None => come.await?,
        Some(deadline) => timeout_at(deadline, come).await.unwrap_or(Err(Failure::Deadline.into()))?,
    }
    journey.was_read.set(true);
    journey.stored = Some(Rc::new(coming.filling.finish(coming.body)));
    Ok(())
}

struct Coming {
    body: Body,
    filling: Filling,
    bytes_max: u64,
    pace: Pace,
}

impl Coming {
    fn poll(&mut self, context: &mut Context<'_>, worker: &Worker, client: &mut Client) -> Poll<Result<(), NotKept>> {
        let mut share = Share::new();
        loop {
            match self.filling.poll_write(context) {
                Poll::Pending => {
                    client.timer.set(self.pace.writes(Instant::now()));
                    return match client.timer.has_passed(context) {
                        true => Poll::Ready(Err(Failure::Spool(SpoolError::Slow).into())),
                        false => Poll::Pending,
                    };
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Spool(error.into()).into())),
                Poll::Ready(Ok(())) if self.body.is_done() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if self.pace.is_late_when_written(Instant::now()) => {
                    return Poll::Ready(Err(Failure::RequestTimeout.into()));
                }
                Poll::Ready(Ok(())) => {}
            }
            if !client.leftover.is_empty() {
                let used = self.take(client.leftover.bytes())?;
                client.leftover.advance(used);
                continue;
            }
            let read = worker.scratch.borrow_mut().poll_read(&mut client.line, context);
            match read {
                Poll::Ready(Ok(count @ 1..)) => {
                    let scratch = worker.scratch.borrow();
                    let bytes = scratch.bytes(count);
                    let used = self.take(bytes)?;
                    client.leftover.extend(&bytes[used..]);
                    self.pace.came(self.body.data_bytes(), Instant::now());
                    if share.is_used_up(count, context) {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Err(NotKept::ClientLeft)),
                Poll::Pending if client.is_cut() => return Poll::Ready(Err(NotKept::ClientLeft)),
                Poll::Pending => {
                    client.timer.set(self.pace.due());
                    return match client.timer.has_passed(context) {
                        true => Poll::Ready(Err(Failure::RequestTimeout.into())),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Keeps what belongs to the body, framed as it is: how much that is.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, NotKept> {
        let used = self.body.advance(bytes).map_err(Failure::RequestChunk)?;
        if self.body.data_bytes() > self.bytes_max {
            return Err(Failure::RequestTooLarge.into());
        }
        self.filling.put(&bytes[..used]).map_err(Failure::Spool)?;
        Ok(used)
    }
}

impl From<Failure> for NotKept {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Tells the client why; what it still sends is not awaited.
pub(super) async fn refuse(
    worker: &Worker,
    client: &mut Client,
    journey: &Journey,
    turns: &Turns,
    not_kept: NotKept,
    guard: Option<&mut Guard<'_>>,
) -> After {
    let NotKept::Failed(failure) = not_kept else {
        turns.counts.here().answered(CLIENT_LEFT, Took::at_once(journey.begun.elapsed()));
        record::ended(worker, &client.peer, journey, Whose::route(turns), CLIENT_LEFT, Instant::now());
        return After::Close;
    };
    if let Failure::Spool(error) = &failure {
        worker.house.spool.count_refused();
        tracing::warn!(route = turns.route.id, error = %ErrorChain(error), "a request's body is not kept");
    }
    let (status, message) = (failure.status(), failure.to_string());
    turns.counts.here().answered(status, Took::at_once(journey.begun.elapsed()));
    let bytes = guard::error(worker, guard, status, &message, Close, journey.asked.head);
    journey.moved.set((0, record::body_bytes(&bytes)));
    record::ended(worker, &client.peer, journey, Whose::route(turns), status, Instant::now());
    client.answer(&bytes).await.unwrap_or(After::Linger)
}
