//! One signed call.

use crate::{Client, S3Error, xml};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use s3sign::v4::PayloadToSign;
use s3sign::{RequestHead, encode, encode_path};
use std::time::Duration;

/// How often a call that may be repeated is made in all.
const ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt; it doubles for each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that is read whole: a page of a listing holds a thousand keys of a kilobyte each.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long the whole of such an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one call may take until its answer begins; it sends at most one part.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// What is asked of S3.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub method: Method,
    pub bucket: String,
    pub key: String,
    pub query: Vec<(&'static str, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: Method, bucket: &str, key: &str) -> Self {
        Self { method, bucket: bucket.to_owned(), key: key.to_owned(), ..Self::default() }
    }

    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub fn header(mut self, name: http::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// What an error calls it.
    pub fn resource(&self) -> String {
        match (self.bucket.as_str(), self.key.as_str()) {
            ("", _) => "the list of buckets".to_owned(),
            (bucket, "") => format!("bucket {bucket}"),
            (bucket, key) => format!("{bucket}/{key}"),
        }
    }

    fn path(&self) -> String {
        match (self.bucket.as_str(), self.key.as_str()) {
            ("", _) => "/".to_owned(),
            (bucket, "") => format!("/{}", encode(bucket)),
            (bucket, key) => format!("/{}/{}", encode(bucket), encode_path(key)),
        }
    }

    fn query_text(&self) -> String {
        let pairs: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        pairs.join("&")
    }
}

impl Client {
    /// Makes a call that does no harm when made twice, until it succeeds, fails for good, or was tried often enough.
    pub(crate) async fn repeat(&self, call: &Call) -> Result<Response<web::Incoming>, S3Error> {
        let mut pause = RETRY_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.once(call).await {
                Err(error) if error.is_passing() => {
                    tracing::debug!(error = %lifecycle::ErrorChain(&error), "S3 is asked again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                settled => return settled,
            }
        }
        self.once(call).await
    }

    /// Makes a call once; the answer is a success.
    pub(crate) async fn once(&self, call: &Call) -> Result<Response<web::Incoming>, S3Error> {
        let request = self.sign(call)?;
        let failed = |source| S3Error::Call { resource: call.resource(), source };
        let response = self.http.send_within(request, HEAD_TIMEOUT).await.map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = if call.method == Method::HEAD { Bytes::new() } else { collect(call, response).await? };
        let (code, message) = xml::error(&body).unwrap_or_else(|| {
            let code = if status == http::StatusCode::NOT_FOUND { "NotFound" } else { "" };
            (code.to_owned(), status.canonical_reason().unwrap_or_default().to_owned())
        });
        Err(S3Error::Refused { method: call.method.to_string(), resource: call.resource(), status, code, message })
    }

    fn sign(&self, call: &Call) -> Result<Request<web::Body>, S3Error> {
        let (path, query) = (call.path(), call.query_text());
        let head = RequestHead {
            method: &call.method,
            host: &self.authority,
            raw_path: &path,
            query: &query,
            headers: &call.headers,
            bucket_in_host: None,
        };
        let signed = match &self.credentials {
            None => Ok(Vec::new()),
            Some(credentials) => {
                // The body's hash is signed, so that S3 refuses bytes that were damaged on the way.
                let payload = PayloadToSign::hash_of(&call.body);
                s3sign::v4::sign(&head, payload, credentials, &self.region, Timestamp::now())
            }
        };
        let signed = signed.map_err(|source| S3Error::Sign { resource: call.resource(), source })?;
        let joint = if query.is_empty() { "" } else { "?" };
        let uri = format!("http://{}{path}{joint}{query}", self.authority);
        let mut request = Request::builder().method(call.method.clone()).uri(uri).header(HOST, &self.authority);
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
            headers.extend(signed);
            // S3 wants the length of an empty body, too, which HTTP lets a client leave out.
            if matches!(call.method, Method::PUT | Method::POST) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(call.body.len()));
            }
        }
        let built = request.body(web::full_body(call.body.clone()));
        built.map_err(|source| S3Error::Request { resource: call.resource(), source })
    }
}

/// The whole of a small answer.
pub(crate) async fn collect(call: &Call, response: Response<web::Incoming>) -> Result<Bytes, S3Error> {
    let failed = |source| S3Error::Body { resource: call.resource(), source };
    let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    match tokio::time::timeout(ANSWER_TIMEOUT, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(failed(error)),
        Err(late) => Err(failed(late.into())),
    }
}
