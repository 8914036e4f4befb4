//! Signatures of an `aws-chunked` body: each chunk's signature covers the one before it, starting from the head's.

use super::{Scope, hmac_sha256};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// Signs, or checks, the chunks and trailers of one body in their order.
#[derive(Clone)]
pub struct ChunkSigner {
    key: [u8; 32],
    date: String,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    pub(super) fn new(secret: &str, date: &str, scope: &Scope, seed: [u8; 32]) -> Self {
        let previous = hex::encode(seed);
        Self { key: scope.derive_key(secret), date: date.to_owned(), scope: scope.text(), previous }
    }

    /// The signer that continues from a head this process has signed: from its `authorization` and `x-amz-date`.
    pub fn after(authorization: &str, date: &str, secret: &str) -> Option<Self> {
        let parsed = super::verify::Authorization::parse(authorization).ok()?;
        Some(Self::new(secret, date, &parsed.scope, parsed.signature))
    }

    /// The signature of the next chunk, given the SHA-256 of its bytes.
    pub fn sign_chunk(&mut self, chunk_sha256: [u8; 32]) -> String {
        let empty = hex::encode(Sha256::digest(b""));
        let rest = format!("{empty}\n{}", hex::encode(chunk_sha256));
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &rest)
    }

    /// The signature of the trailers, given as `name:value\n` lines.
    pub fn sign_trailers(&mut self, lines: &str) -> String {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &hex::encode(Sha256::digest(lines)))
    }

    pub(crate) fn chunk_matches(&mut self, chunk_sha256: [u8; 32], signature: &str) -> bool {
        self.sign_chunk(chunk_sha256).as_bytes().ct_eq(signature.as_bytes()).into()
    }

    pub(crate) fn trailers_match(&mut self, lines: &str, signature: &str) -> bool {
        self.sign_trailers(lines).as_bytes().ct_eq(signature.as_bytes()).into()
    }

    fn sign(&mut self, algorithm: &str, rest: &str) -> String {
        let text = format!("{algorithm}\n{}\n{}\n{}\n{rest}", self.date, self.scope, self.previous);
        self.previous = hex::encode(hmac_sha256(&self.key, text.as_bytes()));
        self.previous.clone()
    }
}

/// Never shows the derived key.
impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}
