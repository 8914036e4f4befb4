//! PutObject.

use super::bucket;
use crate::checksums;
use crate::conditions;
use crate::fault::{Fault, Result};
use crate::receive;
use crate::service::{Call, Service, empty_response, now_ms};
use crate::stored;
use axum::body::Body;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use objectlog::{Condition, NewObject};

pub async fn object(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    bucket::info(service, &call.bucket)?;
    let Call { head, caller, bucket, key, .. } = call;
    let condition = conditions::of_write(&head.headers)?;
    // Decided again in the key's turn; asked now so that a body is not sent for nothing.
    if condition == Condition::Absent && service.log.get(bucket, key)?.is_some() {
        return Err(Fault::precondition_failed());
    }
    refuse_encryption(&head.headers)?;
    let mut headers = stored::from_request(&head.headers)?;
    let received = receive::object(&head.headers, caller.payload.clone(), body, service.log.writer()).await?;
    if let Some((name, value)) = &received.checksum {
        headers.insert((*name).to_owned(), value.clone());
        headers.insert(checksums::TYPE.to_owned(), checksums::FULL_OBJECT.to_owned());
    }
    let object = NewObject { etag: received.md5.clone(), modified_ms: now_ms(), headers, body: received.body };
    service.log.put(bucket, key, object, &condition).await?;
    acknowledge(&received.md5, received.checksum.as_ref())
}

/// 200 with the ETag, and the checksum if one was sent.
pub fn acknowledge(etag: &str, checksum: Option<&(&'static str, String)>) -> Result<Response<Body>> {
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Fault::internal());
    let mut response = empty_response(StatusCode::OK);
    response.headers_mut().insert(ETAG, value(&format!("\"{etag}\""))?);
    if let Some((name, checksum)) = checksum {
        response.headers_mut().insert(HeaderName::from_static(name), value(checksum)?);
    }
    Ok(response)
}

/// Whoever asks for encryption must not be told yes by silence.
pub fn refuse_encryption(headers: &HeaderMap) -> Result<()> {
    let asked = headers.keys().any(|name| name.as_str().starts_with("x-amz-server-side-encryption"));
    if asked { Err(Fault::not_implemented()) } else { Ok(()) }
}
