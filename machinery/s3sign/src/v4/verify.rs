//! The server's side.

use super::canonical::ToSign;
use super::{ALGORITHM, ChunkSigner, SERVICE, Scope, TERMINATOR, UNSIGNED_PAYLOAD};
use crate::verify::{Payload, Verified, check_skew};
use crate::{CLOCK_SKEW_MAX, Credentials, PRESIGNED_LIFE_MAX, RequestHead, SignatureError, dates, encoding};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use subtle::ConstantTimeEq;

type Lookup<'a> = &'a dyn Fn(&str) -> Option<Credentials>;

/// The parts of `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
pub(super) struct Authorization {
    pub access_key: String,
    pub scope: Scope,
    pub signed_headers: Vec<String>,
    pub signature: [u8; 32],
}

impl Authorization {
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let malformed = SignatureError::MalformedHeader;
        let rest = text.strip_prefix(ALGORITHM).ok_or(malformed("the algorithm is not AWS4-HMAC-SHA256"))?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let field = match part.trim().split_once('=') {
                Some(("Credential", value)) => (&mut credential, value),
                Some(("SignedHeaders", value)) => (&mut signed_headers, value),
                Some(("Signature", value)) => (&mut signature, value),
                _ => return Err(malformed("a part is none of Credential, SignedHeaders, Signature")),
            };
            if field.0.replace(field.1).is_some() {
                return Err(malformed("a part occurs twice"));
            }
        }
        let (access_key, scope) = parse_credential(credential.ok_or(malformed("Credential is missing"))?)
            .ok_or(malformed("Credential is not key/day/region/s3/aws4_request"))?;
        let signed_headers = signed_headers.ok_or(malformed("SignedHeaders is missing"))?;
        let signature = signature.ok_or(malformed("Signature is missing"))?;
        let signature = parse_signature(signature).ok_or(malformed("Signature is not 64 hexadecimal digits"))?;
        Ok(Self { access_key, scope, signed_headers: parse_signed_headers(signed_headers), signature })
    }
}

pub(crate) fn verify_header(
    head: &RequestHead<'_>,
    authorization: &str,
    lookup: Lookup<'_>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let authorization = Authorization::parse(authorization)?;
    let credentials = lookup(&authorization.access_key).ok_or(SignatureError::UnknownAccessKey)?;
    let date = header(head, "x-amz-date").or_else(|| header(head, "date")).ok_or(SignatureError::MissingDate)?;
    let time = dates::parse_date(date).ok_or(SignatureError::MissingDate)?;
    check_skew(time, now)?;
    if dates::day(time) != authorization.scope.day {
        return Err(SignatureError::MalformedHeader("the credential's day is not the request's"));
    }
    check_signed_headers(head, &authorization.signed_headers)?;
    let payload = header(head, "x-amz-content-sha256").ok_or(SignatureError::MissingContentHash)?;
    let date = dates::basic(time);
    let Authorization { scope, signed_headers, signature, .. } = authorization;
    check_signature(head, &credentials, &scope, &signed_headers, payload, &date, &signature)?;
    let chunks = ChunkSigner::new(credentials.secret_key(), &date, &scope, signature);
    let payload = Payload::parse(payload, Some(chunks)).ok_or(SignatureError::InvalidContentHash)?;
    Ok(Verified { access_key: credentials.access_key().to_owned(), payload })
}

pub(crate) fn verify_query(
    head: &RequestHead<'_>,
    lookup: Lookup<'_>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let malformed = SignatureError::MalformedQuery;
    if parameter(head, "X-Amz-Algorithm")?.as_deref() != Some(ALGORITHM) {
        return Err(malformed("X-Amz-Algorithm is not AWS4-HMAC-SHA256"));
    }
    let credential = parameter(head, "X-Amz-Credential")?.ok_or(malformed("X-Amz-Credential is missing"))?;
    let (access_key, scope) =
        parse_credential(&credential).ok_or(malformed("X-Amz-Credential is not key/day/region/s3/aws4_request"))?;
    let date = parameter(head, "X-Amz-Date")?.ok_or(malformed("X-Amz-Date is missing"))?;
    let time = dates::parse_date(&date).ok_or(malformed("X-Amz-Date cannot be read"))?;
    let expires = parameter(head, "X-Amz-Expires")?.and_then(|text| text.parse::<u64>().ok());
    let expires = expires.filter(|seconds| (1..=PRESIGNED_LIFE_MAX.as_secs()).contains(seconds));
    let expires = Duration::from_secs(expires.ok_or(malformed("X-Amz-Expires is not between 1 and 604800"))?);
    let signed_headers = parameter(head, "X-Amz-SignedHeaders")?.ok_or(malformed("X-Amz-SignedHeaders is missing"))?;
    let signature = parameter(head, "X-Amz-Signature")?.and_then(|text| parse_signature(&text));
    let signature = signature.ok_or(malformed("X-Amz-Signature is not 64 hexadecimal digits"))?;
    if dates::day(time) != scope.day {
        return Err(malformed("the credential's day is not the request's"));
    }
    let credentials = lookup(&access_key).ok_or(SignatureError::UnknownAccessKey)?;
    let age = now.duration_since(time);
    if age < -SignedDuration::try_from(CLOCK_SKEW_MAX).expect("a constant of minutes") {
        return Err(SignatureError::NotYetValid);
    }
    if age > SignedDuration::try_from(expires).expect("seven days at most") {
        return Err(SignatureError::Expired);
    }
    let signed_headers = parse_signed_headers(&signed_headers);
    check_signed_headers(head, &signed_headers)?;
    let signed_hash = signed_headers.iter().any(|name| name == "x-amz-content-sha256");
    let hash = parameter(head, "X-Amz-Content-Sha256")?;
    let hash = hash.or_else(|| header(head, "x-amz-content-sha256").filter(|_| signed_hash).map(str::to_owned));
    let hash = hash.unwrap_or_else(|| UNSIGNED_PAYLOAD.to_owned());
    check_signature(head, &credentials, &scope, &signed_headers, &hash, &date, &signature)?;
    let chunks = ChunkSigner::new(credentials.secret_key(), &date, &scope, signature);
    let payload = Payload::parse(&hash, Some(chunks)).ok_or(SignatureError::InvalidContentHash)?;
    Ok(Verified { access_key, payload })
}

fn check_signature(
    head: &RequestHead<'_>,
    credentials: &Credentials,
    scope: &Scope,
    signed_headers: &[String],
    payload: &str,
    date: &str,
    signature: &[u8; 32],
) -> Result<(), SignatureError> {
    let expected = ToSign { head, signed_headers, payload, date, scope }.signature(credentials.secret_key());
    match bool::from(expected.ct_eq(signature)) {
        true => Ok(()),
        false => Err(SignatureError::Mismatch),
    }
}

/// Host and every `x-amz-*` header must be signed: an unsigned one could have been added by anybody on the way.
fn check_signed_headers(head: &RequestHead<'_>, signed: &[String]) -> Result<(), SignatureError> {
    let is_signed = |name: &str| signed.iter().any(|signed| signed == name);
    // The body's hash enters the signature by itself.
    let must = |name: &&str| name.starts_with("x-amz-") && *name != "x-amz-content-sha256";
    let mut required = head.headers.keys().map(http::HeaderName::as_str).filter(must).chain(["host"]);
    match required.find(|name| !is_signed(name)) {
        Some(name) => Err(SignatureError::UnsignedHeader(name.to_owned())),
        None => Ok(()),
    }
}

/// `key/day/region/s3/aws4_request`; the key itself may hold `/`.
fn parse_credential(text: &str) -> Option<(String, Scope)> {
    let mut parts = text.rsplitn(5, '/');
    let (terminator, service, region, day) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let access_key = parts.next()?;
    let valid = terminator == TERMINATOR && service == SERVICE && !access_key.is_empty();
    valid.then(|| (access_key.to_owned(), Scope { day: day.to_owned(), region: region.to_owned() }))
}

fn parse_signed_headers(text: &str) -> Vec<String> {
    text.split(';').map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn parse_signature(text: &str) -> Option<[u8; 32]> {
    let mut signature = [0; 32];
    hex::decode_to_slice(text, &mut signature).ok().map(|()| signature)
}

fn header<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

/// A query parameter by its exact name; twice is an error, because two readers could choose differently.
fn parameter(head: &RequestHead<'_>, wanted: &str) -> Result<Option<String>, SignatureError> {
    let mut values = encoding::query_pairs(head.query).filter(|(name, _)| name == wanted);
    let value = values.next().map(|(_, value)| value.unwrap_or_default());
    match values.next() {
        Some(_) => Err(SignatureError::Ambiguous),
        None => Ok(value),
    }
}
