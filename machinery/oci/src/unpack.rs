//! Lays layers out as a root directory.
//!
//! A layer is a tar of changes: files to put, and whiteouts (`.wh.NAME`, `.wh..wh..opq`) of what a lower layer put. It comes
//! from a stranger, so it is read as hostile: every path is resolved *inside* the root ([`jail`]), sizes and counts are
//! bounded, and what the tar library would read into memory without a bound is read here with one ([`archive`]).
//!
//! What is not kept: device nodes and FIFOs (a runtime makes `/dev` itself), extended attributes, times of directories.
//! As root, owners are kept; as an ordinary user everything is the user's, set-id bits are dropped, and directories stay
//! writable so that upper layers can change them. Synchronous: call it from `spawn_blocking`.

mod archive;
mod jail;
mod layer;
mod zstd;

#[cfg(test)]
mod tests;

use crate::digest::HashingReader;
use crate::media_type::Compression;
use crate::{Algorithm, Descriptor, Digest, PulledImage};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bounds of one layer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the uncompressed tar.
    pub tar_bytes_max: u64,
    /// Entries of the tar, extension headers included.
    pub entries_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tar_bytes_max: 64 << 30, entries_max: 4_000_000 }
    }
}

/// Whether files get the owner that the layer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    Keep,
    /// Everything belongs to whoever unpacks.
    Unpacker,
}

impl Ownership {
    /// Only root may give files away.
    pub fn of_this_process() -> Self {
        if nix::unistd::geteuid().is_root() { Self::Keep } else { Self::Unpacker }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    pub ownership: Ownership,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), ownership: Ownership::of_this_process() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("layer type {media_type:?} is not a tar, plain, gzip or zstd")]
    MediaType { media_type: String },
    #[error("read the layer {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("read the layer's tar")]
    Tar { source: io::Error },
    #[error("layer has more than {max} {what}")]
    Limit { what: &'static str, max: u64 },
    #[error("layer entry {path:?} {why}")]
    Entry { path: PathBuf, why: &'static str },
    #[error("{action} {path:?}")]
    Write { action: &'static str, path: PathBuf, source: io::Error },
    #[error("layer is {found}, not {expected}")]
    Digest { expected: Digest, found: Digest },
    #[error("layer holds {found} bytes, not {expected}")]
    Size { expected: u64, found: u64 },
    #[error("unpacked layer is {found}, not the {expected} of the image's configuration")]
    DiffId { expected: Digest, found: Digest },
    #[error("image has {layers} layers but its configuration names {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
}

/// What a layer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// SHA-256 of the uncompressed tar.
    pub diff_id: Digest,
    pub tar_bytes: u64,
    pub entries: u64,
}

/// Unpacks an image's layers, lowest first, into `root` (an existing, empty directory), checking each layer's digest,
/// size and diff id on the way.
pub fn image(image: &PulledImage, root: &Path, options: &Options) -> Result<(), UnpackError> {
    let diff_ids = &image.config.rootfs.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Err(UnpackError::LayerCount { layers: image.layers.len(), diff_ids: diff_ids.len() });
    }
    for (pulled, expected) in image.layers.iter().zip(diff_ids) {
        let open = |source| UnpackError::Open { path: pulled.path.clone(), source };
        let file = File::open(&pulled.path).map_err(open)?;
        let applied = layer(file, &pulled.descriptor, root, options)?;
        // A sha512 diff id is not checked a second time: the layer's own digest already named these bytes.
        if expected.algorithm() == Algorithm::Sha256 && applied.diff_id != *expected {
            return Err(UnpackError::DiffId { expected: expected.clone(), found: applied.diff_id });
        }
    }
    Ok(())
}

/// Applies one layer, checking that it holds the bytes its descriptor names.
///
/// The check is at the end: after an error `root` holds part of a layer and must be thrown away.
pub fn layer(blob: impl Read, descriptor: &Descriptor, root: &Path, options: &Options) -> Result<Applied, UnpackError> {
    let mut blob = HashingReader::new(blob, descriptor.digest.algorithm());
    let applied = apply(&mut blob, root, &descriptor.media_type, options)?;
    let (found, bytes) = blob.finish();
    if bytes != descriptor.size {
        return Err(UnpackError::Size { expected: descriptor.size, found: bytes });
    }
    if found != descriptor.digest {
        return Err(UnpackError::Digest { expected: descriptor.digest.clone(), found });
    }
    Ok(applied)
}

/// Applies one layer whose bytes are already trusted to be the right ones. Reads `blob` to its end.
pub fn apply(mut blob: impl Read, root: &Path, media_type: &str, options: &Options) -> Result<Applied, UnpackError> {
    let compression = Compression::of_layer(media_type)
        .ok_or_else(|| UnpackError::MediaType { media_type: crate::digest::excerpt(media_type) })?;
    let applied = match compression {
        Compression::None => apply_tar(&mut blob, root, options),
        Compression::Gzip => apply_tar(MultiGzDecoder::new(&mut blob), root, options),
        Compression::Zstd => apply_tar(zstd::Reader::new(&mut blob), root, options),
    }?;
    // Bytes past the end of the compressed stream belong to the blob's digest too.
    drain(&mut blob, options.limits.tar_bytes_max)?;
    Ok(applied)
}

fn apply_tar(tar: impl Read, root: &Path, options: &Options) -> Result<Applied, UnpackError> {
    let mut tar = HashingReader::new(tar, Algorithm::Sha256);
    let entries = layer::apply(&mut tar, root, options)?;
    drain(&mut tar, options.limits.tar_bytes_max)?;
    let (diff_id, tar_bytes) = tar.finish();
    Ok(Applied { diff_id, tar_bytes, entries })
}

/// Reads to the end: tars are padded after their last entry.
fn drain(reader: &mut impl Read, bytes_max: u64) -> Result<(), UnpackError> {
    let copied = io::copy(&mut reader.take(bytes_max.saturating_add(1)), &mut io::sink());
    match copied {
        Ok(bytes) if bytes > bytes_max => Err(UnpackError::Limit { what: "bytes", max: bytes_max }),
        Ok(_) => Ok(()),
        Err(source) => Err(UnpackError::Tar { source }),
    }
}
