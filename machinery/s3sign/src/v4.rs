//! AWS Signature Version 4: a key derived for one day, region and service signs a canonical request.

mod canonical;
mod chunk;
mod sign;
mod verify;

pub use chunk::ChunkSigner;
pub use sign::{PayloadToSign, presign, sign, string_to_sign};
pub(crate) use verify::{verify_header, verify_query};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";
const TERMINATOR: &str = "aws4_request";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// `<day>/<region>/s3/aws4_request`: what a derived key is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    day: String,
    region: String,
}

impl Scope {
    fn text(&self) -> String {
        format!("{}/{}/{SERVICE}/{TERMINATOR}", self.day, self.region)
    }

    /// HMAC-SHA256 of each part of the scope in turn, starting from the secret.
    fn derive_key(&self, secret: &str) -> [u8; 32] {
        let mut key = hmac_sha256(format!("AWS4{secret}").as_bytes(), self.day.as_bytes());
        for part in [self.region.as_str(), SERVICE, TERMINATOR] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        key
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
