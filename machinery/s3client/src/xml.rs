//! S3's XML, as far as we read and write it.

use crate::S3Error;
use crate::call::Call;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Code and message of an error; `None` when the body is something else.
pub(crate) fn error(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Error {
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = std::str::from_utf8(body).ok()?;
    text.contains("<Error")
        .then(|| quick_xml::de::from_str::<Error>(text).ok())?
        .map(|error| (error.code, error.message))
}

pub(crate) fn read<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Result<T, S3Error> {
    let text = String::from_utf8_lossy(body);
    quick_xml::de::from_str(&text).map_err(|source| S3Error::Xml { resource: call.resource(), source })
}

/// A document of ours: an XML prologue and the value.
pub(crate) fn write(root: &str, value: &impl Serialize) -> String {
    let text = quick_xml::se::to_string_with_root(root, value).expect("these types hold text and lists of text only");
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListAllMyBuckets {
    #[serde(default)]
    pub buckets: Buckets,
}

#[derive(Deserialize, Default)]
pub(crate) struct Buckets {
    #[serde(rename = "Bucket", default)]
    pub bucket: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Bucket {
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListBucketResult {
    #[serde(default)]
    pub contents: Vec<Contents>,
    #[serde(default)]
    pub common_prefixes: Vec<CommonPrefix>,
    #[serde(default)]
    pub next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Contents {
    pub key: String,
    pub size: u64,
    #[serde(default)]
    pub last_modified: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CommonPrefix {
    pub prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InitiateMultipartUpload {
    pub upload_id: String,
}

#[derive(Serialize)]
pub(crate) struct CompleteMultipartUpload {
    #[serde(rename = "Part")]
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Part {
    pub part_number: usize,
    #[serde(rename = "ETag")]
    pub etag: String,
}
