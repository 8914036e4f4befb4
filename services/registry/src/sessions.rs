//! Uploads in progress in this process: the S3 upload that takes the bytes, and the digest of what came so far.

use crate::error::{Code, RegistryError};
use oci::{Algorithm, Hasher, Repository};
use s3client::Upload;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Uploads in progress at once; each holds up to two parts ([`s3client::PART_BYTES`]) in memory: one that is sent, one that
/// fills.
pub const SESSIONS_MAX: usize = 128;
/// An upload that takes no bytes for this long is given up.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct Session {
    pub repository: Repository,
    pub upload: Upload,
    /// SHA-256 of what came so far, unless the client said early that it will ask for another digest.
    pub hasher: Hasher,
    /// The multipart id that the upload's record holds.
    pub recorded_multipart_id: Option<String>,
    /// When that record was last written.
    pub recorded: Instant,
    pub touched: Instant,
}

impl Session {
    pub fn new(repository: Repository, upload: Upload, algorithm: Algorithm) -> Self {
        let hasher = Hasher::new(algorithm);
        let now = Instant::now();
        Self { repository, upload, hasher, recorded_multipart_id: None, recorded: now, touched: now }
    }

    /// Takes bytes. What is hashed is what is uploaded, even if this future is dropped on its way.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.touched = Instant::now();
        self.hasher.update(bytes);
        Ok(self.upload.write(bytes).await?)
    }
}

/// A session is locked while a request feeds it; `None` once it has been finished or given up.
pub type Shared = Arc<tokio::sync::Mutex<Option<Session>>>;

#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Shared>>);

impl Sessions {
    pub fn insert(&self, id: &str, session: Session) -> Result<Shared, RegistryError> {
        self.with(|sessions| {
            if sessions.len() >= SESSIONS_MAX {
                let message = format!("{SESSIONS_MAX} uploads are in progress");
                return Err(RegistryError::refused(Code::TooManyRequests, message));
            }
            let shared = Shared::new(Some(session).into());
            sessions.insert(id.to_owned(), shared.clone());
            Ok(shared)
        })
    }

    pub fn get(&self, id: &str) -> Option<Shared> {
        self.with(|sessions| sessions.get(id).cloned())
    }

    pub fn remove(&self, id: &str) {
        self.with(|sessions| sessions.remove(id));
    }

    pub fn count(&self) -> usize {
        self.with(|sessions| sessions.len())
    }

    /// Takes out the sessions that have been idle too long.
    pub fn take_idle(&self) -> Vec<(String, Session)> {
        let all: Vec<(String, Shared)> =
            self.with(|sessions| sessions.iter().map(|(id, shared)| (id.clone(), shared.clone())).collect());
        let mut idle = Vec::new();
        for (id, shared) in all {
            // One that is locked is being fed.
            let Ok(mut session) = shared.try_lock() else { continue };
            if session.as_ref().is_none_or(|session| session.touched.elapsed() > SESSION_IDLE_MAX) {
                self.remove(&id);
                idle.extend(session.take().map(|session| (id, session)));
            }
        }
        idle
    }

    pub fn ids(&self) -> Vec<String> {
        self.with(|sessions| sessions.keys().cloned().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Shared>) -> T) -> T {
        // A panic while the lock was held left a map of whole entries.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
