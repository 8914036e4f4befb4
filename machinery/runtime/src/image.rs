//! Where images come from.

use async_trait::async_trait;
use lifecycle::BoxError;
use oci::{Digest, ImageStore, Reference, RegistryClient};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;
use web::Credentials;

pub use oci::RunConfig as ImageConfig;

/// Images kept besides those in use: the ones asked for last. An image of 100 MiB is 300 MiB here, packed and unpacked.
const IMAGES_KEPT_MAX: usize = 32;

/// Gets images onto this node and unpacks each once. Implementations survive a crash at any moment: a root directory is
/// handed out only when it is complete.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// A reference that is known here is not asked for again, unless `force_pull`. Calls for the same image at the same
    /// time do the work once.
    async fn prepare(&self, reference: &str, force_pull: bool) -> Result<PreparedImage, BoxError>;

    /// Deletes what has not been asked for in a long time and is not among the root directories in use.
    async fn collect(&self, in_use: &BTreeSet<PathBuf>) -> Result<(), BoxError>;
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
    kept_max: usize,
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
            kept_max: IMAGES_KEPT_MAX,
        })
    }

    /// With another bound of the images kept besides those in use.
    pub fn keeping(self, kept_max: usize) -> Self {
        Self { kept_max, ..self }
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

    /// The file's time is when the image was asked for last.
    fn remember(&self, reference: &Reference, digest: &Digest) -> io::Result<()> {
        let path = self.memory(reference);
        let temporary = path.with_extension("new");
        fs::write(&temporary, digest.to_string())?;
        fs::rename(&temporary, &path)
    }

    /// Every reference remembered, the one asked for last first.
    fn remembered(&self) -> io::Result<Vec<PathBuf>> {
        let mut remembered = Vec::new();
        for entry in fs::read_dir(&self.references)? {
            let entry = entry?;
            remembered.push((entry.metadata()?.modified()?, entry.path()));
        }
        remembered.sort();
        Ok(remembered.into_iter().rev().map(|(_, path)| path).collect())
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
        self.remember(&reference, &pulled.manifest_digest)?;
        let rootfs = self.store.root(&pulled).await?;
        Ok(PreparedImage { rootfs, config: pulled.config.config })
    }

    async fn collect(&self, in_use: &BTreeSet<PathBuf>) -> Result<(), BoxError> {
        let mut remembered = self.remembered()?;
        if remembered.len() <= self.kept_max {
            return Ok(());
        }
        let old = remembered.split_off(self.kept_max);
        let mut keep = BTreeSet::new();
        for path in remembered {
            if let Ok(digest) = fs::read_to_string(path)?.trim().parse() {
                keep.insert(digest);
            }
        }
        for path in old {
            let digest: Option<Digest> = fs::read_to_string(&path)?.trim().parse().ok();
            // A root directory is named after its manifest.
            let used =
                |digest: &Digest| in_use.iter().any(|root| root.file_name().is_some_and(|name| name == digest.hex()));
            match digest {
                Some(digest) if used(&digest) => {
                    keep.insert(digest);
                }
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(self.store.keep_only(&keep).await?)
    }
}
