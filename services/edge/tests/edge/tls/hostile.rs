//! Clients whose bytes are nearly right.

use super::Authority;
use super::client::{edge_with, https};
use crate::harness::{DEADLINE, Server, eventually};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Flips a bit of one byte of what is written, or ends there.
struct Spoiled {
    stream: TcpStream,
    written: usize,
    at: usize,
    ends: bool,
}

impl AsyncRead for Spoiled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Spoiled {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        let place = self.at.checked_sub(self.written).filter(|place| *place < bytes.len());
        match place {
            Some(0) if self.ends => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(place) if self.ends => bytes.truncate(place),
            Some(place) => bytes[place] ^= 1 << (self.at % 8),
            None => {}
        }
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, &bytes))?;
        self.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of the edge's threads from here on; those of one task do not end its thread.
fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("edge-")) {
            PANICS.fetch_add(1, SeqCst);
        }
        usual(panic);
    }));
}

async fn talk(config: Arc<ClientConfig>, spoiled: Spoiled) {
    let name = ServerName::try_from("a.example").unwrap();
    if let Ok(stream) = TlsConnector::from(config).connect(name, spoiled).await {
        heard(stream).await;
    }
}

/// What answers a request, or the beginning of it.
async fn heard(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<u8> {
    let _broken = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _broken = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn no_spoiled_byte_of_a_handshake_or_a_record_panics_or_hangs_the_edge() {
    count_panics();
    // A length that is spoiled makes both wait.
    let times = edge::ClientTimes { head: Duration::from_millis(300), ..edge::ClientTimes::default() };
    let (edge, authority, server) = (edge_with(times).await, Authority::new(), Server::named("one").await);
    edge.route("a", "a.example", &[&server]).await;
    edge.store.change(&[("/roadstead/certificates/a", Some(&authority.document(&["a.example"], false)))]).await;
    let clients = [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| authority.client_of(&[version]));
    eventually("it is shown", || async { clients[0].connect(https(&edge), "a.example").await.ok() }).await;
    for client in &clients {
        // Most bytes of a hello are random ones and names; what comes behind it is short.
        for at in (0..600).step_by(13) {
            for ends in [false, true] {
                let stream = TcpStream::connect(https(&edge)).await.unwrap();
                // Not resumed, so that the whole handshake is spoiled somewhere.
                let mut config = (*client.0).clone();
                config.resumption = rustls::client::Resumption::disabled();
                let spoiled = Spoiled { stream, written: 0, at, ends };
                let talked = tokio::time::timeout(DEADLINE, talk(Arc::new(config), spoiled)).await;
                assert!(talked.is_ok(), "byte {at} hangs it");
            }
        }
    }
    assert_eq!(PANICS.load(SeqCst), 0);
    for client in &clients {
        // Who has as little time as those may be too slow on a busy machine, now and then.
        let serves = || async {
            let stream = client.connect(https(&edge), "a.example").await.ok()?.0;
            heard(stream).await.starts_with(b"HTTP/1.1 200").then_some(())
        };
        eventually("who behaves is served", serves).await;
    }
}
