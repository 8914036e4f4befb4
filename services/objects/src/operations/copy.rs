//! Copies on the server: an object copy moves no bytes of large bodies; a part copy reads its range and writes it again.

use super::get::is_moved;
use super::{bucket, multipart, put};
use crate::conditions::{self, Verdict};
use crate::fault::{Fault, Result};
use crate::limits::{LOOKUPS_MAX, PUT_BYTES_MAX};
use crate::service::{Call, Service, iso_date, now_ms, xml_response};
use crate::stored;
use crate::xml::Xml;
use axum::body::Body;
use http::Response;
use md5::Md5;
use objectlog::{Error as LogError, Headers, NewObject, Object};
use sha2::Digest;
use std::sync::Arc;
use web::range::{self, Wanted};

/// Where a copy comes from.
struct Source {
    bucket: String,
    key: String,
}

impl Source {
    /// `[/]bucket/key[?versionId=null]`, percent-encoded.
    fn of(call: &Call) -> Result<Self> {
        let invalid =
            || Fault::invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
        let text =
            call.head.headers.get("x-amz-copy-source").and_then(|value| value.to_str().ok()).ok_or_else(invalid)?;
        let text = text.split_once("?versionId=").map_or(text, |(path, _version)| path);
        let text = String::from_utf8(s3sign::decode(text)).map_err(|_| invalid())?;
        let (bucket, key) = text.trim_start_matches('/').split_once('/').ok_or_else(invalid)?;
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid());
        }
        call.caller.require(bucket)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    fn look_up(&self, service: &Service, call: &Call) -> Result<Arc<Object>> {
        let object = service.log.get(&self.bucket, &self.key)?.ok_or_else(Fault::no_such_key)?;
        match conditions::of_read(&call.head.headers, "x-amz-copy-source-", &object) {
            Verdict::Proceed => Ok(object),
            Verdict::NotModified | Verdict::Failed => Err(Fault::precondition_failed()),
        }
    }
}

pub async fn object(service: &Service, call: &Call) -> Result<Response<Body>> {
    bucket::info(service, &call.bucket)?;
    put::refuse_encryption(&call.head.headers)?;
    let source = Source::of(call)?;
    let header = |name: &str| call.head.headers.get(name).and_then(|value| value.to_str().ok());
    let replaces = match header("x-amz-metadata-directive") {
        None | Some("COPY") => false,
        Some("REPLACE") => true,
        Some(_) => return Err(Fault::invalid_argument("Unknown metadata directive.")),
    };
    if source.bucket == call.bucket && source.key == call.key && !replaces {
        return Err(Fault::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata.",
        ));
    }
    let condition = conditions::of_write(&call.head.headers)?;
    for _ in 0..LOOKUPS_MAX {
        let object = source.look_up(service, call)?;
        let headers = match replaces {
            true => stored::from_request(&call.head.headers)?,
            false => object.headers.clone(),
        };
        let body = match service.log.body_of(&object).await {
            Ok(body) => body,
            Err(LogError::Moved) => continue,
            Err(error) => return Err(error.into()),
        };
        let (etag, modified_ms) = (object.etag.clone(), now_ms());
        let new = NewObject { etag: etag.clone(), modified_ms, headers, body };
        service.log.put(&call.bucket, &call.key, new, &condition).await?;
        return Ok(result("CopyObjectResult", &etag, modified_ms));
    }
    Err(Fault::internal())
}

pub async fn part(service: &Service, call: &Call) -> Result<Response<Body>> {
    let (upload, number) = multipart::part_of(service, call)?;
    let source = Source::of(call)?;
    for _ in 0..LOOKUPS_MAX {
        match copy_part(service, call, &source, &upload, number).await {
            Err(fault) if fault.cause.as_ref().is_some_and(|cause| is_moved(&**cause)) => {}
            answer => return answer,
        }
    }
    Err(Fault::internal())
}

async fn copy_part(
    service: &Service,
    call: &Call,
    source: &Source,
    upload: &str,
    number: u32,
) -> Result<Response<Body>> {
    let object = source.look_up(service, call)?;
    let asked = call.head.headers.get("x-amz-copy-source-range").and_then(|value| value.to_str().ok());
    let range = match range::wanted(asked, object.len) {
        Wanted::Whole if asked.is_none() => 0..object.len,
        // A range that had to be cut is not one of this source.
        Wanted::Part(range) if asked == Some(&format!("bytes={}-{}", range.start, range.end - 1)) => range,
        Wanted::Part(_) | Wanted::Unsatisfiable => return Err(Fault::invalid_range()),
        Wanted::Whole => return Err(Fault::invalid_argument("The x-amz-copy-source-range is not valid")),
    };
    if range.end - range.start > PUT_BYTES_MAX {
        return Err(Fault::entity_too_large());
    }
    let (mut reader, mut writer, mut md5) = (service.log.reader(&object, range), service.log.part_writer(), Md5::new());
    while let Some(bytes) = reader.next().await? {
        md5.update(&bytes);
        writer.write(bytes).await?;
    }
    let (etag, modified_ms) = (hex::encode(md5.finalize()), now_ms());
    let part = NewObject { etag: etag.clone(), modified_ms, headers: Headers::new(), body: writer.finish().await? };
    service.log.put_part(&call.bucket, &call.key, upload, number, part).await?;
    Ok(result("CopyPartResult", &etag, modified_ms))
}

fn result(root: &str, etag: &str, modified_ms: i64) -> Response<Body> {
    xml_response(Xml::document(root, |xml| {
        xml.text("LastModified", iso_date(modified_ms));
        xml.text("ETag", format!("\"{etag}\""));
    }))
}
