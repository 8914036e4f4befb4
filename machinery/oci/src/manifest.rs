//! Manifests and indexes, as far as we read them. Unknown fields are left where they are: in the bytes.

use crate::{Digest, Platform, media_type};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Points at some bytes: what they are, their digest, their size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where non-distributable layers may be fetched instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        let (artifact_type, platform, annotations) = (None, None, None);
        Self { media_type: media_type.into(), digest, size, artifact_type, platform, urls: Vec::new(), annotations }
    }
}

/// An image: a configuration and layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Several manifests under one name, one per platform (or referrers of a subject).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    /// The manifest of the image for `host`; in an index that names no platforms, the first.
    pub fn choose(&self, host: &Platform) -> Option<&Descriptor> {
        let runs = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|platform| platform.runs_on(host));
        let unnamed = |entry: &&Descriptor| entry.platform.is_none();
        self.manifests.iter().find(runs).or_else(|| self.manifests.iter().find(unnamed))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyManifest {
    Image(Box<Manifest>),
    Index(Box<Index>),
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest of {bytes} bytes, more than {}", crate::MANIFEST_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("parse the manifest")]
    Json { source: serde_json::Error },
    #[error("manifest of schema version {version}, not 2")]
    Schema { version: u8 },
    #[error("manifest type {media_type:?} is neither an image nor an index")]
    MediaType { media_type: String },
    #[error("manifest says it is {inside:?} but was sent as {outside:?}")]
    MediaTypesDiffer { inside: String, outside: String },
}

/// What tells an image from an index when nobody says which it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u8,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl AnyManifest {
    /// Reads a manifest. `content_type` is what its sender called it; it must agree with what the manifest says.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > crate::MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let json = |source| ManifestError::Json { source };
        let probe: Probe = serde_json::from_slice(bytes).map_err(json)?;
        if probe.schema_version != 2 {
            return Err(ManifestError::Schema { version: probe.schema_version });
        }
        // Files and careless servers call a manifest by a general name, which says nothing.
        let said = content_type.map(media_type::essence);
        let outside =
            said.filter(|said| !matches!(*said, "" | "application/json" | "application/octet-stream" | "text/plain"));
        if let (Some(outside), Some(inside)) = (outside, &probe.media_type)
            && outside != inside
        {
            return Err(ManifestError::MediaTypesDiffer { inside: inside.clone(), outside: outside.to_owned() });
        }
        let guess = match (&probe.config, &probe.manifests) {
            (Some(_), None) => media_type::OCI_MANIFEST,
            (None, Some(_)) => media_type::OCI_INDEX,
            _ => "",
        };
        let chosen = probe.media_type.as_deref().or(outside).unwrap_or(guess);
        if media_type::is_image_manifest(chosen) {
            Ok(Self::Image(serde_json::from_slice(bytes).map_err(json)?))
        } else if media_type::is_index(chosen) {
            Ok(Self::Index(serde_json::from_slice(bytes).map_err(json)?))
        } else {
            Err(ManifestError::MediaType { media_type: crate::digest::excerpt(chosen) })
        }
    }

    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(manifest) => manifest.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    pub fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Image(manifest) => manifest.annotations.as_ref(),
            Self::Index(index) => index.annotations.as_ref(),
        }
    }

    /// The type of the artifact: what the manifest says, else (for an image) its configuration's type.
    pub fn artifact_type(&self) -> Option<&str> {
        match self {
            Self::Image(manifest) => Some(manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type)),
            Self::Index(index) => index.artifact_type.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(extra: &str) -> String {
        let digest = Digest::sha256(b"{}");
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"{}","digest":"{digest}","size":2}},"layers":[],"future":{{"a":1}}}}"#,
            media_type::OCI_CONFIG
        )
    }

    #[test]
    fn images_and_indexes_are_told_apart() {
        assert!(matches!(AnyManifest::parse(image("").as_bytes(), None), Ok(AnyManifest::Image(_))));
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(AnyManifest::parse(index, Some("application/json")), Ok(AnyManifest::Index(_))));
        let docker = image(&format!(r#""mediaType":"{}","#, media_type::DOCKER_MANIFEST));
        let parsed = AnyManifest::parse(docker.as_bytes(), Some(media_type::DOCKER_MANIFEST)).unwrap();
        assert_eq!(parsed.artifact_type(), Some(media_type::OCI_CONFIG));
        let differ = AnyManifest::parse(docker.as_bytes(), Some(media_type::OCI_INDEX));
        assert!(matches!(differ, Err(ManifestError::MediaTypesDiffer { .. })));
        let schema1 = AnyManifest::parse(br#"{"schemaVersion":1}"#, None);
        assert!(matches!(schema1, Err(ManifestError::Schema { version: 1 })));
    }

    #[test]
    fn an_index_gives_the_hosts_image() {
        let entry = |architecture: &str, seed: &[u8]| Descriptor {
            platform: Some(Platform { architecture: architecture.into(), os: "linux".into(), variant: None }),
            ..Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(seed), 1)
        };
        let host = crate::host_platform();
        let manifests = vec![entry("mips", b"1"), entry(&host.architecture, b"2")];
        let (media_type, artifact_type, subject, annotations) = (None, None, None, None);
        let mut index = Index { schema_version: 2, media_type, artifact_type, manifests, subject, annotations };
        assert_eq!(index.choose(&host).unwrap().digest, Digest::sha256(b"2"));
        index.manifests.truncate(1);
        assert_eq!(index.choose(&host), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _either = AnyManifest::parse(&bytes, None);
        }

        #[test]
        fn no_json_panics(version in 0u16..300, kind in ".*", digest in ".*") {
            let json = serde_json::json!({"schemaVersion": version, "mediaType": kind, "config": {"digest": digest}, "layers": 3});
            prop_assert!(AnyManifest::parse(json.to_string().as_bytes(), None).is_err());
        }
    }
}
