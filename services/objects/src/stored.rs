//! Headers that are kept with an object, and given back.

use crate::fault::{Fault, Result};
use crate::limits::METADATA_BYTES_MAX;
use http::{HeaderMap, HeaderName, HeaderValue};
use objectlog::{Headers, Object};

/// Kept as they are.
const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];
const METADATA_PREFIX: &str = "x-amz-meta-";
/// What an object is when nobody said (S3).
const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// What of a request is kept with the object it makes.
pub fn from_request(headers: &HeaderMap) -> Result<Headers> {
    let mut kept = Headers::new();
    let mut metadata_bytes = 0;
    for name in headers.keys() {
        let name = name.as_str();
        let is_metadata = name.starts_with(METADATA_PREFIX);
        if !is_metadata && !KEPT.contains(&name) {
            continue;
        }
        let values: std::result::Result<Vec<&str>, _> =
            headers.get_all(name).iter().map(|value| std::str::from_utf8(value.as_bytes())).collect();
        let values = values.map_err(|_| Fault::invalid_argument(format!("{name} is not UTF-8")))?;
        let mut value = values.join(",");
        if is_metadata {
            metadata_bytes += name.len() - METADATA_PREFIX.len() + value.len();
        }
        if name == "content-encoding" {
            // The framing of the transfer is not a property of the object.
            let codings =
                value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked" && !coding.is_empty());
            value = codings.collect::<Vec<_>>().join(", ");
            if value.is_empty() {
                continue;
            }
        }
        kept.insert(name.to_owned(), value);
    }
    if metadata_bytes > METADATA_BYTES_MAX {
        return Err(Fault::metadata_too_large());
    }
    Ok(kept)
}

/// The headers of an answer that describes an object.
pub fn of_object(object: &Object, with_checksum: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut push = |name: &str, value: &str| {
        // Names and values came in as headers; what cannot go out as one is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            headers.push((name, value));
        }
    };
    push("etag", &format!("\"{}\"", object.etag));
    push("last-modified", &s3sign::http_date(crate::service::timestamp(object.modified_ms)));
    push("accept-ranges", "bytes");
    if !object.headers.contains_key("content-type") {
        push("content-type", CONTENT_TYPE_DEFAULT);
    }
    for (name, value) in &object.headers {
        if with_checksum || !name.starts_with("x-amz-checksum-") {
            push(name, value);
        }
    }
    headers
}
