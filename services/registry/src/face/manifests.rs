//! Manifests: kept byte-exact, under their digest and under tags.

use super::uploads::discard;
use super::{CONTENT_DIGEST, Call, OCI_SUBJECT, OCI_TAG, empty};
use crate::error::{Code, RegistryError, with_header};
use crate::names::Committed;
use crate::records::ManifestRecord;
use crate::registry::fresh_id;
use crate::route::Version;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oci::{AnyManifest, Descriptor, Digest, MANIFEST_BYTES_MAX, Repository, Tag, media_type};
use std::collections::BTreeSet;

/// Tags that one PUT may set: they go into one transaction of 128 operations.
const TAGS_MAX: usize = 100;
/// Blobs that one manifest may reference: its record lists them, and the store takes 1.5 MiB in one request.
const REFERENCES_MAX: usize = 6_000;

pub async fn get(call: &Call, repository: &Repository, version: &Version) -> Result<Response, RegistryError> {
    let digest = resolve(call, repository, version).await?;
    let record = call.registry.manifest_record(repository, &digest).await?.ok_or_else(|| unknown(repository))?;
    let bytes = call.registry.manifest_bytes(&digest, &record.object).await?;
    call.registry.metrics.download_bytes.inc_by(bytes.len() as u64);
    let response = with_header(empty(StatusCode::OK), CONTENT_TYPE, &record.media_type);
    let response = with_header(response, CONTENT_LENGTH, &bytes.len().to_string());
    let response = with_header(response, CONTENT_DIGEST, &digest.to_string());
    let mut response = with_header(response, ETAG, &format!("\"{digest}\""));
    // Of a HEAD the server sends the length and drops the body.
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

pub async fn put(
    call: &Call,
    repository: &Repository,
    version: &Version,
    body: Body,
) -> Result<Response, RegistryError> {
    let content_type = call.header(CONTENT_TYPE).map(|text| media_type::essence(text).to_owned());
    let bytes = read_body(body).await?;
    let invalid = |message: String| RegistryError::refused(Code::ManifestInvalid, message);
    let parsed = AnyManifest::parse(&bytes, content_type.as_deref());
    let manifest = parsed.map_err(|error| invalid(lifecycle::ErrorChain(&error).to_string()))?;
    let digest = match version {
        Version::Invalid => return Err(invalid("that is no tag".to_owned())),
        Version::Tag(_) => Digest::sha256(&bytes),
        Version::Digest(digest) if digest.of_same_kind(&bytes) == *digest => digest.clone(),
        Version::Digest(digest) => {
            let message = format!("the bytes are {}, not {digest}", digest.of_same_kind(&bytes));
            return Err(RegistryError::refused(Code::DigestInvalid, message));
        }
    };
    // Each tag once: the store's transactions touch each key once.
    let extra: BTreeSet<Tag> = match version {
        Version::Digest(_) => call.query.all("tag").map(str::parse).collect::<Result<_, _>>(),
        _ => Ok(BTreeSet::new()),
    }
    .map_err(|error: oci::ReferenceError| invalid(error.to_string()))?;
    if extra.len() > TAGS_MAX {
        return Err(invalid(format!("more than {TAGS_MAX} tags")));
    }
    let tags: Vec<Tag> = match version {
        Version::Tag(tag) => vec![tag.clone()],
        _ => extra.iter().cloned().collect(),
    };
    let references = references(&manifest);
    if references.len() > REFERENCES_MAX {
        return Err(invalid(format!("more than {REFERENCES_MAX} layers")));
    }
    let required = required(&manifest);
    let registry = &call.registry;
    let object = format!("manifests/{}", fresh_id()?);
    let media_type = stated_type(&manifest, content_type);
    let subject = manifest.subject().map(|subject| subject.digest.clone());
    registry.metrics.upload_bytes.inc_by(bytes.len() as u64);
    registry.s3.put(&registry.bucket, &object, &media_type, bytes.clone()).await?;
    let record = ManifestRecord {
        media_type,
        object: object.clone(),
        bytes: bytes.len() as u64,
        references: references.into_iter().collect(),
        subject: subject.clone(),
    };
    match registry.put_manifest(repository, &digest, record, &tags, &required).await {
        Ok(Committed::Taken) => {}
        Ok(Committed::Duplicate) => discard(registry, &object).await,
        Err(error) => {
            // A store that did not answer may have done it all the same; then the object is needed.
            if !matches!(error, RegistryError::Store { .. }) {
                discard(registry, &object).await;
            }
            return Err(error);
        }
    }
    let location = format!("/v2/{repository}/manifests/{digest}");
    let response = with_header(empty(StatusCode::CREATED), LOCATION, &location);
    let mut response = with_header(response, CONTENT_DIGEST, &digest.to_string());
    if let Some(subject) = subject {
        response = with_header(response, OCI_SUBJECT, &subject.to_string());
    }
    for tag in &extra {
        if let Ok(value) = tag.as_str().parse() {
            response.headers_mut().append(OCI_TAG, value);
        }
    }
    Ok(response)
}

pub async fn delete(call: &Call, repository: &Repository, version: &Version) -> Result<Response, RegistryError> {
    let deleted = match version {
        Version::Tag(tag) => call.registry.delete_tag(repository, tag).await?,
        Version::Digest(digest) => call.registry.delete_manifest(repository, digest).await?,
        Version::Invalid => false,
    };
    if !deleted {
        return Err(unknown(repository));
    }
    call.registry.nudge.notify_one();
    Ok(empty(StatusCode::ACCEPTED))
}

async fn resolve(call: &Call, repository: &Repository, version: &Version) -> Result<Digest, RegistryError> {
    match version {
        Version::Digest(digest) => Ok(digest.clone()),
        Version::Tag(tag) => call.registry.tag_digest(repository, tag).await?.ok_or_else(|| unknown(repository)),
        Version::Invalid => Err(unknown(repository)),
    }
}

fn unknown(repository: &Repository) -> RegistryError {
    RegistryError::refused(Code::ManifestUnknown, format!("{repository} has no such manifest"))
}

async fn read_body(body: Body) -> Result<Bytes, RegistryError> {
    match Limited::new(body, MANIFEST_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes");
            Err(RegistryError::refused(Code::ManifestTooLarge, message))
        }
        Err(_) => Err(RegistryError::refused(Code::ManifestInvalid, "the body broke off")),
    }
}

/// The blobs that a manifest keeps alive.
fn references(manifest: &AnyManifest) -> BTreeSet<Digest> {
    match manifest {
        AnyManifest::Image(image) => {
            std::iter::once(&image.config).chain(&image.layers).map(|descriptor| descriptor.digest.clone()).collect()
        }
        AnyManifest::Index(_) => BTreeSet::new(),
    }
}

/// The blobs that must be there. What an index lists may come later or never (the specification's sparse index), and
/// layers that may not be distributed are fetched elsewhere.
fn required(manifest: &AnyManifest) -> BTreeSet<Digest> {
    let is_foreign = |descriptor: &&Descriptor| {
        !descriptor.urls.is_empty()
            || descriptor.media_type.contains("nondistributable")
            || descriptor.media_type.contains(".foreign.")
    };
    match manifest {
        AnyManifest::Image(image) => std::iter::once(&image.config)
            .chain(&image.layers)
            .filter(|descriptor| !is_foreign(descriptor))
            .map(|descriptor| descriptor.digest.clone())
            .collect(),
        AnyManifest::Index(_) => BTreeSet::new(),
    }
}

/// What the manifest says it is, else what its sender said.
fn stated_type(manifest: &AnyManifest, content_type: Option<String>) -> String {
    let (inside, usual) = match manifest {
        AnyManifest::Image(image) => (&image.media_type, media_type::OCI_MANIFEST),
        AnyManifest::Index(index) => (&index.media_type, media_type::OCI_INDEX),
    };
    let said = content_type.filter(|said| media_type::is_image_manifest(said) || media_type::is_index(said));
    inside.clone().or(said).unwrap_or_else(|| usual.to_owned())
}
