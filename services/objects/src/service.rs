//! From a request to an answer: who, what, how, and what every answer carries.

use crate::access::{Access, Caller};
use crate::address::{Domains, Target};
use crate::cors::{self, Rules};
use crate::fault::{Fault, Result};
use crate::limits::{REFUSED_BODY_BYTES_MAX, REFUSED_BODY_TIME_MAX};
use crate::metrics::Metrics;
use crate::operation::{Operation, Query};
use crate::operations;
use axum::Router;
use axum::body::Body;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, ORIGIN, SERVER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body_util::BodyExt;
use jiff::Timestamp;
use lifecycle::ErrorChain;
use objectlog::ObjectLog;
use s3sign::RequestHead;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One machine is one host.
pub const HOST_ID: &str = "roadstead";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID_HEADER: HeaderName = HeaderName::from_static("x-amz-id-2");

pub struct Service {
    pub log: ObjectLog,
    access: Access,
    domains: Domains,
    pub metrics: Metrics,
    request_ids: RequestIds,
}

/// A request that may be served: what every operation is given, beside its body.
pub struct Call {
    pub head: request::Parts,
    pub caller: Caller,
    pub query: Query,
    pub bucket: String,
    pub key: String,
}

pub fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    })
}

impl Service {
    pub fn new(log: ObjectLog, access: Access, domains: Domains) -> Self {
        Self { log, access, domains, metrics: Metrics::new(), request_ids: RequestIds::default() }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let request_id = self.request_ids.next();
        let (head, body) = request.into_parts();
        let (method, path, headers) = (head.method.clone(), head.uri.path().to_owned(), head.headers.clone());
        let host = host_of(&head);
        let target = self.domains.target(&host, &path);
        self.metrics.in_flight.inc();
        let mut operation = None;
        let bucket = target.as_ref().ok().and_then(|target| target.bucket.clone());
        let served = match target {
            Err(fault) => Err((fault, Some(body))),
            Ok(target) if method == Method::OPTIONS => self.preflight(&target, &headers).map_err(|fault| (fault, None)),
            Ok(target) => self.serve(head, body, &host, target, &mut operation).await,
        };
        self.metrics.in_flight.dec();
        let mut response = match served {
            Ok(response) => response,
            Err((fault, unread)) => {
                let closes = drain(unread, &headers).await;
                refuse(fault, &method, &path, &request_id, closes)
            }
        };
        self.metrics.answered(operation, response.status());
        tracing::debug!(%method, path, status = response.status().as_u16(), request_id, "answered");
        let rules = bucket.and_then(|bucket| self.cors_rules(&bucket));
        if let Some(rules) = rules
            && method != Method::OPTIONS
        {
            response.headers_mut().extend(rules.actual(&method, &headers));
        }
        let answer = response.headers_mut();
        answer.insert(REQUEST_ID, HeaderValue::try_from(request_id).unwrap_or(HeaderValue::from_static("0")));
        answer.insert(HOST_ID_HEADER, HeaderValue::from_static(HOST_ID));
        answer.insert(SERVER, HeaderValue::from_static("Roadstead"));
        response
    }

    /// The body comes back with a refusal while nobody has begun to read it.
    async fn serve(
        &self,
        head: request::Parts,
        body: Body,
        host: &str,
        target: Target,
        operation: &mut Option<Operation>,
    ) -> std::result::Result<Response<Body>, (Fault, Option<Body>)> {
        let admitted = self.admit(&head, host, &target, operation);
        let (caller, query, operation) = match admitted {
            Ok(admitted) => admitted,
            Err(fault) => return Err((fault, Some(body))),
        };
        let (bucket, key) = (target.bucket.unwrap_or_default(), target.key.unwrap_or_default());
        let call = Call { head, caller, query, bucket, key };
        operations::run(self, operation, &call, body).await.map_err(|fault| (fault, None))
    }

    fn admit(
        &self,
        head: &request::Parts,
        host: &str,
        target: &Target,
        seen: &mut Option<Operation>,
    ) -> Result<(Caller, Query, Operation)> {
        if self.access.is_open() && (!self.domains.is_local(host) || self.is_from_foreign_page(head, target)) {
            return Err(Fault::access_denied());
        }
        let signed = RequestHead {
            method: &head.method,
            host,
            raw_path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            bucket_in_host: target.bucket.as_deref().filter(|_| target.bucket_in_host),
        };
        let caller = self.access.admit(&signed, Timestamp::now())?;
        let query = Query::parse(signed.query);
        let operation = Operation::of(&head.method, target, &query, &head.headers)?;
        *seen = Some(operation);
        if let Some(bucket) = &target.bucket {
            caller.require(bucket)?;
            // Asked before a body is begun, so that one that is not wanted can still be read away.
            if target.key.is_some() && self.log.bucket(bucket).is_none() {
                return Err(Fault::no_such_bucket());
            }
        }
        Ok((caller, query, operation))
    }

    /// Whether a browser sends this for a page of a site that neither is this machine's nor has the bucket's permission. A
    /// POST of a page needs no preflight, so that only its Origin tells; signatures tell, too, but an open store has none.
    fn is_from_foreign_page(&self, head: &request::Parts, target: &Target) -> bool {
        let Some(origin) = head.headers.get(ORIGIN).filter(|_| !head.method.is_safe()) else { return false };
        let Ok(origin) = origin.to_str() else { return true };
        let rules = || self.cors_rules(target.bucket.as_deref()?);
        !self.domains.is_own_origin(origin) && !rules().is_some_and(|rules| rules.allow(origin, &head.method))
    }

    fn preflight(&self, target: &Target, headers: &HeaderMap) -> Result<Response<Body>> {
        let rules = target.bucket.as_deref().and_then(|bucket| self.cors_rules(bucket));
        let allowed = Rules::preflight(rules.as_ref(), headers)?;
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = allowed;
        Ok(response)
    }

    fn cors_rules(&self, bucket: &str) -> Option<Rules> {
        let document = self.log.document(bucket, cors::DOCUMENT).ok()??;
        Rules::parse(document.as_bytes()).ok()
    }
}

/// Milliseconds since the epoch as a time; one that is out of range becomes the epoch.
pub fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `2015-01-11T12:53:12.000Z`, the dates of S3's XML.
pub fn iso_date(milliseconds: i64) -> String {
    timestamp(milliseconds).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

pub fn xml_response(document: String) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

pub fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn host_of(head: &request::Parts) -> String {
    let header = head.headers.get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    header.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap_or_default()
}

/// Reads what is left of a refused body, within bounds, unless the client waits for leave to send it. True: the
/// connection cannot be used any more.
async fn drain(unread: Option<Body>, headers: &HeaderMap) -> bool {
    let Some(mut body) = unread else { return false };
    if headers.contains_key(EXPECT) {
        return false;
    }
    let mut bytes: u64 = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > REFUSED_BODY_BYTES_MAX {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(REFUSED_BODY_TIME_MAX, reading).await.unwrap_or(true)
}

fn refuse(fault: Fault, method: &Method, path: &str, request_id: &str, closes: bool) -> Response<Body> {
    if let Some(cause) = &fault.cause
        && fault.status.is_server_error()
    {
        tracing::error!(%method, path, request_id, error = %ErrorChain(&**cause), "a request failed");
    }
    let has_body = *method != Method::HEAD && fault.status != StatusCode::NOT_MODIFIED;
    let mut response = match has_body {
        true => xml_response(fault.document(path, request_id)),
        false => Response::new(Body::empty()),
    };
    *response.status_mut() = fault.status;
    response.headers_mut().extend(fault.headers);
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Unique in a process and unlikely to repeat in the next: a random start, then counting.
#[derive(Debug)]
struct RequestIds(AtomicU64);

impl Default for RequestIds {
    fn default() -> Self {
        Self(AtomicU64::new(RandomState::new().build_hasher().finish()))
    }
}

impl RequestIds {
    fn next(&self) -> String {
        format!("{:016X}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}
