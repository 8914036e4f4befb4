//! The store's keys, version 0.
//!
//! ```text
//! /roadstead/registry/
//!   blobs/DIGEST                               BlobRecord: the object that holds these bytes
//!   uploads/ID                                 UploadRecord: bytes on their way
//!   catalog/NAME                               a repository exists
//!   repositories/NAME//blobs/DIGEST            LinkRecord: the repository holds this blob
//!   repositories/NAME//manifests/DIGEST        ManifestRecord
//!   repositories/NAME//tags/TAG                the manifest's digest
//!   repositories/NAME//referrers/SUBJECT/DIGEST  a manifest whose subject is SUBJECT
//!   repositories/NAME//unlinked                changed by each removal of a link, never removed:
//!                                              manifests guard against it
//! ```
//! A repository's name holds single slashes only, so the double one ends it.

use oci::{Digest, Repository, Tag};

pub const ROOT: &str = "/roadstead/registry/";
pub const BLOBS: &str = "/roadstead/registry/blobs/";
pub const UPLOADS: &str = "/roadstead/registry/uploads/";
pub const CATALOG: &str = "/roadstead/registry/catalog/";
const REPOSITORIES: &str = "/roadstead/registry/repositories/";

pub fn blob(digest: &Digest) -> String {
    format!("{BLOBS}{digest}")
}

pub fn upload(id: &str) -> String {
    format!("{UPLOADS}{id}")
}

pub fn catalog(repository: &Repository) -> String {
    format!("{CATALOG}{repository}")
}

pub fn links(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}//blobs/")
}

pub fn link(repository: &Repository, digest: &Digest) -> String {
    format!("{}{digest}", links(repository))
}

pub fn manifests(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}//manifests/")
}

pub fn manifest(repository: &Repository, digest: &Digest) -> String {
    format!("{}{digest}", manifests(repository))
}

pub fn tags(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}//tags/")
}

pub fn tag(repository: &Repository, tag: &Tag) -> String {
    format!("{}{tag}", tags(repository))
}

pub fn referrers(repository: &Repository, subject: &Digest) -> String {
    format!("{REPOSITORIES}{repository}//referrers/{subject}/")
}

pub fn referrer(repository: &Repository, subject: &Digest, digest: &Digest) -> String {
    format!("{}{digest}", referrers(repository, subject))
}

pub fn unlinked(repository: &Repository) -> String {
    format!("{REPOSITORIES}{repository}//unlinked")
}

/// What a key is about, for whoever reads everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Blob(Digest),
    Upload(String),
    Catalog(Repository),
    Link(Repository, Digest),
    Manifest(Repository, Digest),
    /// A tag, a referrer, a marker: nothing the collection looks at.
    Other,
}

impl Key {
    pub fn parse(key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        if let Some(digest) = key.strip_prefix(BLOBS) {
            return digest.parse().ok().map(Self::Blob);
        }
        if let Some(id) = key.strip_prefix(UPLOADS) {
            return Some(Self::Upload(id.to_owned()));
        }
        if let Some(name) = key.strip_prefix(CATALOG) {
            return name.parse().ok().map(Self::Catalog);
        }
        let (name, rest) = key.strip_prefix(REPOSITORIES)?.split_once("//")?;
        let name = name.parse().ok()?;
        match rest.split_once('/') {
            Some(("blobs", digest)) => digest.parse().ok().map(|digest| Self::Link(name, digest)),
            Some(("manifests", digest)) => digest.parse().ok().map(|digest| Self::Manifest(name, digest)),
            _ => Some(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let name: Repository = "a/b".parse().unwrap();
        let digest = Digest::sha256(b"x");
        let tag: Tag = "1".parse().unwrap();
        for (key, expected) in [
            (blob(&digest), Key::Blob(digest.clone())),
            (upload("7"), Key::Upload("7".into())),
            (catalog(&name), Key::Catalog(name.clone())),
            (link(&name, &digest), Key::Link(name.clone(), digest.clone())),
            (manifest(&name, &digest), Key::Manifest(name.clone(), digest.clone())),
            (super::tag(&name, &tag), Key::Other),
            (referrer(&name, &digest, &digest), Key::Other),
            (unlinked(&name), Key::Other),
        ] {
            assert_eq!(Key::parse(key.as_bytes()), Some(expected), "{key}");
        }
        assert_eq!(Key::parse(b"/roadstead/registry/else"), None);
    }

    #[test]
    fn a_repositorys_keys_are_apart_from_those_below_it() {
        let (outer, inner): (Repository, Repository) = ("a".parse().unwrap(), "a/blobs/b".parse().unwrap());
        assert!(!links(&inner).starts_with(&links(&outer)));
    }
}
