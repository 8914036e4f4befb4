//! V2's string to sign:
//!
//! ```text
//! METHOD \n Content-MD5 \n Content-Type \n Date-or-Expires \n
//! x-amz-…:value \n            each x-amz-* and x-emc-* header, sorted (EMC's object stores sign their own, too)
//! /bucket/path?subresource    the path as sent, and those query parameters that name what is acted on
//! ```

use crate::{RequestHead, encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::BTreeMap;

/// The query parameters that are part of the resource, sorted: Amazon's list, botocore's additions, and EMC ECS's
/// `query` and `searchmetadata`.
const SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "publicAccessBlock",
    "query",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "searchmetadata",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Where clients differ, and all are right at S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spelling {
    /// A parameter that is sent as `uploads=` is signed as it is sent; otherwise as `uploads`.
    pub keeps_empty_value: bool,
    /// `/bucket` is signed as `/bucket/` (botocore).
    pub ends_bucket_in_slash: bool,
}

impl Spelling {
    /// All there are, the usual one first.
    pub fn all() -> impl Iterator<Item = Self> {
        let spelling = |keeps_empty_value, ends_bucket_in_slash| Self { keeps_empty_value, ends_bucket_in_slash };
        [(false, false), (true, false), (false, true), (true, true)].into_iter().map(move |(a, b)| spelling(a, b))
    }
}

pub(super) fn signature(head: &RequestHead<'_>, date: &str, spelling: Spelling, secret: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(&string_to_sign(head, date, spelling));
    mac.finalize().into_bytes().into()
}

/// Bytes, because header values need not be UTF-8.
pub(super) fn string_to_sign(head: &RequestHead<'_>, date: &str, spelling: Spelling) -> Vec<u8> {
    let mut text = format!("{}\n", head.method).into_bytes();
    for name in ["content-md5", "content-type"] {
        text.extend_from_slice(head.headers.get(name).map(|value| value.as_bytes().trim_ascii()).unwrap_or_default());
        text.push(b'\n');
    }
    text.extend_from_slice(date.as_bytes());
    text.push(b'\n');
    append_extension_headers(&mut text, head);
    text.extend_from_slice(resource(head, spelling).as_bytes());
    text
}

fn append_extension_headers(text: &mut Vec<u8>, head: &RequestHead<'_>) {
    let mut lines: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (name, value) in head.headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") && !name.starts_with("x-emc-") {
            continue;
        }
        let line = lines.entry(name).or_default();
        if !line.is_empty() {
            line.push(b',');
        }
        line.extend_from_slice(value.as_bytes().trim_ascii());
    }
    for (name, line) in lines {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
}

fn resource(head: &RequestHead<'_>, spelling: Spelling) -> String {
    let mut resource = head.bucket_in_host.map(|bucket| format!("/{bucket}")).unwrap_or_default();
    resource.push_str(if head.raw_path.is_empty() { "/" } else { head.raw_path });
    if spelling.ends_bucket_in_slash && resource.rfind('/') == Some(0) {
        resource.push('/');
    }
    let mut parameters: Vec<(String, Option<String>)> = encoding::query_pairs(head.query)
        .filter(|(name, _)| SUBRESOURCES.binary_search(&name.as_str()).is_ok())
        .collect();
    parameters.sort();
    for (index, (name, value)) in parameters.iter().enumerate() {
        resource.push(if index == 0 { '?' } else { '&' });
        resource.push_str(name);
        match value.as_deref() {
            None => {}
            Some("") if !spelling.keeps_empty_value => {}
            Some(value) => {
                resource.push('=');
                resource.push_str(value);
            }
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::SUBRESOURCES;

    #[test]
    fn the_list_is_sorted_for_binary_search() {
        assert!(SUBRESOURCES.is_sorted());
    }
}
