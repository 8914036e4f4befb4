//! The server's side.

use super::SCHEME;
use super::canonical::{Spelling, signature};
use crate::verify::{Payload, Verified, check_skew};
use crate::{Credentials, RequestHead, SignatureError, dates, encoding};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::DATE;
use jiff::Timestamp;
use subtle::{Choice, ConstantTimeEq};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<Credentials>;

pub(crate) fn verify_header(
    head: &RequestHead<'_>,
    authorization: &str,
    lookup: Lookup<'_>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let malformed = SignatureError::MalformedHeader("not AWS key:signature");
    let pair = authorization.strip_prefix(SCHEME).map(str::trim).and_then(|pair| pair.split_once(':'));
    let (access_key, given) = pair.ok_or(malformed)?;
    let credentials = lookup(access_key).ok_or(SignatureError::UnknownAccessKey)?;
    let amz_date = head.headers.get("x-amz-date");
    let date = amz_date.or_else(|| head.headers.get(DATE)).and_then(|value| value.to_str().ok());
    let date = date.ok_or(SignatureError::MissingDate)?;
    check_skew(dates::parse_date(date).ok_or(SignatureError::MissingDate)?, now)?;
    let date_line = if amz_date.is_some() { "" } else { date };
    check_signature(head, &credentials, date_line, given)?;
    verified(head, credentials)
}

/// V2 has no longest life: the URL is good until the second it names.
pub(crate) fn verify_query(
    head: &RequestHead<'_>,
    lookup: Lookup<'_>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let malformed = SignatureError::MalformedQuery;
    let (mut access_key, mut expires, mut given) = (None, None, None);
    for (name, value) in encoding::query_pairs(head.query) {
        let field = match name.as_str() {
            "AWSAccessKeyId" => &mut access_key,
            "Expires" => &mut expires,
            "Signature" => &mut given,
            _ => continue,
        };
        if field.replace(value.unwrap_or_default()).is_some() {
            return Err(SignatureError::Ambiguous);
        }
    }
    let access_key = access_key.ok_or(malformed("AWSAccessKeyId is missing"))?;
    let expires = expires.ok_or(malformed("Expires is missing"))?;
    let expires_second: i64 = expires.parse().map_err(|_| malformed("Expires is not a number of seconds"))?;
    // A base64 `+` that was not escaped arrives as a space.
    let given = given.ok_or(malformed("Signature is missing"))?.replace(' ', "+");
    let credentials = lookup(&access_key).ok_or(SignatureError::UnknownAccessKey)?;
    if now.as_second() > expires_second {
        return Err(SignatureError::Expired);
    }
    check_signature(head, &credentials, &expires, &given)?;
    verified(head, credentials)
}

fn check_signature(
    head: &RequestHead<'_>,
    credentials: &Credentials,
    date_line: &str,
    given: &str,
) -> Result<(), SignatureError> {
    let given = STANDARD.decode(given).map_err(|_| SignatureError::Mismatch)?;
    let mut matches = Choice::from(0);
    for spelling in Spelling::all() {
        matches |= signature(head, date_line, spelling, credentials.secret_key()).as_slice().ct_eq(&given);
    }
    match bool::from(matches) {
        true => Ok(()),
        false => Err(SignatureError::Mismatch),
    }
}

/// The body of a V2 request may still say how it is framed, or what its hash is.
fn verified(head: &RequestHead<'_>, credentials: Credentials) -> Result<Verified, SignatureError> {
    let payload = match head.headers.get("x-amz-content-sha256") {
        None => Payload::Unsigned,
        Some(value) => {
            value.to_str().ok().and_then(|text| Payload::parse(text, None)).ok_or(SignatureError::InvalidContentHash)?
        }
    };
    Ok(Verified { access_key: credentials.access_key().to_owned(), payload })
}
