//! One stream of a client's connection, as a connection of HTTP/1 that carries one request: its body is read here, and what
//! the engine answers is written here.

use super::super::handshake::Agreed;
use super::super::journey::OWN_LIMITS;
use super::fault::fault;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::piece::{Piece, Sending};
use crate::limits::{HEAD_BYTES_MAX, INTERIM_BYTES_MAX};
use h2::Reason;
use h2::server::SendResponse;
use http::StatusCode;
use http1::{Asked, Framing, Parsed, Response, Storage};
use http2heads::to_map;
use std::io::{self, ErrorKind};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};

const _: () = assert!(HEAD_BYTES_MAX as u64 <= INTERIM_BYTES_MAX);

pub(in super::super) struct FromClient {
    inbound: Inbound,
    answer: Answer,
    asked: Asked,
    sending: Rc<Sending>,
    pub tls: Option<Agreed>,
}

/// How far the answer has come.
enum Answer {
    /// What came of its head.
    Head(SendResponse<Piece>, Vec<u8>),
    Body(Outbound),
}

impl FromClient {
    pub(super) fn new(
        inbound: Inbound,
        respond: SendResponse<Piece>,
        asked: Asked,
        sending: Rc<Sending>,
        tls: Option<Agreed>,
    ) -> Self {
        Self { inbound, answer: Answer::Head(respond, Vec::new()), asked, sending, tls }
    }

    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.inbound.poll_read(context, buffer)
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let taken = match &mut self.answer {
                Answer::Body(body) => body.try_write(&bytes[used..])?,
                Answer::Head(..) => self.write_head(&bytes[used..])?,
            };
            if taken == 0 {
                break;
            }
            used += taken;
        }
        Ok(used)
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.answer {
            Answer::Body(body) => body.poll_write(context, bytes),
            Answer::Head(..) => Poll::Ready(self.try_write(bytes)),
        }
    }

    /// How many of the bytes are the head's.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answer::Head(respond, kept) = &mut self.answer else { return Ok(0) };
        let mut gathered = mem::take(kept);
        let before = gathered.len();
        if before > 0 {
            gathered.extend_from_slice(bytes);
        }
        let whole = if before > 0 { &gathered[..] } else { bytes };
        let mut storage = Storage::new();
        let response = match Response::parse(whole, &mut storage, &OWN_LIMITS, self.asked) {
            Ok(Parsed::Complete(response)) => response,
            Ok(Parsed::Partial) => {
                if before == 0 {
                    gathered.extend_from_slice(bytes);
                }
                *kept = gathered;
                return Ok(bytes.len());
            }
            Err(bad) => return Err(io::Error::new(ErrorKind::InvalidData, bad)),
        };
        let head_bytes = response.head_bytes();
        let unfit = || io::Error::from(ErrorKind::InvalidData);
        let mut answer = http::Response::new(());
        *answer.headers_mut() = to_map(&whole[..head_bytes], response.headers()).ok_or_else(unfit)?;
        *answer.status_mut() = StatusCode::from_u16(response.status).map_err(|_| unfit())?;
        let (is_interim, mut framing) = (response.is_interim(), response.framing);
        if response.status == 101 {
            // A tunnel begins with 200 in HTTP/2, and needs no proof of a key (RFC 8441 §5).
            *answer.status_mut() = StatusCode::OK;
            answer.headers_mut().remove("sec-websocket-accept");
            self.inbound.becomes_tunnel();
            framing = Framing::UntilClose;
        }
        if is_interim {
            respond.send_informational(answer).map_err(fault)?;
        } else {
            let is_all = matches!(framing, Framing::None | Framing::Length(0));
            let stream = respond.send_response(answer, is_all).map_err(fault)?;
            self.answer = Answer::Body(Outbound::new(stream, framing, self.sending.clone(), is_all));
        }
        Ok(head_bytes - before)
    }

    /// Whether the client wants no more of it.
    pub fn poll_left(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.answer {
            Answer::Head(respond, _) => respond.poll_reset(context).is_ready(),
            Answer::Body(body) => body.poll_left(context),
        }
    }

    pub fn end(&mut self) -> io::Result<()> {
        match &mut self.answer {
            Answer::Head(..) => Err(ErrorKind::BrokenPipe.into()),
            Answer::Body(body) => body.end(),
        }
    }

    /// The client must not take what it got for the whole.
    pub fn reset(&mut self) {
        match &mut self.answer {
            Answer::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            Answer::Body(body) if !body.is_over() => body.reset(Reason::INTERNAL_ERROR),
            Answer::Body(_) => {}
        }
    }
}
