//! Pulling: manifests into memory, blobs into the store.

use super::call::{self, next_piece, repository_url, retried};
use super::{ClientError, RegistryClient};
use crate::store::PulledLayer;
use crate::{
    AnyManifest, CONFIG_BYTES_MAX, Descriptor, Digest, Hasher, ImageConfig, ImageStore, MANIFEST_BYTES_MAX, Manifest,
    PulledImage, Reference, host_platform, media_type,
};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use std::path::Path;
use tokio::io::AsyncWriteExt;

/// Layers fetched at once (Docker's `--max-concurrent-downloads`).
const LAYERS_AT_ONCE: usize = 3;

/// A manifest as its registry keeps it.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

impl RegistryClient {
    /// Brings an image into the store: of an index, the image for this machine. What the store holds is not fetched again.
    pub async fn pull(&self, reference: &Reference, store: &ImageStore) -> Result<PulledImage, ClientError> {
        let _one_at_a_time = store.pulling().await;
        let (digest, manifest) = self.pull_manifest(reference, store).await?;
        let config = self.pull_config(reference, store, &manifest.config).await?;
        stream::iter(manifest.layers.iter().map(Ok))
            .try_for_each_concurrent(LAYERS_AT_ONCE, |layer| self.pull_blob(reference, store, layer))
            .await?;
        let pulled = |descriptor: Descriptor| PulledLayer { path: store.blob_path(&descriptor.digest), descriptor };
        let layers = manifest.layers.into_iter().map(pulled).collect();
        Ok(PulledImage { manifest_digest: digest, config, layers })
    }

    async fn pull_manifest(
        &self,
        reference: &Reference,
        store: &ImageStore,
    ) -> Result<(Digest, Manifest), ClientError> {
        let (digest, parsed) = self.known_manifest(reference, store).await?;
        let index = match parsed {
            AnyManifest::Image(manifest) => return Ok((digest, *manifest)),
            AnyManifest::Index(index) => index,
        };
        let host = host_platform();
        let chosen = index.choose(&host).map(|chosen| reference.with_digest(chosen.digest.clone()));
        let Some(chosen) = chosen else {
            return Err(ClientError::NoPlatform { reference: reference.to_string(), host });
        };
        match self.known_manifest(&chosen, store).await? {
            (digest, AnyManifest::Image(manifest)) => Ok((digest, *manifest)),
            (_, AnyManifest::Index(_)) => Err(ClientError::NestedIndex { reference: reference.to_string() }),
        }
    }

    /// A manifest from the store when it is named by digest and held there, else from the registry.
    async fn known_manifest(
        &self,
        reference: &Reference,
        store: &ImageStore,
    ) -> Result<(Digest, AnyManifest), ClientError> {
        let bad = |source| ClientError::Manifest { reference: reference.to_string(), source };
        if let Some(digest) = &reference.digest
            && let Some(bytes) = store.read_blob(digest, MANIFEST_BYTES_MAX)
            && digest.of_same_kind(&bytes) == *digest
        {
            return Ok((digest.clone(), AnyManifest::parse(&bytes, None).map_err(bad)?));
        }
        let fetched = self.manifest(reference).await?;
        let parsed = AnyManifest::parse(&fetched.bytes, Some(&fetched.media_type)).map_err(bad)?;
        let kept = store.write_blob(&fetched.digest, &fetched.bytes);
        kept.map_err(|source| ClientError::Store { source })?;
        Ok((fetched.digest, parsed))
    }

    async fn pull_config(
        &self,
        reference: &Reference,
        store: &ImageStore,
        descriptor: &Descriptor,
    ) -> Result<ImageConfig, ClientError> {
        if descriptor.size > CONFIG_BYTES_MAX as u64 {
            let url = repository_url(reference, &format!("blobs/{}", descriptor.digest))?;
            return Err(ClientError::TooLarge { url, bytes_max: CONFIG_BYTES_MAX as u64 });
        }
        self.pull_blob(reference, store, descriptor).await?;
        let bytes = store.read_blob(&descriptor.digest, CONFIG_BYTES_MAX).unwrap_or_default();
        let bad = |source| ClientError::Config { reference: reference.to_string(), source };
        ImageConfig::parse(&bytes).map_err(bad)
    }

    async fn pull_blob(
        &self,
        reference: &Reference,
        store: &ImageStore,
        descriptor: &Descriptor,
    ) -> Result<(), ClientError> {
        if store.holds(&descriptor.digest) {
            return Ok(());
        }
        let kept = |source| ClientError::Store { source };
        let file = store.incoming_file().map_err(kept)?;
        self.blob(reference, &descriptor.digest, descriptor.size, &file).await?;
        let (store, digest) = (store.clone(), descriptor.digest.clone());
        let committed = tokio::task::spawn_blocking(move || store.commit_blob(&digest, file)).await;
        committed.expect("committing returns errors and is never cancelled").map_err(kept)
    }

    /// Fetches a manifest; one named by digest is checked against it.
    pub async fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, ClientError> {
        let url = repository_url(reference, &format!("manifests/{}", reference.version()))?;
        retried(|| self.manifest_once(reference, &url)).await
    }

    async fn manifest_once(&self, reference: &Reference, url: &str) -> Result<FetchedManifest, ClientError> {
        let registry = reference.registry.as_deref().unwrap_or_default();
        let accept = media_type::MANIFESTS_ACCEPTED.join(", ");
        let (url, response) = self.read(registry, Method::GET, url, &accept).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type::essence(content_type.unwrap_or_default()).to_owned();
        let bytes = call::collect(&url, response).await?;
        let digest = match &reference.digest {
            None => Digest::sha256(&bytes),
            Some(expected) => {
                let found = expected.of_same_kind(&bytes);
                if found != *expected {
                    return Err(ClientError::Digest { url, expected: expected.clone(), found });
                }
                found
            }
        };
        Ok(FetchedManifest { digest, media_type, bytes })
    }

    /// Fetches a blob into a file, which then holds exactly the bytes of that digest, at most `bytes_max`.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        bytes_max: u64,
        file: &Path,
    ) -> Result<(), ClientError> {
        let url = repository_url(reference, &format!("blobs/{digest}"))?;
        let registry = reference.registry.as_deref().unwrap_or_default();
        retried(|| self.blob_once(registry, &url, digest, bytes_max, file)).await
    }

    async fn blob_once(
        &self,
        registry: &str,
        url: &str,
        digest: &Digest,
        bytes_max: u64,
        path: &Path,
    ) -> Result<(), ClientError> {
        let (url, mut response) = self.read(registry, Method::GET, url, "*/*").await?;
        let write = |source| ClientError::File { action: "write", path: path.to_owned(), source };
        let mut file = tokio::fs::File::create(path).await.map_err(write)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut bytes = 0;
        while let Some(piece) = next_piece(&url, &mut response).await? {
            bytes += piece.len() as u64;
            if bytes > bytes_max {
                return Err(ClientError::TooLarge { url, bytes_max });
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(write)?;
        }
        file.flush().await.map_err(write)?;
        let found = hasher.finish();
        if found != *digest {
            return Err(ClientError::Digest { url, expected: digest.clone(), found });
        }
        Ok(())
    }
}
