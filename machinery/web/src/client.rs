//! An HTTP client for the house's own calls: bounded, with credentials, and able to dial one address under another Host.

use crate::connector::Connector;
use crate::keepalive::watchful;
use crate::tls::{ALPN_HTTP1, speaking};
use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Any request body.
pub type Body = BoxBody<Bytes, lifecycle::BoxError>;

/// The most a whole response read into memory may hold.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// How long a call may take until its response head arrives.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub fn empty_body() -> Body {
    full_body(Bytes::new())
}

pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// What a client shows a server; `Debug` tells its kind only.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    None,
    Bearer(String),
    Basic {
        user: String,
        password: String,
    },
}

impl Credentials {
    /// The `Authorization` header's value.
    pub fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::None => return None,
            Self::Bearer(token) => format!("Bearer {token}"),
            Self::Basic { user, password } => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                format!("Basic {pair}")
            }
        };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(..)",
            Self::Basic { .. } => "Basic { .. }",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("build the request to {uri}")]
    Request { uri: String, source: http::Error },
    #[error("call {uri}")]
    Call { uri: String, source: legacy::Error },
    #[error("call {uri}: no answer within {limit:?}")]
    Timeout { uri: String, limit: Duration },
    #[error("read the answer of {uri}")]
    Body { uri: String, source: lifecycle::BoxError },
    #[error("{uri} answered {status}: {body}")]
    Status { uri: String, status: StatusCode, body: String },
    #[error("{uri} answered something that is not the expected JSON")]
    Json { uri: String, source: serde_json::Error },
}

/// A pooled HTTP/1 client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<Connector, Body>,
    connector: Connector,
    credentials: Credentials,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Credentials::None)
    }
}

impl Client {
    pub fn new(credentials: Credentials) -> Self {
        let mut connector = watchful(HttpConnector::new());
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self::over(Connector::Tcp(connector), credentials)
    }

    /// A client of the server behind one Unix socket; the host in its URLs does not matter.
    pub fn unix(socket: impl Into<PathBuf>, credentials: Credentials) -> Self {
        Self::over(Connector::Unix(socket.into()), credentials)
    }

    fn over(connector: Connector, credentials: Credentials) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(32)
            .build(connector.clone());
        Self { inner, connector, credentials }
    }

    /// The same client, speaking TLS (and nothing else: its URLs begin with `https`).
    pub fn with_tls(self, config: Arc<ClientConfig>) -> Self {
        Self::over(self.connector.secured(speaking(&config, &[ALPN_HTTP1])), self.credentials)
    }

    /// Sends a request as it is (a Host header in it is kept: so one address is dialled under another name), with the
    /// client's credentials unless it has its own. The answer's body streams.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        self.send_within(request, HEAD_TIMEOUT).await
    }

    /// [`Client::send`] with another bound on the time until the answer's head: the time it takes to send a large body
    /// counts, too.
    pub async fn send_within(
        &self,
        mut request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let uri = request.uri().to_string();
        if !request.headers().contains_key(AUTHORIZATION)
            && let Some(value) = self.credentials.header()
        {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        match tokio::time::timeout(limit, self.inner.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(source)) => Err(ClientError::Call { uri, source }),
            Err(_) => Err(ClientError::Timeout { uri, limit }),
        }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Bytes>, ClientError> {
        let uri = request.uri().to_string();
        let (head, body) = self.send(request).await?.into_parts();
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(|source| ClientError::Body { uri, source })?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    pub async fn get(&self, uri: &str) -> Result<Response<Bytes>, ClientError> {
        self.call(Method::GET, uri, None, empty_body()).await
    }

    /// GET that expects 2xx and JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, uri: &str) -> Result<T, ClientError> {
        decode(uri, self.get(uri).await?)
    }

    /// A call with a JSON body that expects 2xx and JSON.
    pub async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        uri: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let json = |source| ClientError::Json { uri: uri.to_owned(), source };
        let body = full_body(serde_json::to_vec(body).map_err(json)?);
        decode(uri, self.call(method, uri, Some("application/json"), body).await?)
    }

    pub async fn call(
        &self,
        method: Method,
        uri: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<Response<Bytes>, ClientError> {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(body).map_err(|source| ClientError::Request { uri: uri.to_owned(), source })?;
        self.fetch(request).await
    }
}

fn decode<T: DeserializeOwned>(uri: &str, response: Response<Bytes>) -> Result<T, ClientError> {
    if !response.status().is_success() {
        let body = String::from_utf8_lossy(response.body()).into_owned();
        return Err(ClientError::Status { uri: uri.to_owned(), status: response.status(), body });
    }
    serde_json::from_slice(response.body()).map_err(|source| ClientError::Json { uri: uri.to_owned(), source })
}
