//! One call to a registry: addresses, redirects, retries, and bodies that must keep flowing.

use super::{ClientError, RegistryClient};
use crate::Reference;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use std::time::Duration;
use web::Body;

/// How often a call that may be repeated is made in all.
const ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt; it doubles for each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often one call may be sent elsewhere.
const REDIRECTS_MAX: usize = 5;
/// A body that brings nothing for this long has stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sending one blob may take until the registry answers.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Bytes of an answer that is not a blob: a manifest, a list, an error.
const SMALL_BYTES_MAX: usize = crate::MANIFEST_BYTES_MAX;

pub(super) type Streaming = Response<web::Incoming>;

/// Calls until it succeeds, fails for good, or was tried often enough.
pub(super) async fn retried<T, F: Future<Output = Result<T, ClientError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError> {
    let mut pause = RETRY_PAUSE;
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(error) if error.is_passing() => {
                tracing::debug!(error = %lifecycle::ErrorChain(&error), "the registry is asked again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    attempt().await
}

/// `http://REGISTRY/v2/REPOSITORY/…`
pub(super) fn repository_url(reference: &Reference, rest: &str) -> Result<String, ClientError> {
    let no_registry = || ClientError::NoRegistry { reference: reference.to_string() };
    let registry = reference.registry.as_deref().ok_or_else(no_registry)?;
    Ok(format!("http://{registry}/v2/{}/{rest}", reference.repository))
}

/// A `Location`, absolute or relative to the URL that was asked.
pub(super) fn resolve(url: &str, headers: &HeaderMap) -> Result<String, ClientError> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad = || ClientError::Location { url: url.to_owned(), location: crate::digest::excerpt(location) };
    if location.starts_with("http://") {
        return location.parse::<Uri>().map(|_| location.to_owned()).map_err(|_| bad());
    }
    let asked: Uri = url.parse().map_err(|_| bad())?;
    match (asked.authority(), location.starts_with('/') && !location.starts_with("//")) {
        (Some(authority), true) => Ok(format!("http://{authority}{location}")),
        _ => Err(bad()),
    }
}

pub(super) fn with_query(url: &str, name: &str, value: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
    format!("{url}{joint}{name}={value}")
}

pub(super) fn request(method: Method, url: &str, headers: HeaderMap, body: Body) -> Result<Request<Body>, ClientError> {
    let built = Request::builder().method(method).uri(url).body(body);
    let mut request = built.map_err(|source| ClientError::Request { url: url.to_owned(), source })?;
    *request.headers_mut() = headers;
    // The specification asks for the length of an empty body, too, which HTTP lets a client leave out.
    if !request.method().is_safe()
        && let Some(length) = request.body().size_hint().exact()
    {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(request)
}

impl RegistryClient {
    /// Sends one request. Credentials go to the registry only, never to where a redirect or a `Location` leads.
    pub(super) async fn send(&self, registry: &str, request: Request<Body>) -> Result<Streaming, ClientError> {
        let at_home = request.uri().authority().is_some_and(|authority| authority.as_str() == registry);
        let client = if at_home { &self.authorized } else { &self.anonymous };
        client.send_within(request, UPLOAD_TIMEOUT).await.map_err(|source| ClientError::Call { source })
    }

    /// GET or HEAD, following redirects; the answer is a success.
    pub(super) async fn read(
        &self,
        registry: &str,
        method: Method,
        url: &str,
        accept: &str,
    ) -> Result<(String, Streaming), ClientError> {
        let name = if method == Method::HEAD { "HEAD" } else { "GET" };
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = HeaderMap::new();
            if let Ok(accept) = accept.parse() {
                headers.insert(ACCEPT, accept);
            }
            let response = self.send(registry, request(method.clone(), &url, headers, web::empty_body())?).await?;
            if response.status().is_redirection() {
                url = resolve(&url, response.headers())?;
                continue;
            }
            return Ok((url.clone(), succeed(name, &url, response).await?));
        }
        Err(ClientError::Location { url, location: "too many redirects".to_owned() })
    }
}

/// The answer, if it is a success; else the registry's words as an error.
pub(super) async fn succeed(method: &'static str, url: &str, response: Streaming) -> Result<Streaming, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = collect(url, response).await.unwrap_or_default();
    Err(ClientError::refused(method, url, status, &body))
}

/// A small body.
pub(super) async fn collect(url: &str, response: Streaming) -> Result<Bytes, ClientError> {
    let body = |source| ClientError::Body { url: url.to_owned(), source };
    let read = Limited::new(response.into_body(), SMALL_BYTES_MAX).collect();
    match tokio::time::timeout(STALL_TIMEOUT, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ClientError::TooLarge { url: url.to_owned(), bytes_max: SMALL_BYTES_MAX as u64 })
        }
        Ok(Err(error)) => Err(body(error)),
        Err(stalled) => Err(body(stalled.into())),
    }
}

/// The next piece of a large body; `None` at its end.
pub(super) async fn next_piece(url: &str, response: &mut Streaming) -> Result<Option<Bytes>, ClientError> {
    let body = |source| ClientError::Body { url: url.to_owned(), source };
    loop {
        match tokio::time::timeout(STALL_TIMEOUT, response.body_mut().frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(error))) => return Err(body(error.into())),
            Err(stalled) => return Err(body(stalled.into())),
        }
    }
}
