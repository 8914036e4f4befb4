//! The canonical request: the text both sides must arrive at.

use super::{ALGORITHM, Scope, hmac_sha256};
use crate::RequestHead;
use crate::encoding::{canonical_path, canonical_query};
use sha2::{Digest, Sha256};

pub(super) struct ToSign<'a> {
    pub head: &'a RequestHead<'a>,
    /// Lower case and sorted.
    pub signed_headers: &'a [String],
    /// The value of `x-amz-content-sha256`, or what stands for it.
    pub payload: &'a str,
    /// `20130524T000000Z`
    pub date: &'a str,
    pub scope: &'a Scope,
}

impl ToSign<'_> {
    pub fn signature(&self, secret: &str) -> [u8; 32] {
        hmac_sha256(&self.scope.derive_key(secret), self.string_to_sign().as_bytes())
    }

    pub fn string_to_sign(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.canonical_request()));
        format!("{ALGORITHM}\n{}\n{}\n{hash}", self.date, self.scope.text())
    }

    /// Bytes, because header values need not be UTF-8.
    fn canonical_request(&self) -> Vec<u8> {
        let path = canonical_path(self.head.raw_path);
        let query = canonical_query(self.head.query, Some("X-Amz-Signature"));
        let mut text = format!("{}\n{path}\n{query}\n", self.head.method).into_bytes();
        for name in self.signed_headers {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            if name == "host" {
                text.extend_from_slice(self.head.host.as_bytes());
            } else {
                append_values(&mut text, self.head, name);
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.signed_headers.join(";").as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.payload.as_bytes());
        text
    }
}

/// Every value of a header, joined by `,`, each trimmed and with runs of spaces made one.
fn append_values(text: &mut Vec<u8>, head: &RequestHead<'_>, name: &str) {
    for (index, value) in head.headers.get_all(name).iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}
