//! One question to a server: how it is.

use super::Check;
use crate::limits::HEALTH_ANSWER_BYTES_MAX;
use crate::secure::ALPN_HTTP2;
use crate::secure::servers::Upstream;
use bytes::Bytes;
use http1::{Asked, Limits, Parsed, Response, Storage};
use lifecycle::BoxError;
use proxyprotocol::{Origin, write_v1, write_v2};
use routing::{HealthKind, HealthSpec, Scheme, SendProxy, ServerTls, ServerUrl};
use std::io;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why a server's answer was a bad one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("speak TLS")]
    Tls(#[source] BoxError),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the answer is not understood")]
    Nonsense,
    #[error("it answered {0}")]
    Status(u16),
}

pub(super) async fn ask(check: &Check) -> Result<(), Bad> {
    let Check { url, spec, send_proxy } = check;
    let mut stream = TcpStream::connect((url.host(), url.port())).await.map_err(Bad::Connect)?;
    if let Some(version) = send_proxy {
        stream.write_all(&own_header(*version)).await.map_err(Bad::Broken)?;
    }
    if spec.kind == HealthKind::Tcp {
        return Ok(());
    }
    if !url.is_secure() {
        return ask_over(stream, url, spec, url.scheme() == Scheme::H2c).await;
    }
    // Whom its certificate names is for requests to find out.
    let anybody = ServerTls { insecure_skip_verify: true, ..ServerTls::default() };
    let upstream = Upstream::of(&anybody).map_err(|error| Bad::Tls(error.into()))?;
    let name = upstream.name_of(url).map_err(|error| Bad::Tls(error.into()))?;
    let config = upstream.config(url.scheme() == Scheme::H2);
    let secured = TlsConnector::from(config).connect(name, stream).await.map_err(|error| Bad::Tls(error.into()))?;
    let is_http2 = secured.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    ask_over(secured, url, spec, is_http2).await
}

/// The connection is for nobody but the edge itself ("The PROXY protocol", section 2), which version 1 has no other word for
/// than that it is for somebody unknown.
fn own_header(version: SendProxy) -> Vec<u8> {
    let mut header = Vec::new();
    match version {
        SendProxy::V1 => write_v1(&Origin::Unknown, &mut header),
        SendProxy::V2 => write_v2(&Origin::Local, &[], false, &mut header),
    }
    header
}

async fn ask_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &ServerUrl,
    spec: &HealthSpec,
    is_http2: bool,
) -> Result<(), Bad> {
    let host = spec.host.as_deref().unwrap_or(url.authority());
    if is_http2 {
        let scheme = if url.is_secure() { "https" } else { "http" };
        return match ask_http2(stream, &format!("{scheme}://{host}{}", spec.path)).await? {
            status if spec.status.contains(status) => Ok(()),
            status => Err(Bad::Status(status)),
        };
    }
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roadstead-health\r\nConnection: close\r\n\r\n",
        spec.path
    );
    stream.write_all(request.as_bytes()).await.map_err(Bad::Broken)?;
    let mut answer = Vec::new();
    loop {
        match status(&answer)? {
            Some(status) if spec.status.contains(status) => return Ok(()),
            Some(status) => return Err(Bad::Status(status)),
            None if answer.len() >= HEALTH_ANSWER_BYTES_MAX => return Err(Bad::Nonsense),
            None => {}
        }
        if stream.read_buf(&mut answer).await.map_err(Bad::Broken)? == 0 {
            return Err(Bad::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The status of what a server of HTTP/2 answers.
pub(super) async fn ask_http2(stream: impl AsyncRead + AsyncWrite + Unpin, uri: &str) -> Result<u16, Bad> {
    let broken = |error: h2::Error| Bad::Broken(io::Error::other(error));
    let request = http::Request::get(uri).header("user-agent", "roadstead-health");
    let request = request.body(()).map_err(|_| Bad::Nonsense)?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(HEALTH_ANSWER_BYTES_MAX as u32);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(broken)?;
    let (response, _) = sender.send_request(request, true).map_err(broken)?;
    let mut response = pin!(response);
    // A server may answer and close at once: then both have ended, and the answer counts.
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ended = connection => response.await,
    };
    Ok(response.map_err(broken)?.status().as_u16())
}

/// Of an answer whose head has come; interim ones are passed over.
pub(super) fn status(mut answer: &[u8]) -> Result<Option<u16>, Bad> {
    const LIMITS: Limits = Limits { head_bytes_max: HEALTH_ANSWER_BYTES_MAX, headers_max: crate::limits::HEADERS_MAX };
    loop {
        let mut storage = Storage::new();
        match Response::parse(answer, &mut storage, &LIMITS, Asked { head: false, upgrade: false }) {
            Ok(Parsed::Complete(response)) if response.is_interim() => answer = &answer[response.head_bytes()..],
            Ok(Parsed::Complete(response)) => return Ok(Some(response.status)),
            Ok(Parsed::Partial) => return Ok(None),
            Err(_) => return Err(Bad::Nonsense),
        }
    }
}
