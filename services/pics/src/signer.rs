//! Signs a request for a bucket's address. Pure: the time comes in.

use crate::Config;
use crate::endpoint::{BucketAddress, BucketName, Endpoint};
use crate::operation::{Placement, Unsigned};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use s3sign::{Credentials, RequestHead, SignError, v2, v4};
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// How long a picture's URL is good for.
const PICTURE_URL_LIFE: Duration = Duration::from_secs(3600);
/// The region that stores without regions go by.
const REGION: &str = "us-east-1";
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Go's `time.RFC1123` as the article's page wrote it: "UTC" where RFC 9110 asks for "GMT".
const ARTICLE_DATE: &str = "%a, %d %b %Y %H:%M:%S UTC";

/// Which of S3's signature versions is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureVersion {
    #[default]
    V4,
    /// The article's: `Authorization: AWS key:signature`.
    V2,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is neither v4 nor v2")]
pub struct SignatureVersionError {
    given: String,
}

impl FromStr for SignatureVersion {
    type Err = SignatureVersionError;

    fn from_str(given: &str) -> Result<Self, SignatureVersionError> {
        match given {
            "v4" => Ok(Self::V4),
            "v2" => Ok(Self::V2),
            _ => Err(SignatureVersionError { given: given.to_owned() }),
        }
    }
}

/// The answer of `POST /sign`: a request to send as it is. The browser adds Host and Content-Length by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    pub method: String,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// The picture's key; none for a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was signed, for "How does it work ?"; none for a URL that is used by an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_to_sign: Option<String>,
}

pub struct Signer {
    endpoint: Endpoint,
    buckets: Vec<BucketName>,
    credentials: Credentials,
    version: SignatureVersion,
}

impl Signer {
    pub fn new(config: &Config) -> Self {
        let Config { endpoint, buckets, credentials, signature, .. } = config.clone();
        Self { endpoint, buckets, credentials, version: signature }
    }

    pub fn buckets(&self) -> &[BucketName] {
        &self.buckets
    }

    pub fn sign(&self, request: &Unsigned, now: Timestamp) -> Result<Signed, SignError> {
        let place = self.endpoint.bucket(&request.bucket);
        let raw_path = format!("{}{}", place.path, request.key.as_ref().map_or("", |key| key.as_str()));
        let query = written(&request.query);
        let sent = self.headers_to_send(request, now);
        // Signed though not handed out: the browser sets it, and refuses to let a script do so.
        let mut signed_too = sent.clone();
        if let Some(bytes) = request.content_length {
            signed_too.insert(CONTENT_LENGTH, bytes.into());
        }
        let head = RequestHead {
            method: &request.method,
            host: &place.host,
            raw_path: &raw_path,
            query: &query,
            headers: &signed_too,
            bucket_in_host: (place.path == "/").then(|| request.bucket.as_str()),
        };
        let signed = Signed {
            method: request.method.to_string(),
            url: url(&place, &raw_path, &query),
            headers: BTreeMap::new(),
            key: request.key.as_ref().map(ToString::to_string),
            string_to_sign: None,
        };
        match request.placement {
            Placement::Headers => {
                let (added, string_to_sign) = self.signing_headers(&head, now)?;
                let headers = text_of(sent.iter().chain(added.iter().map(|(name, value)| (name, value))));
                Ok(Signed { headers, string_to_sign: Some(string_to_sign), ..signed })
            }
            Placement::Query => {
                let query = self.presigned_query(&head, now)?;
                Ok(Signed { url: url(&place, &raw_path, &query), ..signed })
            }
        }
    }

    /// The request's own headers, and the date where the version does not add one a browser may set.
    fn headers_to_send(&self, request: &Unsigned, now: Timestamp) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = request.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self.version == SignatureVersion::V2 && request.placement == Placement::Headers {
            let date = now.to_zoned(TimeZone::UTC).strftime(ARTICLE_DATE).to_string();
            headers.insert(X_AMZ_DATE, HeaderValue::try_from(date).expect("a formatted date is ASCII"));
        }
        headers
    }

    /// What is added to `head`'s headers, and the text whose signature it is.
    fn signing_headers(
        &self,
        head: &RequestHead<'_>,
        now: Timestamp,
    ) -> Result<(Vec<(HeaderName, HeaderValue)>, String), SignError> {
        match self.version {
            SignatureVersion::V4 => {
                let payload = v4::PayloadToSign::Unsigned;
                let added = v4::sign(head, payload, &self.credentials, REGION, now)?;
                Ok((added, v4::string_to_sign(head, payload, REGION, now)?))
            }
            SignatureVersion::V2 => {
                let added = v2::sign_header(head, &self.credentials, now)?;
                Ok((added, v2::string_to_sign(head)))
            }
        }
    }

    fn presigned_query(&self, head: &RequestHead<'_>, now: Timestamp) -> Result<String, SignError> {
        match self.version {
            SignatureVersion::V4 => v4::presign(head, PICTURE_URL_LIFE, &self.credentials, REGION, now),
            SignatureVersion::V2 => Ok(v2::presign(head, now + PICTURE_URL_LIFE, &self.credentials)),
        }
    }
}

/// A query as it goes over the wire. A parameter without a value has no `=`, as S3's own documents write `?uploads`.
fn written(query: &[(&'static str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| match value.as_str() {
        "" => (*name).to_owned(),
        value => format!("{name}={}", s3sign::encode(value)),
    };
    query.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn url(place: &BucketAddress, raw_path: &str, query: &str) -> String {
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{}{raw_path}{separator}{query}", place.origin)
}

/// `authorization` and the like as a script sets them.
fn text_of<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> BTreeMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[cfg(test)]
mod tests;
