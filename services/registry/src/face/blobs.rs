//! Blobs: read whole or in part, removed from a repository.

use super::{CONTENT_DIGEST, Call, empty};
use crate::error::{Code, RegistryError, with_header};
use crate::records::BlobRecord;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http_body_util::BodyExt;
use oci::{Digest, Repository};
use web::range::{self, Wanted};

/// Bytes named by their digest never change.
const FOREVER: &str = "max-age=31536000, immutable";

pub async fn head(call: &Call, repository: &Repository, digest: &Digest) -> Result<Response, RegistryError> {
    let record = held(call, repository, digest).await?;
    Ok(with_header(described(empty(StatusCode::OK), digest), CONTENT_LENGTH, &record.bytes.to_string()))
}

pub async fn get(call: &Call, repository: &Repository, digest: &Digest) -> Result<Response, RegistryError> {
    let record = held(call, repository, digest).await?;
    let (status, range) = match range::wanted(call.header(RANGE), record.bytes) {
        Wanted::Whole => (StatusCode::OK, None),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range.start..=range.end - 1)),
        Wanted::Unsatisfiable => return Err(RegistryError::BlobRange { bytes: record.bytes }),
    };
    let registry = call.registry.clone();
    let object = registry.s3.get(&registry.bucket, &record.object, range.clone()).await?;
    let length = range.as_ref().map_or(record.bytes, |range| range.end() - range.start() + 1);
    let body = object.body.map_frame(move |frame| {
        registry.metrics.download_bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        frame
    });
    let mut response = described(empty(status), digest);
    *response.body_mut() = Body::new(body);
    response = with_header(response, CONTENT_LENGTH, &length.to_string());
    if let Some(range) = range {
        let covers = format!("bytes {}-{}/{}", range.start(), range.end(), record.bytes);
        response = with_header(response, CONTENT_RANGE, &covers);
    }
    Ok(response)
}

pub async fn delete(call: &Call, repository: &Repository, digest: &Digest) -> Result<Response, RegistryError> {
    if !call.registry.unlink_blob(repository, digest).await? {
        return Err(unknown(repository, digest));
    }
    call.registry.nudge.notify_one();
    Ok(empty(StatusCode::ACCEPTED))
}

async fn held(call: &Call, repository: &Repository, digest: &Digest) -> Result<BlobRecord, RegistryError> {
    call.registry.held_blob(repository, digest).await?.ok_or_else(|| unknown(repository, digest))
}

fn unknown(repository: &Repository, digest: &Digest) -> RegistryError {
    RegistryError::refused(Code::BlobUnknown, format!("{repository} does not hold {digest}"))
}

fn described(response: Response, digest: &Digest) -> Response {
    let response = with_header(response, CONTENT_DIGEST, &digest.to_string());
    let response = with_header(response, ETAG, &format!("\"{digest}\""));
    let response = with_header(response, CONTENT_TYPE, "application/octet-stream");
    let response = with_header(response, ACCEPT_RANGES, "bytes");
    with_header(response, CACHE_CONTROL, FOREVER)
}
