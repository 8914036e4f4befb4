//! Reading one object.

use super::bucket;
use crate::conditions::{self, Verdict};
use crate::fault::{Fault, Result};
use crate::limits::LOOKUPS_MAX;
use crate::service::{Call, Service, empty_response, xml_response};
use crate::stored;
use crate::xml::Xml;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use objectlog::{Error as LogError, INLINE_BYTES_MAX, Object};
use std::ops::Range;
use std::sync::Arc;
use web::range::{self, Wanted};

/// Query parameters by which a signed request changes the answer's headers.
const OVERRIDES: &[(&str, &str)] = &[
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
    ("response-content-language", "content-language"),
    ("response-content-type", "content-type"),
    ("response-expires", "expires"),
];

/// GetObject and HeadObject.
pub async fn object(service: &Service, call: &Call) -> Result<Response<Body>> {
    for _ in 0..LOOKUPS_MAX {
        let object = look_up(service, call)?;
        match answer(service, call, &object).await {
            // The log was rewritten between looking and reading.
            Err(fault) if fault.cause.as_ref().is_some_and(|cause| is_moved(&**cause)) => {}
            answer => return answer,
        }
    }
    Err(Fault::internal())
}

pub fn look_up(service: &Service, call: &Call) -> Result<Arc<Object>> {
    if call.query.get("versionId").is_some_and(|version| !version.is_empty() && version != "null") {
        return Err(Fault::new(404, "NoSuchVersion", "The specified version does not exist."));
    }
    service.log.get(&call.bucket, &call.key)?.ok_or_else(Fault::no_such_key)
}

async fn answer(service: &Service, call: &Call, object: &Arc<Object>) -> Result<Response<Body>> {
    let headers = &call.head.headers;
    match conditions::of_read(headers, "", object) {
        Verdict::Proceed => {}
        Verdict::Failed => return Err(Fault::precondition_failed()),
        Verdict::NotModified => {
            let kept =
                stored::of_object(object, false).into_iter().filter(|(name, _)| name == ETAG || name == LAST_MODIFIED);
            return Err(Fault::not_modified(kept.collect()));
        }
    }
    let (range, is_part) = wanted(call, object)?;
    let with_checksum = header(headers, "x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    let len = range.end - range.start;
    let body = match call.head.method == Method::HEAD {
        true => Body::empty(),
        false => body(service, object, range.clone()).await?,
    };
    let mut response = Response::new(body);
    let answer = response.headers_mut();
    answer.extend(
        stored::of_object(object, with_checksum && !is_part).into_iter().map(|(name, value)| (Some(name), value)),
    );
    for (parameter, name) in OVERRIDES {
        if let Some(value) = call.query.get(parameter)
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            answer.insert(HeaderName::from_static(name), value);
        }
    }
    answer.insert(CONTENT_LENGTH, HeaderValue::from(len));
    if call.query.has("partNumber") && object.etag.contains('-') {
        answer.insert("x-amz-mp-parts-count", HeaderValue::from(object.part_lens().len()));
    }
    if is_part {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, object.len);
        answer.insert(CONTENT_RANGE, HeaderValue::try_from(content_range).map_err(|_| Fault::internal())?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The bytes that are asked for, and whether they are asked for as a part.
fn wanted(call: &Call, object: &Object) -> Result<(Range<u64>, bool)> {
    if let Some(number) = call.query.number::<usize>("partNumber")? {
        let lens = object.part_lens();
        let Some(len) = number.checked_sub(1).and_then(|index| lens.get(index)) else {
            return Err(Fault::new(416, "InvalidPartNumber", "The requested partnumber is not satisfiable"));
        };
        let start: u64 = lens[..number - 1].iter().sum();
        return Ok((start..start + len, *len > 0));
    }
    match range::wanted(header(&call.head.headers, RANGE.as_str()), object.len) {
        Wanted::Whole => Ok((0..object.len, false)),
        Wanted::Part(range) => Ok((range, true)),
        Wanted::Unsatisfiable => {
            let content_range =
                HeaderValue::try_from(format!("bytes */{}", object.len)).map_err(|_| Fault::internal())?;
            Err(Fault::invalid_range().with_header(CONTENT_RANGE, content_range))
        }
    }
}

/// A small body is read before the answer begins, so that an error can still be said; a large one streams.
async fn body(service: &Service, object: &Arc<Object>, range: Range<u64>) -> Result<Body> {
    let mut reader = service.log.reader(object, range);
    if object.len <= INLINE_BYTES_MAX as u64 {
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        return Ok(Body::from(Bytes::from(bytes)));
    }
    // The first piece, too.
    let first = reader.next().await?.unwrap_or_default();
    let rest = reader.into_stream();
    let stream = futures::stream::StreamExt::chain(futures::stream::iter([Ok::<_, LogError>(first)]), rest);
    Ok(Body::from_stream(futures::stream::StreamExt::inspect(stream, |piece| {
        if let Err(error) = piece {
            tracing::error!(error = %lifecycle::ErrorChain(error), "a body ends early");
        }
    })))
}

pub fn is_moved(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(cause.downcast_ref::<LogError>(), Some(LogError::Moved))
}

pub fn acl(service: &Service, call: &Call) -> Result<Response<Body>> {
    look_up(service, call)?;
    Ok(xml_response(bucket::acl(&bucket::info(service, &call.bucket)?.owner)))
}

pub fn tagging(service: &Service, call: &Call) -> Result<Response<Body>> {
    look_up(service, call)?;
    Ok(xml_response(Xml::document("Tagging", |xml| xml.group("TagSet", |_| {}))))
}

/// For what is accepted and changes nothing, as long as there is an object.
pub fn existing(service: &Service, call: &Call) -> Result<Response<Body>> {
    look_up(service, call)?;
    let status = if call.head.method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK };
    Ok(empty_response(status))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
