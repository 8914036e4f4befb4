//! Multipart uploads.

use super::{bucket, put};
use crate::checksums;
use crate::conditions;
use crate::fault::{Fault, Result};
use crate::limits::{OBJECT_BYTES_MAX, PAGE_ITEMS_MAX, PART_BYTES_MIN};
use crate::receive;
use crate::service::{Call, Service, empty_response, iso_date, now_ms, xml_response};
use crate::stored;
use crate::xml::{self, Xml};
use axum::body::Body;
use http::{HeaderName, Response, StatusCode};
use md5::Md5;
use objectlog::{Completion, Headers, NewObject, PARTS_MAX, Part};
use serde::Deserialize;
use sha2::Digest;

pub async fn create(service: &Service, call: &Call) -> Result<Response<Body>> {
    put::refuse_encryption(&call.head.headers)?;
    let mut headers = stored::from_request(&call.head.headers)?;
    let kind = call.head.headers.get(checksums::TYPE).and_then(|kind| kind.to_str().ok());
    if let Some(kind) = kind.filter(|kind| [checksums::FULL_OBJECT, checksums::COMPOSITE].contains(kind)) {
        headers.insert(checksums::TYPE.to_owned(), kind.to_owned());
    }
    let upload = service.log.begin_upload(&call.bucket, &call.key, now_ms(), headers).await?;
    let mut response = xml_response(Xml::document("InitiateMultipartUploadResult", |xml| {
        xml.text("Bucket", &call.bucket);
        xml.text("Key", &call.key);
        xml.text("UploadId", &upload);
    }));
    // Said back, or the client takes it that the store knows no checksums.
    for name in ["x-amz-checksum-algorithm", checksums::TYPE].map(HeaderName::from_static) {
        if let Some(value) = call.head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

pub async fn upload_part(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    let (upload, number) = part_of(service, call)?;
    let Call { head, caller, bucket, key, .. } = call;
    let received = receive::object(&head.headers, caller.payload.clone(), body, service.log.part_writer()).await?;
    let checksum = received.checksum.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let headers = Headers::from_iter(checksum);
    let part = NewObject { etag: received.md5.clone(), modified_ms: now_ms(), headers, body: received.body };
    service.log.put_part(bucket, key, &upload, number, part).await?;
    put::acknowledge(&received.md5, received.checksum.as_ref())
}

/// The upload and the number a request for a part names.
pub fn part_of(service: &Service, call: &Call) -> Result<(String, u32)> {
    let upload = call.query.get("uploadId").unwrap_or_default();
    let number = call.query.number::<u32>("partNumber")?.filter(|number| (1..=PARTS_MAX).contains(number));
    let invalid =
        || Fault::invalid_argument(format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive"));
    service.log.upload(&call.bucket, &call.key, upload)?;
    Ok((upload.to_owned(), number.ok_or_else(invalid)?))
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "Part", default)]
    parts: Vec<NamedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedPart {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
}

pub async fn complete(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    let upload = call.query.get("uploadId").unwrap_or_default();
    let condition = conditions::of_write(&call.head.headers)?;
    let document = receive::completion(&call.head.headers, call.caller.payload.clone(), body).await?;
    let request: Request = xml::parse(&document)?;
    if request.parts.is_empty() || request.parts.len() > PARTS_MAX as usize {
        return Err(Fault::malformed_xml());
    }
    let parts = match service.log.parts(&call.bucket, &call.key, upload) {
        Ok(parts) => parts,
        Err(error) => {
            // A client that missed the answer asks again.
            let object = service.log.get(&call.bucket, &call.key)?;
            let done = object.filter(|object| object.upload.as_deref() == Some(upload));
            return done.map(|object| completed(call, &object.etag, &object.headers)).ok_or_else(|| error.into());
        }
    };
    let chosen = request.parts.iter().map(|part| (part.part_number, conditions::unquoted(&part.etag).to_owned()));
    let chosen: Vec<(u32, String)> = chosen.collect();
    let found: Vec<&Part> = chosen.iter().filter_map(|(number, _)| parts.get(number)).collect();
    if found.iter().map(|part| part.len).sum::<u64>() > OBJECT_BYTES_MAX {
        return Err(Fault::entity_too_large());
    }
    let begun = service.log.upload(&call.bucket, &call.key, upload)?;
    let kind = call.head.headers.get(checksums::TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.or_else(|| begun.headers.get(checksums::TYPE).map(String::as_str));
    let headers = checksum_of(&found, kind == Some(checksums::FULL_OBJECT));
    for (name, value) in headers.iter().filter(|(name, _)| *name != checksums::TYPE) {
        let expected = call.head.headers.get(name).and_then(|expected| expected.to_str().ok());
        // Clients write it with and without the count.
        if expected.is_some_and(|expected| value != expected && value.split('-').next() != Some(expected)) {
            return Err(Fault::bad_digest());
        }
    }
    let etag = multipart_etag(&found);
    let answer = completed(call, &etag, &headers);
    let (part_bytes_min, modified_ms) = (PART_BYTES_MIN, now_ms());
    let completion = Completion { chosen: &chosen, part_bytes_min, modified_ms, condition: &condition, etag, headers };
    service.log.complete_upload(&call.bucket, &call.key, upload, completion).await?;
    Ok(answer)
}

fn completed(call: &Call, etag: &str, headers: &Headers) -> Response<Body> {
    xml_response(Xml::document("CompleteMultipartUploadResult", |xml| {
        xml.text("Location", format!("/{}/{}", call.bucket, s3sign::encode_path(&call.key)));
        xml.text("Bucket", &call.bucket);
        xml.text("Key", &call.key);
        xml.text("ETag", format!("\"{etag}\""));
        for (name, value) in headers {
            match name.strip_prefix("x-amz-checksum-") {
                None => {}
                Some("type") => xml.text("ChecksumType", value),
                Some(algorithm) => xml.text(&format!("Checksum{}", algorithm.to_ascii_uppercase()), value),
            }
        }
    }))
}

/// The MD5 of the parts' MD5s, and how many there are.
fn multipart_etag(parts: &[&Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        // Parts are stored with the MD5 computed here; anything else hashes as it is.
        md5.update(hex::decode(&part.etag).unwrap_or_else(|_| part.etag.as_bytes().to_vec()));
    }
    format!("{}-{}", hex::encode(md5.finalize()), parts.len())
}

/// The object's checksum and its type, if all parts came with one of the same kind.
fn checksum_of(parts: &[&Part], wants_full_object: bool) -> Headers {
    let name = parts.first().and_then(|part| part.headers.keys().next());
    let checksum = name.and_then(|name| {
        let value = |part: &&'_ Part| Some((part.headers.get(name)?.clone(), part.len));
        let values: Vec<(String, u64)> = parts.iter().map(value).collect::<Option<_>>()?;
        let values: Vec<(&str, u64)> = values.iter().map(|(value, len)| (value.as_str(), *len)).collect();
        // CRC-64/NVME is always over the whole object.
        let (value, kind) = match wants_full_object || name == "x-amz-checksum-crc64nvme" {
            true => (checksums::full_object(name, &values)?, checksums::FULL_OBJECT),
            false => (checksums::composite(name, &values)?, checksums::COMPOSITE),
        };
        Some([(name.clone(), value), (checksums::TYPE.to_owned(), kind.to_owned())])
    });
    checksum.into_iter().flatten().collect()
}

pub async fn abort(service: &Service, call: &Call) -> Result<Response<Body>> {
    let upload = call.query.get("uploadId").unwrap_or_default();
    service.log.abort_upload(&call.bucket, &call.key, upload).await?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

pub fn list_parts(service: &Service, call: &Call) -> Result<Response<Body>> {
    let upload = call.query.get("uploadId").unwrap_or_default();
    let parts = service.log.parts(&call.bucket, &call.key, upload)?;
    let owner = bucket::info(service, &call.bucket)?.owner;
    let marker = call.query.number::<u32>("part-number-marker")?.unwrap_or(0);
    let count_max = call.query.number::<usize>("max-parts")?.unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX);
    let page: Vec<_> = parts.range(marker.saturating_add(1)..).take(count_max).collect();
    let last = page.last().map_or(marker, |(number, _)| **number);
    let is_truncated = parts.range(last.saturating_add(1)..).next().is_some();
    Ok(xml_response(Xml::document("ListPartsResult", |xml| {
        xml.text("Bucket", &call.bucket);
        xml.text("Key", &call.key);
        xml.text("UploadId", upload);
        bucket::owner(xml, "Initiator", &owner);
        bucket::owner(xml, "Owner", &owner);
        xml.text("StorageClass", "STANDARD");
        xml.text("PartNumberMarker", marker.to_string());
        xml.text("NextPartNumberMarker", last.to_string());
        xml.text("MaxParts", count_max.to_string());
        xml.text("IsTruncated", is_truncated.to_string());
        for (number, part) in page {
            xml.group("Part", |xml| {
                xml.text("PartNumber", number.to_string());
                xml.text("LastModified", iso_date(part.modified_ms));
                xml.text("ETag", format!("\"{}\"", part.etag));
                xml.text("Size", part.len.to_string());
            });
        }
    })))
}

pub fn list_uploads(service: &Service, call: &Call) -> Result<Response<Body>> {
    let owner = bucket::info(service, &call.bucket)?.owner;
    let text = |name: &str| call.query.get(name).unwrap_or_default();
    let (prefix, key_marker, upload_marker) = (text("prefix"), text("key-marker"), text("upload-id-marker"));
    let count_max = call.query.number::<usize>("max-uploads")?.unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX);
    let encodes = text("encoding-type") == "url";
    let name = |key: &str| if encodes { s3sign::encode_path(key) } else { key.to_owned() };
    // A key marker alone skips all uploads of its key: no id sorts after the last character there is.
    let beyond = char::MAX.to_string();
    let after_id = if key_marker.is_empty() || !upload_marker.is_empty() { upload_marker } else { &beyond };
    let mut uploads = service.log.uploads(&call.bucket, prefix, (key_marker, after_id), count_max + 1)?;
    let is_truncated = uploads.len() > count_max;
    uploads.truncate(count_max);
    Ok(xml_response(Xml::document("ListMultipartUploadsResult", |xml| {
        xml.text("Bucket", &call.bucket);
        xml.text("KeyMarker", name(key_marker));
        xml.text("UploadIdMarker", upload_marker);
        if let Some(last) = uploads.last().filter(|_| is_truncated) {
            xml.text("NextKeyMarker", name(&last.key));
            xml.text("NextUploadIdMarker", &last.upload);
        }
        xml.text("Prefix", name(prefix));
        if encodes {
            xml.text("EncodingType", "url");
        }
        xml.text("MaxUploads", count_max.to_string());
        xml.text("IsTruncated", is_truncated.to_string());
        for upload in &uploads {
            xml.group("Upload", |xml| {
                xml.text("Key", name(&upload.key));
                xml.text("UploadId", &upload.upload);
                bucket::owner(xml, "Initiator", &owner);
                bucket::owner(xml, "Owner", &owner);
                xml.text("StorageClass", "STANDARD");
                xml.text("Initiated", iso_date(upload.begun_ms));
            });
        }
    })))
}
