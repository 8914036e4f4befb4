//! Which end point a path is. Repositories have slashes in their names, so paths are read from their end.

use crate::error::{Code, RegistryError};
use oci::{Digest, Repository, Tag};

/// The specification's end points ("Endpoints", end-1 to end-14), without their methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Version,
    Catalog,
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, String),
    Manifest(Repository, Version),
    Tags(Repository),
    Referrers(Repository, Digest),
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    Tag(Tag),
    Digest(Digest),
    /// No tag by the grammar: there is nothing under it, and nothing can be put there.
    Invalid,
}

impl Endpoint {
    pub fn parse(path: &str) -> Result<Self, RegistryError> {
        let not_found = || RegistryError::refused(Code::NotFound, "no such end point");
        let path = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| not_found())?;
        let rest = path.strip_prefix("/v2").ok_or_else(not_found)?;
        let rest = match rest {
            "" | "/" => return Ok(Self::Version),
            "/_catalog" => return Ok(Self::Catalog),
            rest => rest.strip_prefix('/').ok_or_else(not_found)?,
        };
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Ok(Self::Uploads(repository(name)?));
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(repository(name)?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or_else(not_found)?;
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(repository(name)?, last.to_owned()));
        }
        let (name, kind) = before.rsplit_once('/').ok_or_else(not_found)?;
        match kind {
            "blobs" => Ok(Self::Blob(repository(name)?, digest(last)?)),
            "manifests" => Ok(Self::Manifest(repository(name)?, version(last)?)),
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            _ => Err(not_found()),
        }
    }
}

fn repository(name: &str) -> Result<Repository, RegistryError> {
    name.parse::<Repository>().map_err(|error| RegistryError::refused(Code::NameInvalid, error.to_string()))
}

pub fn digest(text: &str) -> Result<Digest, RegistryError> {
    text.parse::<Digest>().map_err(|error| RegistryError::refused(Code::DigestInvalid, error.to_string()))
}

fn version(text: &str) -> Result<Version, RegistryError> {
    if text.contains(':') {
        return digest(text).map(Version::Digest);
    }
    Ok(text.parse().map_or(Version::Invalid, Version::Tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "/v2/[ -~]{0,80}") {
            let _either = Endpoint::parse(&path);
        }

        #[test]
        fn no_range_panics(header in "(bytes[= ]?)?[0-9 ,/-]{0,30}") {
            let _either = crate::range::chunk(&header);
        }
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let name = |text: &str| text.parse::<Repository>().unwrap();
        let digest = Digest::sha256(b"x");
        for (path, expected) in [
            ("/v2/".to_owned(), Endpoint::Version),
            ("/v2".to_owned(), Endpoint::Version),
            ("/v2/_catalog".to_owned(), Endpoint::Catalog),
            (format!("/v2/a/blobs/{digest}"), Endpoint::Blob(name("a"), digest.clone())),
            (format!("/v2/a/blobs/sha256%3A{}", digest.hex()), Endpoint::Blob(name("a"), digest.clone())),
            ("/v2/a/b/blobs/uploads/".to_owned(), Endpoint::Uploads(name("a/b"))),
            ("/v2/a/b/blobs/uploads".to_owned(), Endpoint::Uploads(name("a/b"))),
            ("/v2/a/blobs/uploads/77".to_owned(), Endpoint::Upload(name("a"), "77".into())),
            ("/v2/blobs/uploads/blobs/uploads/7".to_owned(), Endpoint::Upload(name("blobs/uploads"), "7".into())),
            ("/v2/a/manifests/1".to_owned(), Endpoint::Manifest(name("a"), Version::Tag("1".parse().unwrap()))),
            ("/v2/a/manifests/.no".to_owned(), Endpoint::Manifest(name("a"), Version::Invalid)),
            (
                "/v2/manifests/manifests/x".to_owned(),
                Endpoint::Manifest(name("manifests"), Version::Tag("x".parse().unwrap())),
            ),
            ("/v2/a/tags/list".to_owned(), Endpoint::Tags(name("a"))),
            (format!("/v2/a/referrers/{digest}"), Endpoint::Referrers(name("a"), digest.clone())),
        ] {
            assert_eq!(Endpoint::parse(&path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let code = |path: &str| match Endpoint::parse(path) {
            Err(RegistryError::Refused { code, .. }) => code,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(code("/v1/_ping"), Code::NotFound);
        assert_eq!(code("/v2/a"), Code::NotFound);
        assert_eq!(code("/v2/a/else/b"), Code::NotFound);
        assert_eq!(code("/v2/A/tags/list"), Code::NameInvalid);
        assert_eq!(code("/v2/../tags/list"), Code::NameInvalid);
        assert_eq!(code("/v2/a/blobs/sha256:1"), Code::DigestInvalid);
        assert_eq!(code("/v2/a/manifests/md5:1"), Code::DigestInvalid);
        assert_eq!(code("/v2/%ff/tags/list"), Code::NotFound);
    }
}
