//! Pulled images on a node.
//!
//! ```text
//! DIR/blobs/<algorithm>/<hex>   manifests, configurations, layers: whole and verified, put in place by a rename
//! DIR/roots/<hex>               unpacked images, by the manifest's digest: shared, to be read only
//! DIR/roots/<hex>.boot          the boot in which that root was unpacked
//! DIR/incoming/                 what is being written; emptied when the store is opened
//! ```
//! Blobs are flushed before their rename. Roots are not (a flush of thousands of small files would cost seconds): a root
//! unpacked before the last boot of the machine may have lost bytes to a power cut, so it is thrown away and made again.

use crate::unpack::{self, UnpackError};
use crate::{AnyManifest, Descriptor, Digest, ImageConfig};
use lifecycle::ErrorChain;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;
use tokio::sync::Mutex;

/// A directory of images. Cheap to clone; one process at a time may have it open.
#[derive(Clone, Debug)]
pub struct ImageStore {
    directory: Arc<Path>,
    /// Twenty tasks of one image start at once: the first pulls and unpacks, the others wait and find everything there.
    pulling: Arc<Mutex<()>>,
    unpacking: Arc<Mutex<()>>,
}

/// An image whose bytes are all in an [`ImageStore`].
#[derive(Clone, Debug)]
pub struct PulledImage {
    /// Of the manifest for this machine (not of an index above it).
    pub manifest_digest: Digest,
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<PulledLayer>,
}

#[derive(Clone, Debug)]
pub struct PulledLayer {
    pub descriptor: Descriptor,
    pub path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageStoreError {
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("unpack image {digest}")]
    Unpack { digest: Digest, source: UnpackError },
}

impl ImageStore {
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, ImageStoreError> {
        let directory = directory.into();
        let incoming = directory.join("incoming");
        remove(&incoming)?;
        let make = |path: &Path| {
            // Images may hold set-id files, which no other user of the machine should reach.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|source| ImageStoreError::File { action: "make", path: path.to_owned(), source })
        };
        for path in [&directory, &incoming, &directory.join("blobs/sha256"), &directory.join("blobs/sha512")] {
            make(path)?;
        }
        make(&directory.join("roots"))?;
        Ok(Self { directory: directory.into(), pulling: Arc::default(), unpacking: Arc::default() })
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    pub fn holds(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// A small blob's bytes, if it is here and no larger than `bytes_max`.
    pub fn read_blob(&self, digest: &Digest, bytes_max: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.blob_path(digest)).ok()?;
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= bytes_max).then_some(bytes)
    }

    /// Keeps a small blob whose digest was checked.
    pub fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ImageStoreError> {
        let path = self.incoming_file()?;
        fs::write(&path, bytes).map_err(|source| file_error("write", &path, source))?;
        self.commit_blob(digest, path)
    }

    /// A fresh file to write into; removed unless committed.
    pub(crate) fn incoming_file(&self) -> Result<TempPath, ImageStoreError> {
        let incoming = self.directory.join("incoming");
        let made = tempfile::NamedTempFile::new_in(&incoming);
        Ok(made.map_err(|source| file_error("make a file in", &incoming, source))?.into_temp_path())
    }

    /// Puts a written file, whose digest was checked, in its place.
    pub(crate) fn commit_blob(&self, digest: &Digest, written: TempPath) -> Result<(), ImageStoreError> {
        let flush = File::open(&written).and_then(|file| file.sync_all());
        flush.map_err(|source| file_error("flush", &written, source))?;
        let path = self.blob_path(digest);
        written.persist(&path).map_err(|error| file_error("put in place", &path, error.error))
    }

    /// Held while an image is pulled.
    pub(crate) async fn pulling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.pulling.lock().await
    }

    /// The image as a root directory, unpacked once. It is shared: whoever starts a container from it must not write
    /// into it (copy it, or put an overlay above).
    pub async fn root(&self, image: &PulledImage) -> Result<PathBuf, ImageStoreError> {
        let _one_at_a_time = self.unpacking.lock().await;
        let (store, image) = (self.clone(), image.clone());
        let unpacked = tokio::task::spawn_blocking(move || store.unpack(&image)).await;
        unpacked.expect("unpacking returns errors and is never cancelled")
    }

    fn unpack(&self, image: &PulledImage) -> Result<PathBuf, ImageStoreError> {
        let root = self.root_path(&image.manifest_digest);
        let marker = root.with_extension("boot");
        let boot = boot_id();
        if root.is_dir() && fs::read(&marker).is_ok_and(|written| written == boot) {
            return Ok(root);
        }
        self.discard(&root)?;
        let incoming = self.directory.join("incoming");
        let building = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in(&incoming);
        let building = building.map_err(|source| file_error("make a directory in", &incoming, source))?;
        unpack::image(image, building.path(), &unpack::Options::default())
            .map_err(|source| ImageStoreError::Unpack { digest: image.manifest_digest.clone(), source })?;
        fs::write(&marker, boot).map_err(|source| file_error("write", &marker, source))?;
        fs::rename(building.keep(), &root).map_err(|source| file_error("put in place", &root, source))?;
        Ok(root)
    }

    fn root_path(&self, manifest: &Digest) -> PathBuf {
        self.directory.join("roots").join(manifest.hex())
    }

    /// Moves a directory out of sight before it is removed, so that half of one is never taken for a whole.
    fn discard(&self, directory: &Path) -> Result<(), ImageStoreError> {
        let name = directory.file_name().unwrap_or_default();
        let aside = self.directory.join("incoming").join(name);
        remove(&aside)?;
        match fs::rename(directory, &aside) {
            Ok(()) => remove(&aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(file_error("move aside", directory, source)),
        }
    }

    /// Removes every image but those of these manifests.
    pub async fn keep_only(&self, manifests: &BTreeSet<Digest>) -> Result<(), ImageStoreError> {
        let _no_pull = self.pulling.lock().await;
        let _no_unpack = self.unpacking.lock().await;
        let (store, manifests) = (self.clone(), manifests.clone());
        let swept = tokio::task::spawn_blocking(move || store.sweep(&manifests)).await;
        swept.expect("sweeping returns errors and is never cancelled")
    }

    fn sweep(&self, manifests: &BTreeSet<Digest>) -> Result<(), ImageStoreError> {
        let mut blobs = manifests.clone();
        for digest in manifests {
            let bytes = self.read_blob(digest, crate::MANIFEST_BYTES_MAX).unwrap_or_default();
            match AnyManifest::parse(&bytes, None) {
                Ok(AnyManifest::Image(manifest)) => {
                    blobs.insert(manifest.config.digest);
                    blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
                }
                Ok(AnyManifest::Index(_)) => {}
                Err(error) => tracing::warn!(%digest, error = %ErrorChain(&error), "a kept image cannot be read"),
            }
        }
        let kept_blobs: BTreeSet<&str> = blobs.iter().map(Digest::hex).collect();
        for directory in ["blobs/sha256", "blobs/sha512"] {
            for path in list(&self.directory.join(directory))? {
                if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| kept_blobs.contains(name)) {
                    remove(&path)?;
                }
            }
        }
        let kept_roots: BTreeSet<PathBuf> = manifests.iter().map(|digest| self.root_path(digest)).collect();
        for path in list(&self.directory.join("roots"))? {
            if !kept_roots.contains(&path.with_extension("")) {
                self.discard(&path)?;
            }
        }
        Ok(())
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> ImageStoreError {
    ImageStoreError::File { action, path: path.to_owned(), source }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, ImageStoreError> {
    let error = |source| file_error("list", directory, source);
    let entries = fs::read_dir(directory).map_err(error)?;
    entries.map(|entry| Ok(entry.map_err(error)?.path())).collect()
}

fn remove(path: &Path) -> Result<(), ImageStoreError> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path, error)),
        _ => Ok(()),
    }
}

/// Names this boot of the machine. Where the kernel does not tell, every root counts as made in it.
fn boot_id() -> Vec<u8> {
    fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
