//! Uploads of blobs: begun by POST, fed by PATCH, committed by PUT; or all at once; or mounted from another repository.

use super::{CONTENT_DIGEST, Call, empty};
use crate::error::{Code, RegistryError, received, with_header};
use crate::names::Committed;
use crate::range::chunk;
use crate::records::{self, BlobRecord, UploadRecord};
use crate::registry::{Registry, fresh_id, now_seconds};
use crate::sessions::{Session, Shared};
use crate::{keys, route};
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use http_body_util::BodyExt;
use lifecycle::ErrorChain;
use oci::{Algorithm, Digest, Hasher, Repository};
use std::time::{Duration, Instant};
use store::{Compare, Operation, TxnRequest};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// A client that sends nothing for this long is gone; what it sent stays, and it may go on.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// An upload's record says at least this often that bytes still come.
const RECORD_INTERVAL: Duration = Duration::from_secs(600);

/// The S3 key of an upload's bytes, which stay there when it is committed.
pub fn object_of(id: &str) -> String {
    format!("uploads/{id}")
}

pub async fn begin(call: &Call, repository: Repository, body: Body) -> Result<Response, RegistryError> {
    if let Some(digest) = call.query.get("mount") {
        let digest = route::digest(digest)?;
        // A name that is none holds nothing: the client then uploads, as for any blob that is not there.
        let from = call.query.get("from").map(str::parse::<Repository>);
        let mounted = match from {
            Some(Err(_)) => false,
            Some(Ok(from)) => call.registry.mount_blob(&repository, &digest, Some(&from)).await?,
            None => call.registry.mount_blob(&repository, &digest, None).await?,
        };
        if mounted {
            return Ok(created(&repository, &digest));
        }
    }
    let digest = call.query.get("digest").map(route::digest).transpose()?;
    let algorithm = match (call.query.get("digest-algorithm"), &digest) {
        (Some(name), _) => Algorithm::parse(name).ok_or_else(|| {
            RegistryError::refused(Code::DigestInvalid, format!("digest algorithm {name:?} is not supported"))
        })?,
        (None, Some(digest)) => digest.algorithm(),
        (None, None) => Algorithm::Sha256,
    };
    let id = fresh_id()?;
    let session = open(&call.registry, &repository, &id, algorithm).await?;
    match digest {
        None => Ok(accepted(&repository, &id, 0)),
        Some(digest) => {
            feed(&call.registry, &id, &session, body, None).await?;
            commit(&call.registry, &repository, &id, &session, &digest).await
        }
    }
}

pub async fn status(call: &Call, repository: &Repository, id: &str) -> Result<Response, RegistryError> {
    let session = find(&call.registry, repository, id).await?;
    let offset = session.lock().await.as_ref().ok_or_else(gone)?.upload.bytes();
    let mut response = accepted(repository, id, offset);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub async fn append(call: &Call, repository: &Repository, id: &str, body: Body) -> Result<Response, RegistryError> {
    let session = find(&call.registry, repository, id).await?;
    let expected = expected_chunk(call)?;
    feed(&call.registry, id, &session, body, expected.map(|first| (repository, first))).await?;
    let offset = session.lock().await.as_ref().ok_or_else(gone)?.upload.bytes();
    Ok(accepted(repository, id, offset))
}

pub async fn finish(call: &Call, repository: &Repository, id: &str, body: Body) -> Result<Response, RegistryError> {
    let session = find(&call.registry, repository, id).await?;
    let digest = call.query.get("digest").unwrap_or_default();
    let digest = route::digest(digest)?;
    let expected = expected_chunk(call)?;
    // The last chunk, or everything, may come with it.
    feed(&call.registry, id, &session, body, expected.map(|first| (repository, first))).await?;
    commit(&call.registry, repository, id, &session, &digest).await
}

pub async fn cancel(call: &Call, repository: &Repository, id: &str) -> Result<Response, RegistryError> {
    let session = find(&call.registry, repository, id).await?;
    let taken = session.lock().await.take().ok_or_else(gone)?;
    give_up(&call.registry, id, taken).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Forgets an upload: the session, the record, the bytes. What fails here the collection does later.
pub async fn give_up(registry: &Registry, id: &str, session: Session) {
    registry.sessions.remove(id);
    if let Err(error) = registry.store.delete(&keys::upload(id)).await {
        tracing::warn!(id, error = %ErrorChain(&error), "forget an upload");
    }
    if let Err(error) = session.upload.abort().await {
        tracing::warn!(id, error = %ErrorChain(&error), "drop an upload's bytes");
    }
}

async fn open(
    registry: &Registry,
    repository: &Repository,
    id: &str,
    algorithm: Algorithm,
) -> Result<Shared, RegistryError> {
    let upload = registry.s3.upload(&registry.bucket, &object_of(id), "application/octet-stream");
    let session = registry.sessions.insert(id, Session::new(repository.clone(), upload, algorithm))?;
    let record = UploadRecord { repository: repository.to_string(), touched: now_seconds(), multipart_id: None };
    if let Err(error) = registry.store.put(&keys::upload(id), records::write(&record)).await {
        registry.sessions.remove(id);
        return Err(error.into());
    }
    Ok(session)
}

/// The session of an upload. A record without a session is an upload that a restart cut off: it is said, not hidden.
async fn find(registry: &Registry, repository: &Repository, id: &str) -> Result<Shared, RegistryError> {
    if let Some(shared) = registry.sessions.get(id) {
        let is_its = shared.lock().await.as_ref().is_some_and(|session| session.repository == *repository);
        return if is_its { Ok(shared) } else { Err(gone()) };
    }
    // Ids are ours: what is no hexadecimal was never given out.
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id && registry.store.get(&keys::upload(id)).await?.is_some() {
        let message = "the upload was cut off by a restart of the registry; begin a new one";
        return Err(RegistryError::refused(Code::BlobUploadUnknown, message));
    }
    Err(gone())
}

fn gone() -> RegistryError {
    RegistryError::refused(Code::BlobUploadUnknown, "there is no such upload")
}

/// Where a chunk says that it begins; it must be as long as it says.
fn expected_chunk(call: &Call) -> Result<Option<u64>, RegistryError> {
    let Some(header) = call.header(CONTENT_RANGE) else { return Ok(None) };
    let invalid = |message| RegistryError::refused(Code::BlobUploadInvalid, message);
    let range = chunk(header).ok_or_else(|| invalid("Content-Range is not START-END"))?;
    let length = call.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| range.end() - range.start() != length.wrapping_sub(1)) {
        return Err(RegistryError::refused(Code::SizeInvalid, "Content-Range and Content-Length differ"));
    }
    Ok(Some(*range.start()))
}

/// Takes a body into an upload. When the body breaks off, what came of it stays.
async fn feed(
    registry: &Registry,
    id: &str,
    shared: &Shared,
    mut body: Body,
    expected: Option<(&Repository, u64)>,
) -> Result<(), RegistryError> {
    let mut slot = shared.lock().await;
    let session = slot.as_mut().ok_or_else(gone)?;
    let offset = session.upload.bytes();
    if let Some((repository, first)) = expected
        && first != offset
    {
        return Err(RegistryError::ChunkOrder { location: location(repository, id), offset });
    }
    let outcome = pour(registry, session, &mut body).await;
    record_progress(registry, id, session).await?;
    outcome
}

async fn pour(registry: &Registry, session: &mut Session, body: &mut Body) -> Result<(), RegistryError> {
    let broken = || RegistryError::refused(Code::BlobUploadInvalid, "the body broke off; what came of it is kept");
    loop {
        match tokio::time::timeout(STALL_TIMEOUT, body.frame()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    registry.metrics.upload_bytes.inc_by(data.len() as u64);
                    session.write(data).await?;
                }
            }
            Ok(Some(Err(_))) | Err(_) => return Err(broken()),
        }
    }
}

/// Remembers that bytes came, and where S3 keeps the parts, so that they are found again if this process dies.
async fn record_progress(registry: &Registry, id: &str, session: &mut Session) -> Result<(), RegistryError> {
    let multipart_id = session.upload.multipart_id().map(str::to_owned);
    if multipart_id == session.recorded_multipart_id && session.recorded.elapsed() < RECORD_INTERVAL {
        return Ok(());
    }
    let repository = session.repository.to_string();
    let record = UploadRecord { repository, touched: now_seconds(), multipart_id: multipart_id.clone() };
    let compare = vec![Compare::exists(keys::upload(id))];
    let success = vec![Operation::put(keys::upload(id), records::write(&record))];
    registry.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?;
    session.recorded_multipart_id = multipart_id;
    session.recorded = Instant::now();
    Ok(())
}

/// Makes an upload a blob.
async fn commit(
    registry: &Registry,
    repository: &Repository,
    id: &str,
    shared: &Shared,
    digest: &Digest,
) -> Result<Response, RegistryError> {
    let session = shared.lock().await.take().ok_or_else(gone)?;
    registry.sessions.remove(id);
    let object = object_of(id);
    let hashed = session.hasher.clone().finish();
    if hashed.algorithm() == digest.algorithm() && hashed != *digest {
        give_up(registry, id, session).await;
        return Err(differs(digest, &hashed));
    }
    // What is known already need not be finished.
    if hashed == *digest && registry.commit_known_blob(repository, digest, id).await? {
        if let Err(error) = session.upload.abort().await {
            tracing::warn!(id, error = %ErrorChain(&error), "drop a duplicate's bytes");
        }
        registry.metrics.commits.inc();
        registry.metrics.duplicate_commits.inc();
        return Ok(created(repository, digest));
    }
    let record = BlobRecord { bytes: session.upload.finish().await?, object };
    if hashed.algorithm() != digest.algorithm() {
        // The digest of another kind than was announced: the bytes are read once more.
        let found = rehash(registry, &record.object, digest.algorithm()).await?;
        if found != *digest {
            discard(registry, &record.object).await;
            registry.store.delete(&keys::upload(id)).await?;
            return Err(differs(digest, &found));
        }
    }
    match registry.commit_blob(repository, digest, &record, id).await? {
        Committed::Taken => {}
        Committed::Duplicate => {
            registry.metrics.duplicate_commits.inc();
            discard(registry, &record.object).await;
        }
    }
    registry.metrics.commits.inc();
    Ok(created(repository, digest))
}

async fn rehash(registry: &Registry, object: &str, algorithm: Algorithm) -> Result<Digest, RegistryError> {
    let mut body = registry.s3.get(&registry.bucket, object, None).await?.body;
    let mut hasher = Hasher::new(algorithm);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|source| s3client::S3Error::Body { resource: object.to_owned(), source: source.into() });
        if let Some(data) = frame?.data_ref() {
            hasher.update(data);
        }
    }
    Ok(hasher.finish())
}

/// Removes an object that nothing names; when that fails the collection does it later.
pub async fn discard(registry: &Registry, object: &str) {
    if let Err(error) = registry.s3.delete(&registry.bucket, object).await {
        tracing::warn!(object, error = %ErrorChain(&error), "remove an object that is not needed");
    }
}

fn differs(digest: &Digest, found: &Digest) -> RegistryError {
    RegistryError::refused(Code::DigestInvalid, format!("the bytes are {found}, not {digest}"))
}

fn location(repository: &Repository, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn accepted(repository: &Repository, id: &str, offset: u64) -> Response {
    let response = with_header(empty(StatusCode::ACCEPTED), LOCATION, &location(repository, id));
    let response = with_header(response, RANGE, &received(offset));
    with_header(response, UPLOAD_ID, id)
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let location = format!("/v2/{repository}/blobs/{digest}");
    let response = with_header(empty(StatusCode::CREATED), LOCATION, &location);
    with_header(response, CONTENT_DIGEST, &digest.to_string())
}
