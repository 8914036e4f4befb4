//! What a browser may ask to have signed, and what each becomes as an S3 request. Pure: randomness comes in as a key.

use crate::endpoint::BucketName;
use crate::picture::SINGLE_PUT_BYTES_MAX;
use crate::picture::{KEY_PREFIX, KeyError, PART_BYTES, PARTS_MAX, PICTURE_BYTES_MAX, PictureKey, PictureType};
use http::{Method, StatusCode};
use serde::Deserialize;

/// Bytes of an upload id or a continuation token; both are opaque words of the storage's.
const OPAQUE_BYTES_MAX: usize = 1024;
/// Keys of one listing: S3's own limit.
pub const LIST_KEYS_MAX: u32 = 1000;

/// The body of `POST /sign`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// A whole small picture, under a key the answer names.
    Put {
        bucket: String,
        content_type: String,
        size: u64,
    },
    /// The start of a multipart upload, under a key the answer names.
    CreateMultipart {
        bucket: String,
        content_type: String,
        size: u64,
    },
    UploadPart {
        bucket: String,
        key: String,
        upload_id: String,
        part: u64,
        size: u64,
    },
    Complete {
        bucket: String,
        key: String,
        upload_id: String,
    },
    Abort {
        bucket: String,
        key: String,
        upload_id: String,
    },
    List {
        bucket: String,
        continuation_token: Option<String>,
    },
    Get {
        bucket: String,
        key: String,
    },
}

/// An S3 request that only lacks its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    pub method: Method,
    pub bucket: BucketName,
    pub key: Option<PictureKey>,
    /// Decoded; in the order it is written.
    pub query: Vec<(&'static str, String)>,
    pub content_type: Option<&'static str>,
    /// The body's length where the operation fixes it; signed by versions that sign headers, so no longer body fits.
    pub content_length: Option<u64>,
    pub placement: Placement,
}

/// Where the signature goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In headers, for requests a script sends.
    Headers,
    /// In the URL, for images, which can carry no header.
    Query,
}

/// Why an operation is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("bucket {given:?} is not one of this application's")]
    Bucket { given: String },
    #[error("content type {given:?} is not image/png, image/jpeg, image/gif or image/webp")]
    ContentType { given: String },
    #[error("size {given} is not between 1 and {max} bytes")]
    Size { given: u64, max: u64 },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("part {given} is not between 1 and {PARTS_MAX}")]
    Part { given: u64 },
    #[error("{field} is not 1 to {OPAQUE_BYTES_MAX} visible ASCII characters")]
    Opaque { field: &'static str },
    #[error("draw a random key")]
    Random(#[source] getrandom::Error),
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Bucket { .. } => StatusCode::NOT_FOUND,
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Size { given: 0, .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Size { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Key(_) | Self::Part { .. } | Self::Opaque { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The field of the request that is at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Bucket { .. } => Some("bucket"),
            Self::ContentType { .. } => Some("content_type"),
            Self::Size { .. } => Some("size"),
            Self::Key(_) => Some("key"),
            Self::Part { .. } => Some("part"),
            Self::Opaque { field } => Some(field),
            Self::Random(_) => None,
        }
    }
}

impl Operation {
    /// Checks the operation and writes it as an S3 request. `draw` makes the key of a new picture.
    pub fn request(
        self,
        offered: &[BucketName],
        draw: impl FnOnce(PictureType) -> Result<PictureKey, getrandom::Error>,
    ) -> Result<Unsigned, Refusal> {
        match self {
            Self::Put { bucket, content_type, size } => {
                let bucket = find(offered, bucket)?;
                let kind = picture_type(content_type)?;
                check_size(size, SINGLE_PUT_BYTES_MAX)?;
                let key = draw(kind).map_err(Refusal::Random)?;
                let request = Unsigned::new(Method::PUT, bucket, Some(key), vec![]);
                Ok(Unsigned { content_type: Some(kind.content_type()), content_length: Some(size), ..request })
            }
            Self::CreateMultipart { bucket, content_type, size } => {
                let bucket = find(offered, bucket)?;
                let kind = picture_type(content_type)?;
                check_size(size, PICTURE_BYTES_MAX)?;
                let key = draw(kind).map_err(Refusal::Random)?;
                let request = Unsigned::new(Method::POST, bucket, Some(key), vec![("uploads", String::new())]);
                Ok(Unsigned { content_type: Some(kind.content_type()), ..request })
            }
            Self::UploadPart { bucket, key, upload_id, part, size } => {
                let bucket = find(offered, bucket)?;
                let key = Some(key.parse()?);
                if !(1..=PARTS_MAX).contains(&part) {
                    return Err(Refusal::Part { given: part });
                }
                check_size(size, PART_BYTES)?;
                let query = vec![("partNumber", part.to_string()), ("uploadId", opaque("upload_id", upload_id)?)];
                Ok(Unsigned { content_length: Some(size), ..Unsigned::new(Method::PUT, bucket, key, query) })
            }
            Self::Complete { bucket, key, upload_id } => {
                let query = vec![("uploadId", opaque("upload_id", upload_id)?)];
                let request = Unsigned::new(Method::POST, find(offered, bucket)?, Some(key.parse()?), query);
                Ok(Unsigned { content_type: Some("application/xml"), ..request })
            }
            Self::Abort { bucket, key, upload_id } => {
                let query = vec![("uploadId", opaque("upload_id", upload_id)?)];
                Ok(Unsigned::new(Method::DELETE, find(offered, bucket)?, Some(key.parse()?), query))
            }
            Self::List { bucket, continuation_token } => {
                let mut query = vec![("list-type", String::from("2")), ("max-keys", LIST_KEYS_MAX.to_string())];
                query.push(("prefix", String::from(KEY_PREFIX)));
                if let Some(token) = continuation_token {
                    query.push(("continuation-token", opaque("continuation_token", token)?));
                }
                Ok(Unsigned::new(Method::GET, find(offered, bucket)?, None, query))
            }
            Self::Get { bucket, key } => {
                let request = Unsigned::new(Method::GET, find(offered, bucket)?, Some(key.parse()?), vec![]);
                Ok(Unsigned { placement: Placement::Query, ..request })
            }
        }
    }
}

impl Unsigned {
    fn new(method: Method, bucket: BucketName, key: Option<PictureKey>, query: Vec<(&'static str, String)>) -> Self {
        let placement = Placement::Headers;
        Self { method, bucket, key, query, content_type: None, content_length: None, placement }
    }
}

fn find(offered: &[BucketName], given: String) -> Result<BucketName, Refusal> {
    offered.iter().find(|bucket| bucket.as_str() == given).cloned().ok_or(Refusal::Bucket { given })
}

fn picture_type(given: String) -> Result<PictureType, Refusal> {
    PictureType::from_content_type(&given).ok_or(Refusal::ContentType { given })
}

fn check_size(given: u64, max: u64) -> Result<(), Refusal> {
    if (1..=max).contains(&given) { Ok(()) } else { Err(Refusal::Size { given, max }) }
}

fn opaque(field: &'static str, given: String) -> Result<String, Refusal> {
    let valid = (1..=OPAQUE_BYTES_MAX).contains(&given.len()) && given.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(given) } else { Err(Refusal::Opaque { field }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: serde_json::Value) -> Result<Unsigned, Refusal> {
        let operation: Operation = serde_json::from_value(json).unwrap();
        operation.request(&["bucket1".parse().unwrap()], PictureKey::generate)
    }

    const KEY: &str = "pictures/B6C3OuVCIAEfwmjx.jpg";

    #[test]
    fn each_operation_becomes_its_s3_request() {
        let put = request(serde_json::json!({
            "operation": "put", "bucket": "bucket1", "content_type": "image/jpeg", "size": 35964
        }));
        let put = put.unwrap();
        assert_eq!((put.method, put.content_type, put.content_length), (Method::PUT, Some("image/jpeg"), Some(35964)));
        assert!(put.key.unwrap().as_str().ends_with(".jpg"));

        let part = request(serde_json::json!({
            "operation": "upload_part", "bucket": "bucket1", "key": KEY, "upload_id": "u/1", "part": 3, "size": 5 << 20
        }));
        assert_eq!(part.unwrap().query, [("partNumber", "3".to_owned()), ("uploadId", "u/1".to_owned())]);

        let complete = request(serde_json::json!({
            "operation": "complete", "bucket": "bucket1", "key": KEY, "upload_id": "u"
        }));
        assert_eq!(complete.unwrap().method, Method::POST);

        let abort = request(serde_json::json!({
            "operation": "abort", "bucket": "bucket1", "key": KEY, "upload_id": "u"
        }));
        assert_eq!(abort.unwrap().method, Method::DELETE);

        let list = request(serde_json::json!({"operation": "list", "bucket": "bucket1", "continuation_token": "t"}));
        let list = list.unwrap();
        assert_eq!((list.key, list.query.last().unwrap().1.as_str()), (None, "t"));

        let get = request(serde_json::json!({"operation": "get", "bucket": "bucket1", "key": KEY})).unwrap();
        assert_eq!(get.placement, Placement::Query);
    }

    #[test]
    fn what_this_application_does_not_offer_is_refused() {
        let refused = |json| request(json).map_err(|refusal| (refusal.status().as_u16(), refusal.field())).unwrap_err();
        let put = |bucket, content_type, size: u64| {
            refused(serde_json::json!({
                "operation": "put", "bucket": bucket, "content_type": content_type, "size": size
            }))
        };
        assert_eq!(put("bucket2", "image/png", 1), (404, Some("bucket")));
        assert_eq!(put("bucket1", "image/svg+xml", 1), (415, Some("content_type")));
        assert_eq!(put("bucket1", "image/png", 0), (422, Some("size")));
        assert_eq!(put("bucket1", "image/png", SINGLE_PUT_BYTES_MAX + 1), (413, Some("size")));
        let multipart = refused(serde_json::json!({
            "operation": "create_multipart", "bucket": "bucket1", "content_type": "image/png",
            "size": PICTURE_BYTES_MAX + 1
        }));
        assert_eq!(multipart, (413, Some("size")));
        let part = |key, upload_id, part: u64| {
            refused(serde_json::json!({
                "operation": "upload_part", "bucket": "bucket1", "key": key, "upload_id": upload_id, "part": part,
                "size": 1
            }))
        };
        assert_eq!(part("other/key.png", "u", 1), (422, Some("key")));
        assert_eq!(part(KEY, "", 1), (422, Some("upload_id")));
        assert_eq!(part(KEY, "a b", 1), (422, Some("upload_id")));
        assert_eq!(part(KEY, "u", 0), (422, Some("part")));
        assert_eq!(part(KEY, "u", PARTS_MAX + 1), (422, Some("part")));
        let get = refused(serde_json::json!({"operation": "get", "bucket": "bucket1", "key": "pictures/"}));
        assert_eq!(get, (422, Some("key")));
    }
}
