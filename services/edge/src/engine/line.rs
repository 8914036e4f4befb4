//! A connection as the engine sees it: a client's or a server's, in the clear or over TLS. What is written once for it (heads,
//! bodies, failover, tunnels) is written for all kinds.
//!
//! In the clear everything goes straight to the socket. The other kinds are on the heap, so that a connection in the clear
//! is not larger for them.

use super::http2::Stream;
use super::tls::Tls;
use crate::secure::servers::Upstream;
use nix::libc;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<Tls>),
    /// Of HTTP/2: it carries one request.
    Stream(Box<Stream>),
}

/// What of a body is put behind its head rather than sent as a piece of its own: two pieces cost a system call more than
/// copying does,
const COPIED_BYTES_MAX: usize = 2048;
/// and over TLS a record more, which has 16 KiB at most (RFC 8446 §5.1), over HTTP/2 a frame.
const COPIED_BYTES_MAX_TLS: usize = 12 * 1024;

impl Line {
    /// In the clear and a socket: its bytes may go through the kernel alone.
    pub fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) | Self::Stream(_) => None,
        }
    }

    /// The socket underneath, if it is this connection's alone.
    pub fn socket(&self) -> Option<SockRef<'_>> {
        match self {
            Self::Plain(stream) => Some(SockRef::from(stream)),
            Self::Tls(tls) => Some(SockRef::from(tls.socket())),
            Self::Stream(_) => None,
        }
    }

    /// Where the peer connected to.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.socket()?.local_addr().ok()?.as_socket()
    }

    /// Nobody on the way can read it.
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::Stream(stream) => stream.tls().is_some(),
        }
    }

    /// What was agreed on, if it is TLS.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Plain(_) | Self::Stream(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }

    /// One request of a connection of HTTP/2.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// To a server over TLS: it carries requests of routes that ask for the same.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Plain(_) | Self::Stream(_) => None,
            Self::Tls(tls) => tls.upstream(),
        }
    }

    /// Ready when requests can be sent and read.
    pub fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Stream(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_handshake(context),
        }
    }

    /// Reads; 0 at the end. One that the peer did not announce, over TLS, is an error: something may be missing.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
            Self::Tls(tls) => tls.poll_read(context, buffer),
            Self::Stream(stream) => stream.poll_read(context, buffer),
        }
    }

    /// Whether there is something to read (1) or an end (0). What there is stays where it is.
    pub fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_peek(context, &mut ReadBuf::new(&mut [0])),
            Self::Tls(tls) => tls.poll_peek(context),
            Self::Stream(stream) => stream.poll_peek(context),
        }
    }

    /// Whether the peer is known to want no answer any more, though not all of its body was read. A socket does not say so:
    /// what it has to read comes first.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::Stream(stream) => stream.poll_peek(context).is_ready(),
        }
    }

    /// Writes what is taken at once, maybe nothing; `pending_bytes` may have more than before.
    pub fn try_write(&mut self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => return tls.try_write(head, body),
            Self::Stream(stream) => return stream.try_write(head, body),
        };
        let written = match (head, body) {
            ([], []) => return Ok(0),
            (one, []) | ([], one) => stream.try_write(one),
            (head, body) => stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// As `try_write`, of the last there is. What is taken whole goes out together with the end, a packet less for both sides;
    /// at once, since a socket that is closed while the client's bytes lie in it unread forgets what it has not sent.
    pub fn try_write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Plain(stream) = self else { return self.try_write(bytes, &[]) };
        let (socket, flags) = (SockRef::from(&*stream), libc::MSG_MORE | libc::MSG_NOSIGNAL);
        match stream.try_io(Interest::WRITABLE, || socket.send_with_flags(bytes, flags)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Ok(taken) if taken == bytes.len() => socket.shutdown(Shutdown::Write).map(|()| taken),
            written => written,
        }
    }

    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(tls) => tls.poll_write(context, bytes),
            Self::Stream(stream) => stream.poll_write(context, bytes),
        }
    }

    /// Bytes that were written here, and that the peer has not taken.
    pub fn pending_bytes(&self) -> usize {
        match self {
            Self::Plain(_) | Self::Stream(_) => 0,
            Self::Tls(tls) => tls.pending_bytes(),
        }
    }

    /// Ready when the peer has taken everything that was written.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Stream(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(context),
        }
    }

    /// Ends this direction.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(tls) => tls.poll_shutdown(context),
            Self::Stream(stream) => Poll::Ready(stream.end()),
        }
    }

    /// Reads and throws away; 0 at the end.
    pub fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.socket_mut(),
            // Who ends a stream is rid of what comes on it.
            Self::Stream(_) => return Poll::Ready(Ok(0)),
        };
        let mut sink = [MaybeUninit::uninit(); 4096];
        let mut sink = ReadBuf::uninit(&mut sink);
        ready!(Pin::new(stream).poll_read(context, &mut sink))?;
        Poll::Ready(Ok(sink.filled().len()))
    }

    /// Tells the peer that what it got is all there is, before this is dropped. Over TLS an end without that looks like one
    /// that an attacker made.
    pub fn close(&mut self) {
        match self {
            Self::Plain(_) | Self::Stream(_) => {}
            Self::Tls(tls) => tls.close(),
        }
    }

    /// What the peer got is not all there is: [`Line::close`] will not say so.
    pub fn abandon(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(tls) => tls.abandon(),
            // What is not sent whole when it is dropped is reset.
            Self::Stream(_) => {}
        }
    }

    /// The peer will not take what it got for the whole, once this is dropped.
    pub fn reset(&mut self) {
        if let Self::Stream(stream) = self {
            stream.reset();
        }
        // A socket that refuses is closed as any other.
        let _closing = self.socket().map(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// For a connection that is kept: whether the peer has neither closed nor said anything unasked. What the runtime has
    /// heard costs no system call; `asks_kernel` wants to know better.
    pub fn is_quiet(&mut self, asks_kernel: bool) -> bool {
        let said = match self {
            Self::Plain(stream) if asks_kernel => SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]),
            Self::Plain(stream) => stream.try_read(&mut [0]),
            Self::Tls(tls) => return tls.is_quiet(asks_kernel),
            Self::Stream(_) => return false,
        };
        said.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Bytes of a body that go behind its head.
    pub fn copied_bytes_max(&self) -> usize {
        match self {
            Self::Plain(_) => COPIED_BYTES_MAX,
            Self::Tls(_) | Self::Stream(_) => COPIED_BYTES_MAX_TLS,
        }
    }
}
