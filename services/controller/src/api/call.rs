//! A request as the handlers see it: query, what the caller reads, and a bounded body.

use super::BODY_BYTES_MAX;
use super::answer::Failure;
use axum::extract::{ConnectInfo, Request};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use identity::Peer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;

pub struct Call {
    query: Vec<(String, String)>,
    accept: String,
    body: bytes::Bytes,
    /// The caller's address; a local one over the Unix socket.
    pub client: String,
    /// Whom the caller's certificate names, when it showed one.
    pub peer: Option<Peer>,
    pub uri: String,
}

impl Call {
    pub async fn read(request: Request) -> Result<Self, Failure> {
        if !request.method().is_safe() {
            refuse_forms(request.headers())?;
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let client = peer.map_or_else(|| "local".to_owned(), |ConnectInfo(peer)| peer.ip().to_string());
        let certified = request.extensions().get::<Peer>().cloned();
        let query = request.uri().query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let accepts = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accept = accepts.collect::<Vec<_>>().join(",").to_ascii_lowercase();
        let uri = request.uri().path().to_owned();
        let too_long = |_| {
            let message = format!("the body is broken off or longer than {BODY_BYTES_MAX} bytes");
            Failure::message(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(too_long)?;
        Ok(Self { query, accept, body, client, peer: certified, uri })
    }

    /// The body as one of our own types. An empty one is the type's default form.
    pub fn read_as<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        let invalid = |error: serde_json::Error| {
            Failure::message(StatusCode::BAD_REQUEST, format!("the body is not what is expected: {error}"))
        };
        serde_json::from_slice(body).map_err(invalid)
    }

    pub fn json(&self) -> Result<Value, Failure> {
        Ok(marathon::document(&self.body)?)
    }

    /// `true`, `True` and a bare name are true; without the parameter the default holds.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.value(name).map_or(default, |value| value.is_empty() || value.eq_ignore_ascii_case("true"))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn accepts_events(&self) -> bool {
        self.accept.contains("text/event-stream")
    }

    /// Text was asked for, and JSON was not.
    pub fn prefers_text(&self) -> bool {
        self.accept.contains("text/plain") && !self.accept.contains("application/json")
    }

    pub fn prefers_json(&self) -> bool {
        self.accept.contains("application/json") && !self.accept.contains("text/plain")
    }
}

/// A page of another site can make a browser post a form, or text, without asking first; it cannot post JSON so. Marathon
/// took bodies without a type, and so do we.
fn refuse_forms(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Failure::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json (or absent)"))
}
