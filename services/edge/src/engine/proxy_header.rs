//! What happens to a connection between its acceptance and its service: where a PROXY header is awaited, it is read first,
//! and whom it names is the client from then on, in everything.
//!
//! A header is awaited from those who may send one, and from nobody else: who may and does not is refused, and what anybody
//! else sends first is a request or a handshake that begins badly. The header is looked at in the kernel's buffer and
//! taken from there, so that whatever follows it is read by who comes next.

use super::registry::Entry;
use super::thread::Worker;
use super::{Face, Kind, client, tcp};
use proxyprotocol::{Accepted, Ends, Header, Parsed, parse};
use routing::Network;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Bytes looked at together: every header without certificates is shorter.
const WINDOW_BYTES: usize = 256;

/// Which header a face awaits, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    pub accepted: Accepted,
    /// None: from everybody.
    pub senders: Arc<[Network]>,
}

/// Why a connection goes no further.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Bad(#[from] proxyprotocol::Bad),
    #[error("read a PROXY header")]
    Read(#[from] io::Error),
    #[error("the connection ended within its PROXY header")]
    Ended,
}

impl ProxyHeader {
    pub fn is_awaited_from(&self, sender: IpAddr) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|network| network.contains(sender))
    }
}

/// Begins to serve a connection that was accepted.
pub(super) fn welcome(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, face: Arc<Face>, entry: Entry) {
    match &face.proxy_header {
        Some(header) if header.is_awaited_from(peer.ip()) => {
            let accepted = header.accepted;
            spawn_local(async move {
                let Some((stream, named)) = announced(&worker, stream, peer, &face, &entry, accepted).await else {
                    return;
                };
                serve(worker, stream, named.map_or(peer, |ends| ends.source), face, entry);
            });
        }
        _ => serve(worker, stream, peer, face, entry),
    }
}

fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, face: Arc<Face>, entry: Entry) {
    match face.kind {
        Kind::Http => match face.line(stream) {
            Ok(line) => drop(spawn_local(client::serve(worker, line, peer, face, entry))),
            Err(error) => tracing::warn!(address = %face.address, %error, "a listener cannot speak TLS"),
        },
        Kind::Tcp => drop(spawn_local(tcp::serve(worker, stream, peer, face, entry))),
    }
}

/// Waits for the header, and says whom it names, if it does.
async fn announced(
    worker: &Worker,
    stream: TcpStream,
    peer: SocketAddr,
    face: &Face,
    entry: &Entry,
    accepted: Accepted,
) -> Option<(TcpStream, Option<Ends<SocketAddr>>)> {
    let (mut came, shuts) = (Vec::new(), worker.shuts());
    let header = poll_fn(|context| {
        entry.wake_by(context.waker());
        match poll_header(&stream, &mut came, accepted, context) {
            Poll::Pending if worker.ends_idle(face, shuts) => Poll::Ready(None),
            header => header.map(Some),
        }
    });
    match timeout(worker.house.client_times.head, header).await.ok()?? {
        Ok(header) => Some((stream, header.tcp())),
        Err(error) => {
            tracing::debug!(%peer, face = %face.address, %error, "refused");
            None
        }
    }
}

/// `came` is what was taken of it so far.
fn poll_header(
    stream: &TcpStream,
    came: &mut Vec<u8>,
    accepted: Accepted,
    context: &mut Context<'_>,
) -> Poll<Result<Header, Refused>> {
    loop {
        let mut window = [0; WINDOW_BYTES];
        let seen = ready!(stream.poll_peek(context, &mut ReadBuf::new(&mut window)))?;
        if seen == 0 {
            return Poll::Ready(Err(Refused::Ended));
        }
        let before = came.len();
        came.extend_from_slice(&window[..seen]);
        let (header, used) = match parse(came, accepted)? {
            Parsed::Partial => (None, seen),
            Parsed::Complete(header, bytes) => (Some(header), bytes - before),
        };
        // What was seen is there.
        if stream.try_read(&mut window[..used])? != used {
            return Poll::Ready(Err(Refused::Ended));
        }
        if let Some(header) = header {
            return Poll::Ready(Ok(header));
        }
    }
}
