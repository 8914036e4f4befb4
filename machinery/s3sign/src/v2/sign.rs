//! The client's side.

use super::SCHEME;
use super::canonical::{self, Spelling, signature};
use crate::{Credentials, RequestHead, SignError, dates, encoding};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};
use jiff::Timestamp;

/// The headers that sign a request: `authorization`, and `date` unless `head` brings `x-amz-date` or `date` itself (a
/// browser may not set `Date`, so what is signed for one must bring `x-amz-date`).
pub fn sign_header(
    head: &RequestHead<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
    let mut added = Vec::new();
    let date = match (head.headers.contains_key("x-amz-date"), head.headers.get(DATE)) {
        (true, _) => String::new(),
        (false, Some(given)) => given.to_str().map_err(|_| SignError::Unprintable("date"))?.to_owned(),
        (false, None) => {
            let date = dates::http_date(now);
            added.push((DATE, HeaderValue::try_from(&date).map_err(|_| SignError::Unprintable("date"))?));
            date
        }
    };
    let signature = STANDARD.encode(signature(head, &date, Spelling::default(), credentials.secret_key()));
    let authorization = format!("{SCHEME} {}:{signature}", credentials.access_key());
    let authorization = HeaderValue::try_from(authorization).map_err(|_| SignError::Unprintable("the access key"))?;
    added.push((AUTHORIZATION, authorization));
    Ok(added)
}

/// The text whose signature [`sign_header`] makes of a request that brings `x-amz-date`, for people to read.
pub fn string_to_sign(head: &RequestHead<'_>) -> String {
    String::from_utf8_lossy(&canonical::string_to_sign(head, "", Spelling::default())).into_owned()
}

/// The query of a URL that lets whoever holds it make this one request until `expires_at`.
pub fn presign(head: &RequestHead<'_>, expires_at: Timestamp, credentials: &Credentials) -> String {
    let expires = expires_at.as_second().to_string();
    let signature = STANDARD.encode(signature(head, &expires, Spelling::default(), credentials.secret_key()));
    let separator = if head.query.is_empty() { "" } else { "&" };
    let access_key = encoding::encode(credentials.access_key());
    let signature = encoding::encode(signature);
    format!("{}{separator}AWSAccessKeyId={access_key}&Expires={expires}&Signature={signature}", head.query)
}
