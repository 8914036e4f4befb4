//! One stream of a connection to a server, as a connection of HTTP/1 that carries one request: the request is written here,
//! and the response is read here.

use super::super::journey::OWN_LIMITS;
use super::fault::fault;
use super::inbound::Inbound;
use super::links::Place;
use super::outbound::Outbound;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes};
use h2::Reason;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http1::{Coding, Framing};
use http2heads::{put_line, put_lines};
use sha1::{Digest, Sha1};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a server proves that it speaks the protocol with (RFC 6455 §1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(in super::super) struct ToServer {
    request: Request,
    response: Response,
    /// Of a response's head, what was not read.
    head: Bytes,
    is_to_head: bool,
    /// The request would switch protocols, with this key.
    upgrade: Option<Vec<u8>>,
    place: Place,
}

/// How far the request has come.
enum Request {
    /// What came of its head.
    Head(Vec<u8>),
    Body(Outbound),
}

/// How far the response has.
enum Response {
    Unasked,
    Awaited(ResponseFuture),
    Body(Inbound),
}

impl ToServer {
    pub(super) fn new(place: Place) -> Self {
        let (request, response) = (Request::Head(Vec::new()), Response::Unasked);
        Self { request, response, head: Bytes::new(), is_to_head: false, upgrade: None, place }
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let taken = match &mut self.request {
                Request::Body(body) => body.try_write(&bytes[used..])?,
                Request::Head(_) => self.write_head(&bytes[used..])?,
            };
            if taken == 0 {
                break;
            }
            used += taken;
        }
        Ok(used)
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.request {
            Request::Body(body) => body.poll_write(context, bytes),
            Request::Head(_) => Poll::Ready(self.try_write(bytes)),
        }
    }

    /// How many of the bytes are the head's.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Request::Head(kept) = &mut self.request else { return Ok(0) };
        let mut gathered = mem::take(kept);
        let before = gathered.len();
        if before > 0 {
            gathered.extend_from_slice(bytes);
        }
        let whole = if before > 0 { &gathered[..] } else { bytes };
        let Some(mut asked) = http2heads::read(whole, &OWN_LIMITS, self.place.scheme(), self.place.takes_protocols())?
        else {
            if before == 0 {
                gathered.extend_from_slice(bytes);
            }
            *kept = gathered;
            return Ok(bytes.len());
        };
        let framing = if asked.upgrade.is_some() { Framing::UntilClose } else { asked.framing };
        let is_all = framing == Framing::None;
        self.is_to_head = asked.request.method() == http::Method::HEAD;
        if asked.upgrade.is_some() {
            asked.request.extensions_mut().insert(Protocol::from_static("websocket"));
        }
        self.upgrade = asked.upgrade;
        let (response, stream) = self.place.send(asked.request, is_all).map_err(fault)?;
        self.response = Response::Awaited(response);
        self.request = Request::Body(Outbound::new(stream, framing, self.place.sending(), is_all));
        Ok(asked.head_bytes - before)
    }

    /// Reads; 0 at the end.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.head.is_empty() && !matches!(self.response, Response::Body(_)) {
            self.head = ready!(self.poll_head(context))?;
        }
        if !self.head.is_empty() {
            let taken = self.head.len().min(buffer.len());
            self.head.copy_to_slice(&mut buffer[..taken]);
            // What there is of the body comes along.
            return match self.poll_body(context, &mut buffer[taken..]) {
                Poll::Ready(Ok(more)) => Poll::Ready(Ok(taken + more)),
                _ => Poll::Ready(Ok(taken)),
            };
        }
        self.poll_body(context, buffer)
    }

    fn poll_body(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.response {
            Response::Body(body) if self.head.is_empty() && !buffer.is_empty() => body.poll_read(context, buffer),
            _ => Poll::Pending,
        }
    }

    /// The next head.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Response::Awaited(awaited) = &mut self.response else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let mut head = Vec::new();
        match awaited.poll_informational(context) {
            Poll::Ready(Some(Ok(interim))) if interim.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Poll::Ready(Err(self.malformed()));
            }
            Poll::Ready(Some(Ok(interim))) => {
                put_head(&mut head, interim.status(), interim.headers(), Ending::None);
                return Poll::Ready(Ok(head.into()));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(fault(error))),
            Poll::Ready(None) => {}
            Poll::Pending => return Poll::Pending,
        }
        let (parts, stream) = ready!(Pin::new(awaited).poll(context)).map_err(fault)?.into_parts();
        let is_switch = self.upgrade.is_some() && parts.status == StatusCode::OK;
        let ending = match stream.is_end_stream() {
            _ if is_switch => Ending::Switch(self.upgrade.as_deref().unwrap_or_default()),
            _ if parts.headers.contains_key(CONTENT_LENGTH) => Ending::None,
            true if self.is_to_head || never_has_body(parts.status) => Ending::None,
            true => Ending::Empty,
            false => Ending::Chunked,
        };
        let coding = if ending == Ending::Chunked { Coding::Chunked } else { Coding::Plain };
        put_head(&mut head, parts.status, &parts.headers, ending);
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.response = Response::Body(Inbound::new(stream, coding, length.filter(|_| !is_switch)));
        Poll::Ready(Ok(head.into()))
    }

    /// A response that HTTP/2 does not allow (RFC 9113 §8.1.1), such as one with status 101 (§8.6), which HTTP/1 would take for
    /// a switch of protocols.
    fn malformed(&mut self) -> io::Error {
        if let Request::Body(body) = &mut self.request {
            body.reset(Reason::PROTOCOL_ERROR);
        }
        fault(Reason::PROTOCOL_ERROR.into())
    }

    pub fn end(&mut self) -> io::Result<()> {
        match &mut self.request {
            Request::Head(_) => Err(ErrorKind::BrokenPipe.into()),
            Request::Body(body) => body.end(),
        }
    }
}

/// What a head says of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending<'a> {
    /// What its fields say.
    None,
    Empty,
    Chunked,
    /// A tunnel, asked for with this key.
    Switch(&'a [u8]),
}

fn put_head(out: &mut Vec<u8>, status: StatusCode, fields: &HeaderMap, ending: Ending<'_>) {
    let status = if matches!(ending, Ending::Switch(_)) { StatusCode::SWITCHING_PROTOCOLS } else { status };
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(http1::reason(status.as_u16()).as_bytes());
    out.extend_from_slice(b"\r\n");
    put_lines(out, fields);
    match ending {
        Ending::None => {}
        Ending::Empty => put_line(out, "content-length", b"0"),
        Ending::Chunked => put_line(out, "transfer-encoding", b"chunked"),
        Ending::Switch(key) => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
            put_line(out, "sec-websocket-accept", proof(key).as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn proof(key: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(WEBSOCKET_GUID).finalize())
}

fn never_has_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::{Asked, Limits, Parsed, Storage};

    /// RFC 6455 §1.3.
    #[test]
    fn a_key_is_proved_as_the_protocol_says() {
        assert_eq!(proof(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn every_ending_of_a_head_is_understood() {
        let limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };
        let endings =
            [(Ending::None, Framing::UntilClose), (Ending::Empty, Framing::None), (Ending::Chunked, Framing::Chunked)];
        for (ending, framing) in endings {
            let mut head = Vec::new();
            put_head(&mut head, StatusCode::OK, &HeaderMap::new(), ending);
            let mut storage = Storage::new();
            let read = http1::Response::parse(&head, &mut storage, &limits, Asked::default());
            assert!(matches!(read, Ok(Parsed::Complete(read)) if read.framing == framing), "{ending:?}");
        }
        let mut head = Vec::new();
        put_head(&mut head, StatusCode::OK, &HeaderMap::new(), Ending::Switch(b"a"));
        let (mut storage, asked) = (Storage::new(), Asked { head: false, upgrade: true });
        let Ok(Parsed::Complete(read)) = http1::Response::parse(&head, &mut storage, &limits, asked) else { panic!() };
        assert_eq!((read.status, read.upgrade), (101, Some(&b"websocket"[..])));
    }
}
