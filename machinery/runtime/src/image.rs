//! Where images come from.

use async_trait::async_trait;
use lifecycle::BoxError;
use oci::{Digest, ImageStore, Reference, RegistryClient};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;
use web::Credentials;

pub use oci::RunConfig as ImageConfig;

/// References this node remembers the digest of; the oldest is forgotten first.
const REFERENCES_MAX: usize = 1024;

/// Gets images onto this node and unpacks each once. Implementations survive a crash at any moment: a root directory is
/// handed out only when it is complete.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// A reference that is known here is not asked for again, unless `force_pull`. Calls for the same image at the same
    /// time do the work once.
    async fn prepare(&self, reference: &str, force_pull: bool) -> Result<PreparedImage, BoxError>;
}

/// An image, ready to run from.
#[derive(Clone, Debug)]
pub struct PreparedImage {
    /// Shared by all tasks of the image; nobody writes to it.
    pub rootfs: PathBuf,
    pub config: ImageConfig,
}

/// Images from registries, kept in a directory of this node.
///
/// ```text
/// DIR/store        the blobs and root directories, see `oci::ImageStore`
/// DIR/references/  one file per reference that was pulled: the digest it had, so that a node starts its tasks again with
///                  no registry in reach
/// ```
pub struct RegistryImages {
    store: ImageStore,
    references: PathBuf,
    /// For references that name none.
    registry: Option<String>,
    trusted: RegistryClient,
    /// For other registries: they are not shown our credentials.
    anonymous: RegistryClient,
    /// One pull at a time per reference: twenty tasks of a new image ask the registry once.
    pulls: Mutex<HashMap<String, std::sync::Arc<Mutex<()>>>>,
}

impl RegistryImages {
    pub fn open(directory: &Path, registry: Option<String>, credentials: Credentials) -> Result<Self, BoxError> {
        let references = directory.join("references");
        fs::create_dir_all(&references)?;
        Ok(Self {
            store: ImageStore::open(directory.join("store"))?,
            references,
            registry,
            trusted: RegistryClient::new(credentials),
            anonymous: RegistryClient::new(Credentials::None),
            pulls: Mutex::default(),
        })
    }

    fn parse(&self, text: &str) -> Result<Reference, BoxError> {
        let reference: Reference = text.parse()?;
        Ok(match &self.registry {
            Some(registry) => reference.or_registry(registry),
            None => reference,
        })
    }

    fn client(&self, reference: &Reference) -> &RegistryClient {
        if reference.registry == self.registry { &self.trusted } else { &self.anonymous }
    }

    /// The file that remembers a reference's digest; a reference itself is no file name.
    fn memory(&self, reference: &Reference) -> PathBuf {
        self.references.join(Digest::sha256(reference.to_string().as_bytes()).hex())
    }

    fn known(&self, reference: &Reference) -> Option<Digest> {
        fs::read_to_string(self.memory(reference)).ok()?.trim().parse().ok()
    }

    fn remember(&self, reference: &Reference, digest: &Digest) -> io::Result<()> {
        let path = self.memory(reference);
        let temporary = path.with_extension("new");
        fs::write(&temporary, digest.to_string())?;
        fs::rename(&temporary, &path)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.references)? {
            let entry = entry?;
            kept.push((entry.metadata()?.modified()?, entry.path()));
        }
        kept.sort();
        for (_, oldest) in kept.iter().rev().skip(REFERENCES_MAX) {
            fs::remove_file(oldest)?;
        }
        Ok(())
    }

    /// Waits until no other call pulls this reference.
    async fn turn(&self, reference: &Reference) -> tokio::sync::OwnedMutexGuard<()> {
        let mut pulls = self.pulls.lock().await;
        // Entries nobody waits for are dropped here, so the map holds pulls in progress only.
        pulls.retain(|_, turn| std::sync::Arc::strong_count(turn) > 1);
        let turn = pulls.entry(reference.to_string()).or_default().clone();
        drop(pulls);
        turn.lock_owned().await
    }
}

#[async_trait]
impl ImageSource for RegistryImages {
    async fn prepare(&self, reference: &str, force_pull: bool) -> Result<PreparedImage, BoxError> {
        let reference = self.parse(reference)?;
        let _turn = self.turn(&reference).await;
        let known = if force_pull { None } else { self.known(&reference) };
        let asked = known.clone().map_or_else(|| reference.clone(), |digest| reference.with_digest(digest));
        let pulled = self.client(&reference).pull(&asked, &self.store).await?;
        if known.as_ref() != Some(&pulled.manifest_digest) {
            self.remember(&reference, &pulled.manifest_digest)?;
        }
        let rootfs = self.store.root(&pulled).await?;
        Ok(PreparedImage { rootfs, config: pulled.config.config })
    }
}
