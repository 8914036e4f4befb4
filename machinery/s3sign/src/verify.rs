//! The server's entry: which scheme is it, whose request is it, and how is its body to be read?

use crate::v4::ChunkSigner;
use crate::{CLOCK_SKEW_MAX, Credentials, RequestHead, SignatureError, encoding, v2, v4};
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};

/// A request whose signature holds.
#[derive(Clone, Debug)]
pub struct Verified {
    pub access_key: String,
    pub payload: Payload,
}

/// How the body must be read, and what of it must still be checked.
#[derive(Clone, Debug)]
pub enum Payload {
    /// As it is, unchecked.
    Unsigned,
    /// As it is; its SHA-256 must be this.
    Hash([u8; 32]),
    /// In `aws-chunked` framing; the decoder checks its signatures if it has a signer.
    Chunked { signer: Option<ChunkSigner>, trailers: bool },
}

impl Payload {
    /// The meaning of `x-amz-content-sha256`. Without a signer (V2, anonymous) nothing can demand signed chunks.
    pub fn parse(text: &str, signer: Option<ChunkSigner>) -> Option<Self> {
        Some(match text {
            "UNSIGNED-PAYLOAD" => Self::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Self::Chunked { signer: Some(signer?), trailers: false },
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Self::Chunked { signer: Some(signer?), trailers: true },
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Self::Chunked { signer: None, trailers: true },
            hash => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(hash, &mut bytes).ok()?;
                Self::Hash(bytes)
            }
        })
    }
}

/// Checks a request's credentials, wherever they are. `lookup` finds the credentials of an access key.
///
/// `SignatureError::Missing` means that the request carries none at all, so that a server may treat it as anonymous. An
/// `Authorization: Bearer` or `Basic` beside a presigned query is ignored: clients send it along after a redirect.
pub fn verify(
    head: &RequestHead<'_>,
    lookup: &dyn Fn(&str) -> Option<Credentials>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let mut headers = head.headers.get_all(AUTHORIZATION).iter();
    let header = headers.next().map(|value| value.to_str().unwrap_or("invalid"));
    if headers.next().is_some() {
        return Err(SignatureError::Ambiguous);
    }
    let has = |wanted: &str| encoding::query_pairs(head.query).any(|(name, _)| name == wanted);
    let header_scheme = header.map(|text| text.split(' ').next().unwrap_or_default());
    let ours = matches!(header_scheme, Some(v2::SCHEME | v4::ALGORITHM));
    let (query_v4, query_v2) = (has("X-Amz-Signature") || has("X-Amz-Algorithm"), has("Signature"));
    match (header, ours, query_v4, query_v2) {
        (Some(_), true, true, _) | (Some(_), true, _, true) | (_, _, true, true) => Err(SignatureError::Ambiguous),
        (Some(text), true, ..) if header_scheme == Some(v4::ALGORITHM) => v4::verify_header(head, text, lookup, now),
        (Some(text), true, ..) => v2::verify_header(head, text, lookup, now),
        (_, _, true, _) => v4::verify_query(head, lookup, now),
        (_, _, _, true) => v2::verify_query(head, lookup, now),
        (Some(_), false, ..) => Err(SignatureError::UnknownScheme),
        (None, ..) => Err(SignatureError::Missing),
    }
}

pub(crate) fn check_skew(time: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    let limit = SignedDuration::try_from(CLOCK_SKEW_MAX).expect("a constant of minutes");
    match now.duration_since(time).abs() > limit {
        true => Err(SignatureError::TimeTooSkewed),
        false => Ok(()),
    }
}
