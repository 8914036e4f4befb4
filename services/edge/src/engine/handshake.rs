//! A client's handshake, before its first request.

use super::client::Client;
use super::line::Line;
use super::thread::Worker;
use crate::metrics::Handshakes;
use crate::secure::ALPN_ACME;
use lifecycle::ErrorChain;
use rustls::{HandshakeKind, ProtocolVersion};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::Poll;

impl Client {
    /// Whether requests may follow. It has as long as a head has.
    pub async fn shake_hands(&mut self, worker: &Worker) -> bool {
        let counts = &worker.house.metrics.busy().client_handshakes;
        let shaken = poll_fn(|context| match self.line.poll_handshake(context) {
            Poll::Pending if self.ends_idle(worker) => Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
            Poll::Pending if self.timer.has_passed(context) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
            shaken => shaken,
        });
        match shaken.await {
            Ok(()) => counts.succeeded(&self.line),
            Err(error) => {
                counts.failed.add(1);
                tracing::debug!(client = %self.peer.address, error = %ErrorChain(&error), "a handshake failed");
                return false;
            }
        }
        self.timer.set_in(self.times.head);
        let protocol = self.line.tls().and_then(|tls| tls.agreed().alpn_protocol());
        // The handshake was all that the authority wanted to see (RFC 8737 §3).
        protocol != Some(ALPN_ACME)
    }
}

/// What was agreed on with a client.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    version: &'static str,
    resumed: bool,
    cipher_suite: &'static str,
    server_name: Option<Rc<str>>,
}

impl Agreed {
    /// As middlewares see it.
    pub fn shown(&self) -> middleware::Tls<'_> {
        let &Self { version, resumed, cipher_suite, .. } = self;
        middleware::Tls { version, resumed, cipher_suite, server_name: self.server_name.as_deref().unwrap_or_default() }
    }
}

/// What was agreed on for a connection over TLS.
pub(super) fn agreed(line: &Line) -> Option<Agreed> {
    if let Line::Stream(stream) = line {
        return stream.tls().cloned();
    }
    let tls = line.tls()?;
    let agreed = tls.agreed();
    let version = match agreed.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS13",
        _ => "TLS12",
    };
    let cipher_suite = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
    Some(Agreed { version, resumed, cipher_suite, server_name: tls.server_name().cloned() })
}

impl Handshakes {
    pub(super) fn succeeded(&self, line: &Line) {
        let kind = line.tls().and_then(|tls| tls.agreed().handshake_kind());
        let counter = if kind == Some(HandshakeKind::Resumed) { &self.resumed } else { &self.full };
        counter.add(1);
    }
}
