//! S3 signatures, both sides: what a client adds to a request, and what a server makes of it.
//!
//! | scheme | header | query ("presigned") | body |
//! |---|---|---|---|
//! | [`v4`] | `Authorization: AWS4-HMAC-SHA256 …` | `X-Amz-Signature`, 7 days at most | hash, unsigned, or signed chunk by chunk |
//! | [`v2`] | `Authorization: AWS key:signature` | `Signature`, until `Expires` | never signed |
//!
//! V2 is here because it is not dead: the article's page sends it, EMC's object stores spoke it, and boto3 still presigns
//! with it on any endpoint that is not Amazon's. Everything is pure: time comes in as an argument, keys through a
//! function, bodies as slices. [`verify`] is the server's one entry; [`chunked`] undoes the `aws-chunked` framing.

pub mod chunked;
mod credentials;
mod dates;
mod encoding;
mod error;
pub mod v2;
pub mod v4;
mod verify;

pub use credentials::{Credentials, InvalidCredentials};
pub use dates::{http_date, parse_date};
pub use encoding::{decode, encode, encode_path, query_pairs};
pub use error::{SignError, SignatureError};
pub use verify::{Payload, Verified, verify};

use http::{HeaderMap, Method};
use std::time::Duration;

/// How far the clocks of client and server may be apart (S3: `RequestTimeTooSkewed`).
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest life of a V4 presigned URL (S3: seven days).
pub const PRESIGNED_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    pub method: &'a Method,
    /// The Host header's value, with its port if it names one.
    pub host: &'a str,
    /// The path as it goes over the wire, percent-encoded, starting with `/`.
    pub raw_path: &'a str,
    /// The query as it goes over the wire, without `?`; empty when there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The bucket, when the Host names it (virtual-hosted style): V2 signs it as if it were in the path.
    pub bucket_in_host: Option<&'a str>,
}
