//! The client's side: headers to add to a request, or a query that carries the permission by itself.

use super::canonical::ToSign;
use super::{ALGORITHM, Scope, UNSIGNED_PAYLOAD};
use crate::{Credentials, PRESIGNED_LIFE_MAX, RequestHead, SignError, dates, encoding};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What a client promises about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadToSign {
    /// The body's SHA-256.
    Hash([u8; 32]),
    /// The body is not signed.
    Unsigned,
    /// The body is `aws-chunked`, each chunk signed by a [`super::ChunkSigner`].
    SignedChunks,
    /// As [`Self::SignedChunks`], followed by signed trailers.
    SignedChunksAndTrailer,
    /// The body is `aws-chunked` with trailers, nothing of it signed.
    UnsignedChunksAndTrailer,
}

impl PayloadToSign {
    pub fn hash_of(body: &[u8]) -> Self {
        Self::Hash(Sha256::digest(body).into())
    }

    /// The value of `x-amz-content-sha256`.
    fn text(self) -> String {
        match self {
            Self::Hash(hash) => hex::encode(hash),
            Self::Unsigned => UNSIGNED_PAYLOAD.to_owned(),
            Self::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::SignedChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Self::UnsignedChunksAndTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }
}

/// The headers that sign a request: `x-amz-date`, `x-amz-content-sha256`, `authorization`. Host and every header in
/// `head` are signed, so `head.headers` holds exactly those that will arrive unchanged.
pub fn sign(
    head: &RequestHead<'_>,
    payload: PayloadToSign,
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
    let (date, payload) = (dates::basic(now), payload.text());
    let scope = Scope { day: dates::day(now), region: region.to_owned() };
    let headers = with_own_headers(head, &date, &payload)?;
    let signed_headers = signed_headers(&headers);
    let head = RequestHead { headers: &headers, ..*head };
    let to_sign =
        ToSign { head: &head, signed_headers: &signed_headers, payload: &payload, date: &date, scope: &scope };
    let signature = hex::encode(to_sign.signature(credentials.secret_key()));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        credentials.access_key(),
        scope.text(),
        signed_headers.join(";"),
    );
    Ok(vec![
        (HeaderName::from_static("x-amz-date"), printable("the date", &date)?),
        (HeaderName::from_static("x-amz-content-sha256"), printable("the payload", &payload)?),
        (AUTHORIZATION, printable("the credential", &authorization)?),
    ])
}

/// The text whose signature [`sign`] makes, for people to read.
pub fn string_to_sign(
    head: &RequestHead<'_>,
    payload: PayloadToSign,
    region: &str,
    now: Timestamp,
) -> Result<String, SignError> {
    let (date, payload) = (dates::basic(now), payload.text());
    let scope = Scope { day: dates::day(now), region: region.to_owned() };
    let headers = with_own_headers(head, &date, &payload)?;
    let head = RequestHead { headers: &headers, ..*head };
    let signed_headers = signed_headers(&headers);
    let to_sign =
        ToSign { head: &head, signed_headers: &signed_headers, payload: &payload, date: &date, scope: &scope };
    Ok(to_sign.string_to_sign())
}

/// The query of a URL that lets whoever holds it make this one request until `expires` has passed. The holder must send
/// the headers in `head` as they are; its `query` is kept.
pub fn presign(
    head: &RequestHead<'_>,
    expires: Duration,
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) -> Result<String, SignError> {
    if expires.as_secs() == 0 || expires > PRESIGNED_LIFE_MAX {
        return Err(SignError::Expires);
    }
    let date = dates::basic(now);
    let scope = Scope { day: dates::day(now), region: region.to_owned() };
    let signed_headers = signed_headers(head.headers);
    let credential = format!("{}/{}", credentials.access_key(), scope.text());
    let mut query = head.query.to_owned();
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &date),
        ("X-Amz-Expires", &expires.as_secs().to_string()),
        ("X-Amz-SignedHeaders", &signed_headers.join(";")),
    ] {
        let separator = if query.is_empty() { "" } else { "&" };
        query.push_str(&format!("{separator}{name}={}", encoding::encode(value)));
    }
    let head = RequestHead { query: &query, ..*head };
    let payload = UNSIGNED_PAYLOAD;
    let to_sign = ToSign { head: &head, signed_headers: &signed_headers, payload, date: &date, scope: &scope };
    let signature = hex::encode(to_sign.signature(credentials.secret_key()));
    Ok(format!("{query}&X-Amz-Signature={signature}"))
}

/// The headers of `head` and the two that every signed request has.
fn with_own_headers(head: &RequestHead<'_>, date: &str, payload: &str) -> Result<http::HeaderMap, SignError> {
    let mut headers = head.headers.clone();
    headers.insert("x-amz-date", printable("the date", date)?);
    headers.insert("x-amz-content-sha256", printable("the payload", payload)?);
    Ok(headers)
}

/// Header names arrive lower case from `http`; `host` is signed from [`RequestHead::host`].
fn signed_headers(headers: &http::HeaderMap) -> Vec<String> {
    let given = headers.keys().map(|name| name.as_str().to_owned()).filter(|name| name != "host");
    let mut names: Vec<String> = given.chain(["host".to_owned()]).collect();
    names.sort();
    names
}

fn printable(what: &'static str, text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::try_from(text).map_err(|_| SignError::Unprintable(what))
}
