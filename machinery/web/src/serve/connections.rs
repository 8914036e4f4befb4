//! The connections of one listener: their number, the HTTP spoken on them, and their end.

use super::Bounds;
use crate::tls::PeerCertificate;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

/// An HTTP/2 peer is asked for a sign of life this often (a peer of HTTP/1 has [`Bounds::head_timeout`])…
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// …and has this long to answer: one that lost its power must not keep its place among the connections for ever.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub struct Connections {
    drain_grace: Duration,
    builder: Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    slots: Arc<Semaphore>,
}

/// What a connection takes along into its task. The drain waits for it.
pub struct Seat {
    builder: Builder<TokioExecutor>,
    watcher: Watcher,
}

/// What is known of a connection's peer; handlers find it in a request's extensions.
#[derive(Clone, Default)]
pub struct Origin {
    pub address: Option<SocketAddr>,
    pub certificate: Option<PeerCertificate>,
}

impl Connections {
    pub fn new(bounds: Bounds) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head_timeout)
            .max_buf_size(bounds.head_bytes_max.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(u32::try_from(bounds.head_bytes_max).unwrap_or(u32::MAX));
        let slots = Arc::new(Semaphore::new(bounds.connections_max));
        Self { drain_grace: bounds.drain_grace, builder, graceful: GracefulShutdown::new(), slots }
    }

    pub async fn permit(&self) -> OwnedSemaphorePermit {
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    pub fn seat(&self) -> Seat {
        Seat { builder: self.builder.clone(), watcher: self.graceful.watcher() }
    }

    /// Lets requests in flight end; those that outlive the grace are left to the end of the process.
    pub async fn drain(self) {
        if tokio::time::timeout(self.drain_grace, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(grace = ?self.drain_grace, "requests in flight outlived the grace");
        }
    }
}

impl Seat {
    /// Answers requests until the connection ends, or the drain has let the last one end.
    pub async fn serve<S>(self, stream: S, router: Router, origin: Origin, permit: OwnedSemaphorePermit)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = router.map_request(move |mut request: http::Request<Incoming>| {
            if let Some(address) = origin.address {
                request.extensions_mut().insert(ConnectInfo(address));
            }
            if let Some(certificate) = &origin.certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            request.map(axum::body::Body::new)
        });
        let connection =
            self.builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        if let Err(error) = self.watcher.watch(connection.into_owned()).await {
            tracing::debug!(error, "connection");
        }
        drop(permit);
    }
}
