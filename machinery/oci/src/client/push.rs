//! Pushing: every blob that the registry lacks, then the manifest.

use super::call::{self, repository_url, request, resolve, retried, succeed, with_query};
use super::{ClientError, RegistryClient};
use crate::{Digest, Reference};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, StreamBody};
use std::path::PathBuf;
use tokio_util::io::ReaderStream;
use web::{Body, empty_body, full_body};

/// Blobs sent at once (Docker's `--max-concurrent-uploads`).
const BLOBS_AT_ONCE: usize = 5;
/// Bytes read from a file at a time.
const PIECE_BYTES: usize = 256 << 10;

/// An image at hand: its manifest, byte-exact, and where its blobs are.
#[derive(Clone, Debug)]
pub struct LocalImage {
    pub media_type: String,
    pub manifest: Bytes,
    /// The configuration and the layers.
    pub blobs: Vec<(Digest, BlobSource)>,
}

#[derive(Clone, Debug)]
pub enum BlobSource {
    Bytes(Bytes),
    File(PathBuf),
}

impl BlobSource {
    async fn open(&self) -> Result<(Body, u64), ClientError> {
        match self {
            Self::Bytes(bytes) => Ok((full_body(bytes.clone()), bytes.len() as u64)),
            Self::File(path) => {
                let error = |source| ClientError::File { action: "read", path: path.clone(), source };
                let file = tokio::fs::File::open(path).await.map_err(error)?;
                let length = file.metadata().await.map_err(error)?.len();
                let pieces = ReaderStream::with_capacity(file, PIECE_BYTES);
                let frames = pieces.map_ok(http_body::Frame::data).map_err(lifecycle::BoxError::from);
                Ok((BodyExt::boxed(StreamBody::new(frames)), length))
            }
        }
    }
}

impl RegistryClient {
    /// Pushes an image under a name; the digest of its manifest comes back.
    pub async fn push(&self, reference: &Reference, image: &LocalImage) -> Result<Digest, ClientError> {
        stream::iter(image.blobs.iter().map(Ok))
            .try_for_each_concurrent(BLOBS_AT_ONCE, |(digest, source)| self.push_blob(reference, digest, source))
            .await?;
        self.push_manifest(reference, &image.media_type, image.manifest.clone()).await
    }

    /// Sends a blob unless the registry has it.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        source: &BlobSource,
    ) -> Result<(), ClientError> {
        if self.has_blob(reference, digest).await? {
            return Ok(());
        }
        // An upload that broke is begun anew: bytes are verified by digest, so a half of one does no harm.
        retried(|| self.upload(reference, digest, source)).await
    }

    pub async fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, ClientError> {
        let url = repository_url(reference, &format!("blobs/{digest}"))?;
        let registry = reference.registry.as_deref().unwrap_or_default();
        match retried(|| self.read(registry, Method::HEAD, &url, "*/*")).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn upload(&self, reference: &Reference, digest: &Digest, source: &BlobSource) -> Result<(), ClientError> {
        let registry = reference.registry.as_deref().unwrap_or_default();
        let url = repository_url(reference, "blobs/uploads/")?;
        let begin = request(Method::POST, &url, HeaderMap::new(), empty_body())?;
        let begun = succeed("POST", &url, self.send(registry, begin).await?).await?;
        let location = resolve(&url, begun.headers())?;

        let (body, length) = source.open().await?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let send = request(Method::PATCH, &location, headers, body)?;
        let sent = succeed("PATCH", &location, self.send(registry, send).await?).await?;
        let location = resolve(&location, sent.headers())?;

        let url = with_query(&location, "digest", &digest.to_string());
        let finish = request(Method::PUT, &url, HeaderMap::new(), empty_body())?;
        succeed("PUT", &url, self.send(registry, finish).await?).await?;
        Ok(())
    }

    /// Puts a manifest, whose blobs are there, under its name.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<Digest, ClientError> {
        let registry = reference.registry.as_deref().unwrap_or_default();
        let version = reference.tag.as_ref().map_or_else(|| reference.version(), ToString::to_string);
        let url = repository_url(reference, &format!("manifests/{version}"))?;
        let digest = Digest::sha256(&manifest);
        let mut headers = HeaderMap::new();
        if let Ok(media_type) = media_type.parse() {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let put = || async {
            let put = request(Method::PUT, &url, headers.clone(), full_body(manifest.clone()))?;
            succeed("PUT", &url, self.send(registry, put).await?).await
        };
        retried(put).await?;
        Ok(digest)
    }

    /// Removes a manifest (by digest) or a tag.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), ClientError> {
        let registry = reference.registry.as_deref().unwrap_or_default();
        let url = repository_url(reference, &format!("manifests/{}", reference.version()))?;
        let delete = request(Method::DELETE, &url, HeaderMap::new(), empty_body())?;
        let answer = succeed("DELETE", &url, self.send(registry, delete).await?).await?;
        call::collect(&url, answer).await.map(|_| ())
    }
}
