//! From the server to the client: the response's head, and its body as it comes ([`body`]).

mod body;

use super::answer::Failure;
use super::coding::Coding;
use super::encoder::Encoder;
use super::exchange::{End, Exchange, head_timeout};
use super::journey::limits;
use super::orders::{Orders, edits};
use super::splice::Pipe;
use crate::limits::{BODY_IDLE_MAX, FIRST_BYTES_OF_MUCH, INTERIM_BYTES_MAX, READ_AHEAD_BYTES_MAX, SPLICE_BYTES_MIN};
use crate::observation::Trail;
use http1::{Answer, Body, Connection, Edit, Framing, Parsed, Response, Storage, Version};
use middleware::ResponseEdits;
use std::io::{self, ErrorKind};
use std::mem;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a server answered, its head already on its way to the client.
pub(super) enum Reply {
    Response(Download),
    /// The connections are a tunnel now.
    Switched,
}

pub(super) struct Download {
    pub status: u16,
    body: Body,
    coding: Coding,
    /// What the body goes through if it is compressed; the framing is its own.
    encoder: Option<Box<Encoder>>,
    /// What a large body goes through.
    pub pipe: Option<Pipe>,
    /// The server's connection can be used again afterwards.
    pub keeps_server: bool,
    /// The client's connection ends with it.
    pub closes: bool,
    pub is_bodiless: bool,
    /// It is worth to go through the kernel alone.
    pub is_much: bool,
    /// What the timer is set for.
    waits_for: Waits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    No,
    Server,
    Client,
}

/// What was found in the bytes of a response.
enum Look {
    /// They are not enough, from here on.
    More(usize),
    Reply(Reply),
}

impl Download {
    pub fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// Bytes of the body that the client was sent.
    pub fn sent_bytes(&self) -> u64 {
        self.encoder.as_ref().map_or(self.body.data_bytes(), |encoder| encoder.encoded_bytes)
    }
}

impl Exchange<'_, '_> {
    /// Sends what is left of the request, and waits for the head of the response.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply, End>> {
        loop {
            if self.poll_upload(context)? && !self.upload.is_held() {
                self.client.timer.set_in(self.head_wait());
            }
            let came = match self.to_client.poll_flush(&mut self.client.line, context) {
                Poll::Ready(Ok(())) => {
                    self.journey.is_answered.set(false);
                    self.poll_first(context)
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::ClientLeft)),
                // More interim responses are not taken than the client takes.
                Poll::Pending => Poll::Pending,
            };
            match came {
                Poll::Ready(Ok(count @ 1..)) => {
                    if let Some(reply) = self.came(count)? {
                        return Poll::Ready(Ok(reply));
                    }
                    if self.has_head {
                        self.client.timer.set_in(self.head_wait());
                    }
                    continue;
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(self.broken(ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(error))),
                Poll::Pending => {}
            }
            if self.poll_left(context) {
                return Poll::Ready(Err(End::ClientLeft));
            }
            if !self.client.timer.has_passed(context) {
                return Poll::Pending;
            }
            if self.upload.is_held() {
                self.ask_for_body()?;
                continue;
            }
            return Poll::Ready(Err(match self.upload.awaits_client() {
                _ if !self.to_client.is_empty() => End::ClientLeft,
                _ if self.has_head => Failure::BodyTimeout.into(),
                true => Failure::RequestTimeout.into(),
                false => Failure::HeadTimeout.into(),
            }));
        }
    }

    /// For the head, or for more of a body that is read ahead.
    fn head_wait(&self) -> Duration {
        if self.has_head { self.idle_max() } else { head_timeout(self.journey, self.admitted) }
    }

    /// Whether the client has left. While its body is awaited reading it says so; while the server is, nobody reads.
    fn poll_left(&mut self, context: &mut Context<'_>) -> bool {
        if self.upload.is_free_of_client() {
            return self.client.poll_left(context);
        }
        !self.upload.awaits_client() && self.client.line.poll_gone(context)
    }

    fn idle_max(&self) -> Duration {
        self.journey.orders.as_deref().map_or(BODY_IDLE_MAX, Orders::idle_max)
    }

    fn poll_upload(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if self.upload.is_done() {
            return Ok(false);
        }
        let polled = self.upload.poll(context, self.worker, self.client, &mut self.connection, self.admitted);
        polled.map_err(|failure| match failure {
            Failure::RequestBody if self.client.line.poll_gone(context) => End::ClientLeft,
            failure => failure.into(),
        })
    }

    /// Reads what the response begins with.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.connection.brings_much || self.has_head {
            return self.poll_server(context);
        }
        let mut scratch = self.worker.scratch.borrow_mut();
        scratch.poll_read_at_most(FIRST_BYTES_OF_MUCH, &mut self.connection.line, context)
    }

    fn poll_server(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.worker.scratch.borrow_mut().poll_read(&mut self.connection.line, context)
    }

    /// The server's connection ended before the response went on.
    fn broken(&self, error: io::Error) -> End {
        End::Failed(if self.has_head { Failure::Body(error) } else { Failure::before_head(error) })
    }

    /// Looks at what came of the response, behind what came before.
    fn came(&mut self, count: usize) -> Result<Option<Reply>, End> {
        let worker = self.worker;
        let scratch = worker.scratch.borrow();
        let came = scratch.bytes(count);
        let mut gathered = mem::take(&mut self.gathered);
        if gathered.is_empty() {
            return Ok(match self.look(came)? {
                Look::Reply(reply) => Some(reply),
                Look::More(from) => {
                    self.gathered.extend_from_slice(&came[from..]);
                    None
                }
            });
        }
        gathered.extend_from_slice(came);
        Ok(match self.look(&gathered)? {
            Look::Reply(reply) => Some(reply),
            Look::More(from) => {
                gathered.drain(..from);
                self.gathered = gathered;
                None
            }
        })
    }

    fn look(&mut self, bytes: &[u8]) -> Result<Look, End> {
        let limits = limits(self.connection.line.is_stream());
        let mut from = 0;
        loop {
            let mut storage = Storage::new();
            let response = match Response::parse(&bytes[from..], &mut storage, limits, self.journey.asked) {
                Ok(Parsed::Complete(response)) => response,
                Ok(Parsed::Partial) => return Ok(Look::More(from)),
                Err(bad) => return Err(Failure::Head(bad).into()),
            };
            let rest = &bytes[from + response.head_bytes()..];
            if response.is_interim() {
                self.pass_interim(&response)?;
                from += response.head_bytes();
                continue;
            }
            let (worker, peer) = (self.worker, &self.client.peer);
            if !self.has_head {
                self.admitted.observe(response.status);
            }
            if response.status == 101 && !self.upload.is_done() {
                return Err(Failure::EarlySwitch.into());
            }
            if response.status == 101 {
                return self.switch(&response, rest).map(Look::Reply);
            }
            // A client that has a part of an interim response gets the rest of it.
            if self.to_client.is_empty()
                && let Some(next) = self.journey.go_on(worker, peer, self.admitted, response.status, false)
            {
                self.journey.attempted(self.admitted, Some(response.status), None);
                return Err(End::Elsewhere(Box::new(next)));
            }
            let is_read_ahead = self.journey.is_get
                && matches!(response.framing, Framing::Length(length)
                    if length <= READ_AHEAD_BYTES_MAX && (rest.len() as u64) < length)
                && self.journey.has_alternative(self.admitted);
            if is_read_ahead {
                self.has_head = true;
                return Ok(Look::More(from));
            }
            return self.begin(&response, rest).map(|download| Look::Reply(Reply::Response(download)));
        }
    }

    /// Sends the head on, and what came of the body.
    fn begin(&mut self, response: &Response<'_>, rest: &[u8]) -> Result<Download, End> {
        let is_old = self.journey.version == Version::Http10;
        let (coding, framing) = match response.framing {
            Framing::Chunked if is_old => (Coding::OutOfChunks, Some(Framing::UntilClose)),
            Framing::UntilClose if !is_old => (Coding::IntoChunks, Some(Framing::Chunked)),
            _ => (Coding::AsItCame, None),
        };
        // What the middlewares say of it, though no byte of it may have gone to the client yet, is said once.
        let asked = self.guard.as_mut().map(|guard| guard.response(self.worker, response)).unwrap_or_default();
        let mut encoder = match asked.encoding {
            None => None,
            Some(encoding) => Some(Box::new(Encoder::new(encoding, !is_old).map_err(Failure::Body)?)),
        };
        let (coding, framing) = match (&encoder, is_old) {
            (None, _) => (coding, framing),
            (Some(_), true) => (Coding::AsItCame, Some(Framing::UntilClose)),
            (Some(_), false) => (Coding::AsItCame, Some(Framing::Chunked)),
        };
        let ends_with_connection = framing.unwrap_or(response.framing) == Framing::UntilClose;
        let closes = ends_with_connection
            || !self.journey.keep_alive
            || !self.upload.is_done()
            || self.worker.is_ending(&self.client.peer.face);
        let connection = match (closes, is_old) {
            (true, _) => Connection::Close,
            (false, true) => Connection::KeepAlive,
            (false, false) => Connection::Stays,
        };
        let out = &mut *self.worker.head.borrow_mut();
        out.clear();
        self.put_head(out, response, &asked, connection, framing);
        let mut body = Body::new(response.framing);
        let (used, as_it_is) = match &mut encoder {
            None => coding.put(out, &mut body, rest).map_err(Failure::Chunk)?,
            Some(encoder) => (encoder.put(out, &mut body, rest)?, 0),
        };
        self.journey.is_answered.set(true);
        self.count(response.head_bytes() as u64 + body.data_bytes());
        let (line, rest_as_it_is) = (&mut self.client.line, &rest[..as_it_is]);
        let sent = match closes && body.is_done() && encoder.is_none() {
            true => self.to_client.send_last(line, out, rest_as_it_is),
            false => self.to_client.send_all(line, out, rest_as_it_is),
        };
        sent.map_err(|error| match error.kind() {
            ErrorKind::InvalidData if self.client.line.is_stream() => End::Failed(Failure::Untold(error)),
            _ => End::ClientLeft,
        })?;
        let keeps_server = response.keep_alive && used == rest.len();
        Ok(Download {
            status: response.status,
            body,
            coding,
            encoder,
            pipe: None,
            keeps_server,
            closes,
            is_bodiless: response.framing == Framing::None,
            is_much: matches!(response.framing, Framing::Length(length) if length >= SPLICE_BYTES_MIN),
            waits_for: Waits::No,
        })
    }

    /// Writes the head as the client receives it.
    fn put_head(
        &self,
        out: &mut Vec<u8>,
        response: &Response<'_>,
        asked: &ResponseEdits<'_>,
        connection: Connection<'_>,
        framing: Option<Framing>,
    ) {
        let cookie = self.admitted.set_cookie(self.client.peer.is_secure);
        let mut edits = edits(&asked.headers);
        edits.extend(cookie.as_ref().and_then(|cookie| Edit::add("Set-Cookie", cookie.as_bytes())));
        edits.extend(self.journey.trail.as_deref().and_then(Trail::response_edit));
        response.write(out, &http1::Reply { connection, framing, date: None, edits: &edits });
    }

    /// An interim response (RFC 9110 §15.2); HTTP/1.0 knows none.
    fn pass_interim(&mut self, response: &Response<'_>) -> Result<(), End> {
        self.interim_bytes += response.head_bytes() as u64;
        if self.interim_bytes > INTERIM_BYTES_MAX {
            return Err(Failure::Interim.into());
        }
        let is_go_ahead = response.status == 100;
        if is_go_ahead && self.upload.is_held() {
            self.upload.open();
            self.client.timer.set_in(head_timeout(self.journey, self.admitted));
        }
        if self.journey.version == Version::Http10 || is_go_ahead && self.was_continued {
            return Ok(());
        }
        let out = &mut *self.worker.head.borrow_mut();
        out.clear();
        response.write(out, &http1::Reply { connection: Connection::Stays, framing: None, date: None, edits: &[] });
        self.send_interim(out)
    }

    /// The server keeps silent about `Expect`: the client is not left waiting.
    fn ask_for_body(&mut self) -> Result<(), End> {
        self.upload.open();
        self.was_continued = true;
        self.client.timer.set_in(head_timeout(self.journey, self.admitted));
        let mut out = Vec::new();
        Answer { status: 100, headers: &[], connection: Connection::Stays }.write_head(&mut out, Framing::None);
        self.send_interim(&out)
    }

    fn send_interim(&mut self, head: &[u8]) -> Result<(), End> {
        self.to_client.send(&mut self.client.line, head, &[]).map_err(|_| End::ClientLeft)?;
        // Nothing else can follow a part of it.
        self.journey.is_answered.set(!self.to_client.is_empty());
        Ok(())
    }

    fn switch(&mut self, response: &Response<'_>, rest: &[u8]) -> Result<Reply, End> {
        let protocol = response.upgrade.unwrap_or(b"websocket");
        let connection = Connection::Upgrade(protocol);
        let asked = self.guard.as_mut().map(|guard| guard.response(self.worker, response)).unwrap_or_default();
        let out = &mut *self.worker.head.borrow_mut();
        out.clear();
        self.put_head(out, response, &asked, connection, None);
        self.count((response.head_bytes() + rest.len()) as u64);
        self.to_client.send(&mut self.client.line, out, rest).map_err(|_| End::ClientLeft)?;
        Ok(Reply::Switched)
    }

    fn count(&self, bytes: u64) {
        self.admitted.counts().here().response_bytes.add(bytes);
        self.admitted.server().counts.here().response_bytes.add(bytes);
    }
}
