//! A connection over TLS: rustls's state machine on the engine's thread, driven by whoever polls the connection.
//!
//! # Buffers
//! What comes is read into a buffer of the thread ([`wire`]), opened there, and handed over in the same breath; what goes is
//! sealed into another one and written at once. The connection itself keeps only what nobody could take yet: the part of a
//! record that came, sealed bytes that the socket refused, and opened ones that were found while somebody only looked
//! whether the peer had left. An idle connection has none of these.
//!
//! A head and its body go in as few records as they fit, one system call for all. What TLS 1.3 says of itself after the
//! handshake (tickets, new keys) goes with the next bytes that are written.
//!
//! # Ends
//! An end that the peer announced (`close_notify`) is one; any other is an error, since an attacker can make one. Of our own
//! only a connection that is closed in good order announces it.

mod sealing;
mod session;
mod wire;

use super::leftover::Leftover;
use crate::secure::servers::Upstream;
use clienthello::{Said, look};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::{CommonState, ProtocolVersion};
use session::{Session, Step};
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use wire::{RECORD_BYTES_MAX, WIRE};

pub(super) struct Tls {
    stream: TcpStream,
    session: Session,
    /// What it was made with, if it is to a server.
    upstream: Option<Arc<Upstream>>,
    /// Whom the client asked for.
    name: Option<Rc<str>>,
    /// Of a record, or of a message of the handshake, that has not come whole.
    incoming: Vec<u8>,
    /// Sealed, and not taken by the socket from here on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Opened, and not read yet.
    ahead: Leftover,
    /// The peer said that nothing follows.
    is_over: bool,
    /// Said to the peer.
    is_closed: bool,
    /// What was wrong; told once what came before is read.
    fault: Option<rustls::Error>,
}

impl Tls {
    /// Of a client that was accepted.
    pub fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(stream, Session::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// To a server.
    pub fn connect(
        stream: TcpStream,
        upstream: Arc<Upstream>,
        name: ServerName<'static>,
        offers_http2: bool,
    ) -> Result<Self, rustls::Error> {
        let session = UnbufferedClientConnection::new(upstream.config(offers_http2), name)?;
        Ok(Self { upstream: Some(upstream), ..Self::new(stream, Session::Client(session)) })
    }

    fn new(stream: TcpStream, session: Session) -> Self {
        Self {
            stream,
            session,
            upstream: None,
            name: None,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            ahead: Leftover::default(),
            is_over: false,
            is_closed: false,
            fault: None,
        }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    /// Whom the client asked for (SNI).
    pub fn server_name(&self) -> Option<&Rc<str>> {
        self.name.as_ref()
    }

    /// What was agreed on: version, cipher suite, protocol (ALPN), whether it was resumed.
    pub fn agreed(&self) -> &CommonState {
        self.session.common()
    }

    pub fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client speaks first.
        if self.incoming.is_empty() && !self.session.is_server() {
            self.advance(&mut [], |_| {}).map_err(io_error)?;
        }
        loop {
            // The last flight of TLS 1.2 is awaited; what follows the one of 1.3 is not.
            let may_wait = !self.agreed().is_handshaking()
                && self.session.is_server()
                && self.agreed().protocol_version() == Some(ProtocolVersion::TLSv1_3);
            if !may_wait {
                ready!(self.poll_flush(context))?;
            }
            if let Some(fault) = &self.fault {
                return Poll::Ready(Err(io_error(fault.clone())));
            }
            if !self.agreed().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let mut ahead = std::mem::take(&mut self.ahead);
            let filled = self.poll_fill(context, usize::MAX, |bytes| ahead.extend(bytes));
            self.ahead = ahead;
            if let Err(error) = ready!(filled) {
                // The peer is told what was wrong, if it still hears.
                let _told = self.poll_flush(context);
                return Poll::Ready(Err(error));
            }
        }
    }

    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if !self.ahead.is_empty() {
                let bytes = self.ahead.bytes();
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                self.ahead.advance(count);
                return Poll::Ready(Ok(count));
            }
            if let Some(end) = self.end() {
                return Poll::Ready(end.map(|()| 0));
            }
            let (mut filled, mut beyond) = (0, Leftover::default());
            let read = self.poll_fill(context, usize::MAX, |bytes| {
                let (fits, rest) = bytes.split_at(bytes.len().min(buffer.len() - filled));
                buffer[filled..filled + fits.len()].copy_from_slice(fits);
                filled += fits.len();
                beyond.extend(rest);
            });
            self.ahead = beyond;
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
            ready!(read)?;
        }
    }

    /// Reads a record at most, since it has to be kept.
    pub fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if !self.ahead.is_empty() {
                return Poll::Ready(Ok(1));
            }
            if let Some(end) = self.end() {
                return Poll::Ready(end.map(|()| 0));
            }
            let mut ahead = Leftover::default();
            let read = self.poll_fill(context, RECORD_BYTES_MAX, |bytes| ahead.extend(bytes));
            self.ahead = ahead;
            ready!(read)?;
        }
    }

    /// Whether the peer has neither closed nor said anything unasked; a ticket is nothing.
    pub fn is_quiet(&mut self, asks_kernel: bool) -> bool {
        loop {
            if !self.ahead.is_empty() || self.end().is_some() {
                return false;
            }
            let mut ahead = Leftover::default();
            let read = WIRE.with_borrow_mut(|wire| {
                let kept = self.take_up(wire);
                let room = &mut wire[kept..];
                let read = match asks_kernel {
                    true => wire::receive(&self.stream, room),
                    false => self.stream.try_read(room),
                };
                self.came(wire, kept, read, |bytes| ahead.extend(bytes))
            });
            self.ahead = ahead;
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
                Ok(()) => {}
            }
        }
    }

    /// Reads at most this, and opens it.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: usize,
        sink: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        WIRE.with_borrow_mut(|wire| {
            let kept = self.take_up(wire);
            let end = wire.len().min(kept.saturating_add(bytes_max));
            let mut room = ReadBuf::new(&mut wire[kept..end]);
            let read = match Pin::new(&mut self.stream).poll_read(context, &mut room) {
                Poll::Pending => Err(ErrorKind::WouldBlock.into()),
                Poll::Ready(read) => read.map(|()| room.filled().len()),
            };
            match self.came(wire, kept, read, sink) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                came => Poll::Ready(came),
            }
        })
    }

    /// Puts what came before to the front of the buffer: how much that is. It stays kept until more has come.
    fn take_up(&self, wire: &mut [u8]) -> usize {
        let kept = self.incoming.len();
        wire[..kept].copy_from_slice(&self.incoming);
        kept
    }

    /// What was read lies behind what was kept.
    fn came(
        &mut self,
        wire: &mut [u8],
        kept: usize,
        read: io::Result<usize>,
        sink: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let count = match read {
            // There is always room ([`wire`]).
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) => return Err(error),
        };
        let came = &mut wire[..kept + count];
        // The state machine knows it, and does not tell.
        let says_hello = self.session.is_server() && self.agreed().protocol_version().is_none();
        if says_hello && let Said::Name(name) = look(came) {
            self.name = Some(name.into());
        }
        let used = self.advance(came, sink);
        let left = match &used {
            Ok(used) => &came[*used..],
            Err(_) => &[],
        };
        self.incoming = left.to_vec();
        match used {
            Ok(_) => Ok(()),
            Err(error) => {
                self.fault = Some(error.clone());
                Err(io_error(error))
            }
        }
    }

    /// Goes on with what came, as far as that goes; how much of it is done with.
    fn advance(&mut self, came: &mut [u8], mut sink: impl FnMut(&[u8])) -> Result<usize, rustls::Error> {
        let mut used = 0;
        loop {
            let came = &mut came[used..];
            let (discard, step) = self.session.read(came, &mut sink, &mut self.outgoing);
            used += discard;
            match step {
                Ok(Step::More) => {}
                Ok(Step::Waits) => return Ok(used),
                Ok(Step::Over) => {
                    self.is_over = true;
                    return Ok(used);
                }
                Err(error) => {
                    self.say_why(&mut came[discard..]);
                    return Err(error);
                }
            }
        }
    }

    /// What the session wants to say of a fault, and said before. It must not look at what came once more.
    fn say_why(&mut self, came: &mut [u8]) {
        while self.agreed().wants_write() {
            let (_, step) = self.session.read(came, &mut |_| {}, &mut self.outgoing);
            if step.is_err() {
                return;
            }
        }
    }

    /// Whether it has ended, and how.
    fn end(&self) -> Option<io::Result<()>> {
        match &self.fault {
            Some(fault) => Some(Err(io_error(fault.clone()))),
            None => self.is_over.then_some(Ok(())),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn io_error(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
