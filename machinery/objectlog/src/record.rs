//! What a record of the log says, version 0:
//!
//! ```text
//! version (1, zero) · length of the JSON (4, little-endian) · JSON · the inline body, if the JSON names no extents
//! ```
//!
//! JSON, because metadata is small beside bodies, and a person with `strings` can read a broken disk. Unknown fields are
//! ignored, so that an older program can read a newer log as long as the version stays.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u8 = 0;
/// Of version and length.
const PREFIX_BYTES: usize = 5;

/// What a caller keeps with an object: the log gives it no meaning.
pub type Headers = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    CreateBucket { bucket: String, owner: String, created_ms: i64 },
    DeleteBucket { bucket: String },
    SetDocument { bucket: String, name: String, text: String },
    RemoveDocument { bucket: String, name: String },
    Put(Put),
    Delete { bucket: String, key: String },
    BeginUpload { bucket: String, key: String, upload: String, begun_ms: i64, headers: Headers },
    PutPart { bucket: String, key: String, upload: String, number: u32, part: StoredPart },
    AbortUpload { bucket: String, key: String, upload: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Put {
    pub bucket: String,
    pub key: String,
    pub etag: String,
    pub modified_ms: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: Headers,
    /// Absent: the body follows the JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extents: Option<Vec<StoredExtent>>,
    /// The upload that this completes and ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPart {
    pub etag: String,
    pub modified_ms: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: Headers,
    pub extents: Vec<StoredExtent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredExtent {
    pub id: u64,
    pub len: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("a record is cut short")]
    Short,
    #[error("a record has version {0}, which this program does not know")]
    Version(u8),
    #[error("a record's JSON is malformed")]
    Json(#[source] serde_json::Error),
}

pub(crate) fn encode(record: &Record, inline: &[u8]) -> Bytes {
    let json = serde_json::to_vec(record).expect("records hold strings and numbers only");
    let mut payload = BytesMut::with_capacity(PREFIX_BYTES + json.len() + inline.len());
    payload.put_u8(VERSION);
    payload.put_u32_le(json.len() as u32);
    payload.extend_from_slice(&json);
    payload.extend_from_slice(inline);
    payload.freeze()
}

/// A record, and where its inline body begins.
pub(crate) fn decode(payload: &[u8]) -> Result<(Record, usize), DecodeError> {
    let body = body_offset(payload)?;
    let record = serde_json::from_slice(&payload[PREFIX_BYTES..body]).map_err(DecodeError::Json)?;
    Ok((record, body))
}

pub(crate) fn body_offset(payload: &[u8]) -> Result<usize, DecodeError> {
    match payload {
        [VERSION, a, b, c, d, ..] => {
            let body = PREFIX_BYTES.saturating_add(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
            if body <= payload.len() { Ok(body) } else { Err(DecodeError::Short) }
        }
        [version, ..] if *version != VERSION => Err(DecodeError::Version(*version)),
        _ => Err(DecodeError::Short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_read_back_with_its_body() {
        let put = Put {
            bucket: "b".into(),
            key: "k/é".into(),
            etag: "e".into(),
            modified_ms: -1,
            headers: Headers::from([("content-type".into(), "image/jpeg".into())]),
            extents: None,
            upload: None,
        };
        let payload = encode(&Record::Put(put.clone()), b"body");
        let (record, body) = decode(&payload).unwrap();
        assert_eq!(record, Record::Put(put));
        assert_eq!(&payload[body..], b"body");
        assert!(matches!(decode(&[1, 0, 0, 0, 0]), Err(DecodeError::Version(1))));
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = decode(&payload);
        }
    }
}
