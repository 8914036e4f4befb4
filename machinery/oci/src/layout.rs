//! The image layout on disk (image specification, "OCI Image Layout"): `oci-layout`, `index.json`, `blobs/`.
//! `skopeo copy oci:DIR:TAG` reads it, too.

use crate::client::{BlobSource, LocalImage};
use crate::{AnyManifest, Descriptor, Digest, Index, MANIFEST_BYTES_MAX, ManifestError, Reference, media_type};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The annotation that names an image of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";
const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("read the manifest {}", path.display())]
    Manifest { path: PathBuf, source: ManifestError },
    #[error("{} is not an image layout's index", path.display())]
    Index { path: PathBuf, source: serde_json::Error },
    #[error("{} holds no image named {name:?}; it holds {held:?}", directory.display())]
    NoImage { directory: PathBuf, name: String, held: Vec<String> },
    #[error("{} is not what its name says", path.display())]
    Damaged { path: PathBuf },
}

/// Writes an image under a name (its tag) into a layout, which is made when it is not there. Other images in it stay.
pub fn write(directory: &Path, name: &str, image: &LocalImage) -> Result<(), LayoutError> {
    for (digest, source) in &image.blobs {
        let path = blob_path(directory, digest);
        match source {
            BlobSource::Bytes(bytes) => put(&path, |beside| fs::write(beside, bytes))?,
            BlobSource::File(file) => put(&path, |beside| fs::copy(file, beside).map(|_| ()))?,
        }
    }
    let digest = Digest::sha256(&image.manifest);
    put(&blob_path(directory, &digest), |beside| fs::write(beside, &image.manifest))?;
    put(&directory.join("oci-layout"), |beside| fs::write(beside, MARKER))?;

    let path = directory.join("index.json");
    let mut index = if path.exists() { read_index(&path)? } else { empty_index() };
    index.manifests.retain(|held| name_of(held) != Some(name));
    let annotations = Some(BTreeMap::from([(NAME.to_owned(), name.to_owned())]));
    let size = image.manifest.len() as u64;
    index.manifests.push(Descriptor { annotations, ..Descriptor::new(image.media_type.clone(), digest, size) });
    let text = serde_json::to_vec(&index).map_err(|source| LayoutError::Index { path: path.clone(), source })?;
    put(&path, |beside| fs::write(beside, text))
}

/// Reads the image of a name; the only one there, when no name is given.
pub fn read(directory: &Path, name: Option<&str>) -> Result<LocalImage, LayoutError> {
    let index = read_index(&directory.join("index.json"))?;
    let found = match name {
        Some(name) => index.manifests.iter().find(|held| name_of(held) == Some(name)),
        None if index.manifests.len() == 1 => index.manifests.first(),
        None => None,
    };
    let Some(found) = found else {
        let held = index.manifests.iter().filter_map(name_of).map(str::to_owned).collect();
        let name = name.unwrap_or_default().to_owned();
        return Err(LayoutError::NoImage { directory: directory.to_owned(), name, held });
    };
    let path = blob_path(directory, &found.digest);
    let manifest = read_small(&path)?;
    if found.digest.of_same_kind(&manifest) != found.digest {
        return Err(LayoutError::Damaged { path });
    }
    let parsed = AnyManifest::parse(&manifest, Some(&found.media_type));
    let parsed = parsed.map_err(|source| LayoutError::Manifest { path: path.clone(), source })?;
    let AnyManifest::Image(image) = parsed else {
        let media_type = found.media_type.clone();
        return Err(LayoutError::Manifest { path, source: ManifestError::MediaType { media_type } });
    };
    let mut blobs = Vec::new();
    for descriptor in std::iter::once(image.config).chain(image.layers) {
        let file = BlobSource::File(blob_path(directory, &descriptor.digest));
        blobs.push((descriptor.digest, file));
    }
    Ok(LocalImage { media_type: found.media_type.clone(), manifest: manifest.into(), blobs })
}

/// The tag (or `latest`) of a reference: what an image is called in a layout.
pub fn name_for(reference: &Reference) -> String {
    reference.tag.as_ref().map_or_else(|| "latest".to_owned(), ToString::to_string)
}

fn name_of(held: &Descriptor) -> Option<&str> {
    held.annotations.as_ref()?.get(NAME).map(String::as_str)
}

fn empty_index() -> Index {
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    let (artifact_type, subject, annotations) = (None, None, None);
    Index { schema_version: 2, media_type, artifact_type, manifests: Vec::new(), subject, annotations }
}

fn read_index(path: &Path) -> Result<Index, LayoutError> {
    let bytes = read_small(path)?;
    serde_json::from_slice(&bytes).map_err(|source| LayoutError::Index { path: path.to_owned(), source })
}

fn read_small(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let error = |source| LayoutError::File { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(error)?;
    file.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(error)?;
    Ok(bytes)
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs").join(digest.algorithm().name()).join(digest.hex())
}

/// Written beside and renamed, in a directory that is made when it is not there.
fn put(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), LayoutError> {
    let beside = path.with_extension("new");
    let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
    let put = parent.and_then(|()| write(&beside)).and_then(|()| fs::rename(&beside, path));
    put.map_err(|source| LayoutError::File { action: "write", path: path.to_owned(), source })
}
