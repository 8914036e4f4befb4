//! Dials TCP by name, with TLS on it or without, or one Unix socket whatever the name.

use crate::tls::{self, HandshakeError};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tower_service::Service;

#[derive(Clone, Debug)]
pub enum Connector {
    Tcp(HttpConnector),
    /// Speaks TLS only: a URL that is not `https` is refused, so that nothing leaves in the clear by a slip.
    Tls(HttpConnector, Arc<ClientConfig>),
    Unix(PathBuf),
}

#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error("{uri} is not https, and this client speaks TLS only")]
    Scheme { uri: http::Uri },
    #[error("reach {host} securely")]
    Handshake { host: String, source: HandshakeError },
}

impl Connector {
    pub fn tls(mut tcp: HttpConnector, config: Arc<ClientConfig>) -> Self {
        tcp.enforce_http(false);
        Self::Tls(tcp, config)
    }

    /// The same way to the server, secured. What reaches a Unix socket needs no TLS.
    pub fn secured(self, config: Arc<ClientConfig>) -> Self {
        match self {
            Self::Tcp(tcp) | Self::Tls(tcp, _) => Self::tls(tcp, config),
            Self::Unix(path) => Self::Unix(path),
        }
    }
}

impl Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = lifecycle::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Tcp(connector) | Self::Tls(connector, _) => connector.poll_ready(context).map_err(Into::into),
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        match self {
            Self::Tcp(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Stream::Tcp(connecting.await?)) })
            }
            Self::Tls(connector, config) => {
                if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
                    return Box::pin(async move { Err(TlsError::Scheme { uri }.into()) });
                }
                let host = uri.host().unwrap_or_default().to_owned();
                let (connecting, config) = (connector.call(uri), config.clone());
                Box::pin(async move {
                    let stream = connecting.await?.into_inner();
                    let stream = tls::connect(config, &host, stream).await;
                    let stream = stream.map_err(|source| TlsError::Handshake { host, source })?;
                    Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
                })
            }
            Self::Unix(path) => {
                let path = path.clone();
                Box::pin(async move {
                    let context =
                        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                    Ok(Stream::Unix(TokioIo::new(UnixStream::connect(&path).await.map_err(context)?)))
                })
            }
        }
    }
}

pub enum Stream {
    Tcp(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
    Unix(TokioIo<UnixStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
