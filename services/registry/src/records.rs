//! What stands under the keys, as JSON. Times are seconds since 1970.

use bytes::Bytes;
use oci::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes that are known by their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// The S3 key.
    pub object: String,
    pub bytes: u64,
}

/// A repository holds a blob.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkRecord {
    /// When the collection first saw that no manifest of the repository references it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreferenced_since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    pub media_type: String,
    /// The S3 key of the manifest's own bytes.
    pub object: String,
    pub bytes: u64,
    /// The blobs it keeps alive: configuration and layers. (Manifests that an index lists live by their own records.)
    pub references: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
}

/// An upload begun and not yet committed. Its bytes are the object `uploads/ID` or a multipart upload of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    pub repository: String,
    /// When bytes last came.
    pub touched: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart_id: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("record {key} is not readable")]
pub struct RecordError {
    pub key: String,
    pub source: serde_json::Error,
}

pub fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RecordError> {
    let error = |source| RecordError { key: String::from_utf8_lossy(key).into_owned(), source };
    serde_json::from_slice(value).map_err(error)
}

pub fn write(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("records hold text and numbers only").into()
}
