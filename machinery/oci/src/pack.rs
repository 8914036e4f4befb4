//! Makes an image from files of this machine, without Docker.
//!
//! A program (an ELF file) brings what it cannot start without: its interpreter and the shared libraries that `ld.so` would
//! load ([`libraries`]). What it opens by itself later (`dlopen`, data files) it does not bring: add that by name.
//!
//! The same files give the same digest, always and everywhere: entries are sorted, times are zero, the owner is root, modes
//! are one of two, and gzip writes no name and no time. Memory is bounded: the layer is written to a temporary file.

mod elf;
mod layer;
mod libraries;
mod tree;

#[cfg(test)]
mod tests;

use crate::client::{BlobSource, LocalImage};
use crate::config::RootFs;
use crate::{Descriptor, Digest, ImageConfig, Manifest, Platform, RunConfig, host_platform, media_type};
use bytes::Bytes;
use elf::ElfError;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tempfile::TempPath;
use tree::Tree;

/// What goes into an image, and how it runs.
#[derive(Clone, Debug, Default)]
pub struct ImageBuilder {
    /// Later ones replace earlier ones at the same path.
    pub additions: Vec<Add>,
    pub config: RunConfig,
    /// By default that of the first program added, else this machine's.
    pub platform: Option<Platform>,
}

/// A file or directory to add, as `PATH[=DEST]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    pub source: PathBuf,
    /// Its place in the image; by default its place on this machine. With a `/` at its end: the directory it goes into.
    pub destination: Option<PathBuf>,
}

impl FromStr for Add {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once('=') {
            Some((source, destination)) => Self { source: source.into(), destination: Some(destination.into()) },
            None => Self { source: text.into(), destination: None },
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is neither a file, a directory nor a symbolic link", path.display())]
    Special { path: PathBuf },
    #[error("{} has the form of a program but is damaged", path.display())]
    Elf { path: PathBuf, source: ElfError },
    #[error("library {name} of {} is in none of the standard directories", needed_by.display())]
    MissingLibrary { name: String, needed_by: PathBuf },
    #[error("interpreter {} of {} is not there", interpreter.display(), needed_by.display())]
    MissingInterpreter { interpreter: PathBuf, needed_by: PathBuf },
    #[error("{} cannot be placed in the image: {why}", path.display())]
    Place { path: PathBuf, why: &'static str },
    #[error("image has more than {max} {what}")]
    Limit { what: &'static str, max: usize },
    #[error("{} changed while it was read", path.display())]
    Changed { path: PathBuf },
    #[error("write the layer")]
    Layer { source: io::Error },
    #[error("encode the image's JSON")]
    Json { source: serde_json::Error },
}

/// An image in one layer, whose file lives as long as this.
#[derive(Debug)]
pub struct PackedImage {
    pub manifest: Bytes,
    pub config: Bytes,
    pub config_digest: Digest,
    pub layers: Vec<PackedLayer>,
}

#[derive(Debug)]
pub struct PackedLayer {
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    pub file: TempPath,
}

impl ImageBuilder {
    /// Builds the image; its layer is written to a temporary file in `spool`. Synchronous.
    pub fn build(&self, spool: &Path) -> Result<PackedImage, PackError> {
        let mut tree = Tree::default();
        let mut programs_platform = None;
        for add in &self.additions {
            let found = add_to(&mut tree, add)?;
            programs_platform = programs_platform.or(found);
        }
        let layer = layer::write(&tree, spool)?;
        let platform = self.platform.clone().or(programs_platform).unwrap_or_else(host_platform);
        self.assemble(platform, layer)
    }

    fn assemble(&self, platform: Platform, layer: PackedLayer) -> Result<PackedImage, PackError> {
        let json = |source| PackError::Json { source };
        let config = ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            config: self.config.clone(),
            rootfs: RootFs { diff_ids: vec![layer.diff_id.clone()], ..RootFs::default() },
        };
        let config = serde_json::to_vec(&config).map_err(json)?;
        let config_digest = Digest::sha256(&config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, config_digest.clone(), config.len() as u64),
            layers: vec![layer.descriptor.clone()],
            subject: None,
            annotations: None,
        };
        let manifest = serde_json::to_vec(&manifest).map_err(json)?;
        let layers = vec![layer];
        Ok(PackedImage { manifest: manifest.into(), config: config.into(), config_digest, layers })
    }
}

impl PackedImage {
    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.manifest)
    }

    /// What is pushed, or written to a layout. Its layers are this image's files: keep this image while it is used.
    pub fn local(&self) -> LocalImage {
        let layer = |layer: &PackedLayer| (layer.descriptor.digest.clone(), BlobSource::File(layer.file.to_path_buf()));
        let mut blobs = vec![(self.config_digest.clone(), BlobSource::Bytes(self.config.clone()))];
        blobs.extend(self.layers.iter().map(layer));
        LocalImage { media_type: media_type::OCI_MANIFEST.to_owned(), manifest: self.manifest.clone(), blobs }
    }
}

/// Adds one file (with what it needs) or one directory; tells the platform if it is a program.
fn add_to(tree: &mut Tree, add: &Add) -> Result<Option<Platform>, PackError> {
    let destination = destination_of(add)?;
    let file = |source| PackError::File { action: "look at", path: add.source.clone(), source };
    // Links are followed for what is named, kept for what lies in a directory.
    let metadata = std::fs::metadata(&add.source).map_err(file)?;
    if metadata.is_dir() {
        let programs = tree.add_directory(&add.source, &destination)?;
        for (source, destination) in programs {
            libraries::add_needed(tree, &source, &destination)?;
        }
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(PackError::Special { path: add.source.clone() });
    }
    tree.add_file(&add.source, &destination, &metadata)?;
    libraries::add_needed(tree, &add.source, &destination)
}

fn destination_of(add: &Add) -> Result<PathBuf, PackError> {
    let file = |source| PackError::File { action: "find", path: add.source.clone(), source };
    let Some(destination) = &add.destination else {
        return std::path::absolute(&add.source).map_err(file);
    };
    if !destination.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(destination.clone());
    }
    Ok(match add.source.file_name() {
        // A directory's content goes to DEST/; a file goes into it.
        Some(name) if !add.source.is_dir() => destination.join(name),
        _ => destination.clone(),
    })
}
