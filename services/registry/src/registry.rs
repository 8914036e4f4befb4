//! What every handler shares.

use crate::error::RegistryError;
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use bytes::Bytes;
use oci::Digest;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use store::Store;
use tokio::sync::Notify;

/// Bytes of manifests kept in memory: many nodes pull the same image at the same instant.
const MANIFEST_CACHE_BYTES_MAX: usize = 32 << 20;

/// Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

pub struct Inner {
    pub store: Arc<dyn Store>,
    pub s3: s3client::Client,
    pub bucket: String,
    pub sessions: Sessions,
    pub metrics: Metrics,
    /// Wakes the collection.
    pub nudge: Notify,
    manifests: Mutex<HashMap<Digest, Bytes>>,
}

impl Deref for Registry {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Registry {
    pub fn new(store: Arc<dyn Store>, s3: s3client::Client, bucket: String) -> Self {
        let (sessions, metrics, nudge) = (Sessions::default(), Metrics::default(), Notify::new());
        Self(Arc::new(Inner { store, s3, bucket, sessions, metrics, nudge, manifests: Mutex::default() }))
    }

    /// A manifest's bytes, which are an S3 object. What is cached by digest cannot be out of date.
    pub async fn manifest_bytes(&self, digest: &Digest, object: &str) -> Result<Bytes, RegistryError> {
        if let Some(bytes) = self.cache(|cache| cache.get(digest).cloned()) {
            return Ok(bytes);
        }
        let bytes = self.s3.get_bytes(&self.bucket, object).await?;
        self.cache(|cache| {
            let held: usize = cache.values().map(Bytes::len).sum();
            if held + bytes.len() > MANIFEST_CACHE_BYTES_MAX {
                cache.clear();
            }
            cache.insert(digest.clone(), bytes.clone());
        });
        Ok(bytes)
    }

    fn cache<T>(&self, work: impl FnOnce(&mut HashMap<Digest, Bytes>) -> T) -> T {
        // A panic while the lock was held left a map of whole entries.
        work(&mut self.manifests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Seconds since 1970.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A fresh object's name: nobody else writes under it.
pub fn fresh_id() -> Result<String, RegistryError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|source| RegistryError::Random { source })?;
    Ok(hex::encode(bits))
}
