//! What a middleware cannot know by itself, and the shell's replies.

use std::fmt;
use std::time::Duration;

/// Bytes of an authorizing service's body that are passed on; the shell reads no more.
pub const AUTHORIZATION_BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub enum Question<'c> {
    /// Whether a password is the one that was stored: [`Reply::Verified`]. Compared in constant time. bcrypt is slow by
    /// design: off the data thread, and a shell may remember which pairs were right.
    Password { stored: &'c StoredPassword, password: Vec<u8> },
    /// Whether a signature is right: [`Reply::Verified`].
    Signature { key: &'c VerificationKey, message: Vec<u8>, signature: Vec<u8> },
    /// What another service says of this request: [`Reply::Authorization`] or [`Reply::Failed`].
    Authorize(AuthorizationRequest),
}

/// One line of an htpasswd file, without its name.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// `$2a$`, `$2b$`, `$2y$`
    Bcrypt(String),
    /// `{SHA}`: the SHA-1 of the password.
    Sha1([u8; 20]),
    Plain(Vec<u8>),
}

/// A key, and the one algorithm it may be used with: a token never chooses.
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationKey {
    pub algorithm: Algorithm,
    /// HS256: the secret. RS256: RSAPublicKey (RFC 8017, A.1.1), DER. ES256: the uncompressed point, 65 bytes.
    /// EdDSA: the Ed25519 public key, 32 bytes.
    pub bytes: Vec<u8>,
}

/// RFC 7518, section 3.1 and RFC 8037, section 3.1; an ES256 signature is r and s, 32 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

/// A GET to make; redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub url: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum Reply {
    Verified(bool),
    Authorization(Authorization),
    /// Nobody could say.
    Failed,
}

#[derive(Clone, Debug, Default)]
pub struct Authorization {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    /// At most [`AUTHORIZATION_BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// Secrets do not get into logs.
impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt(…)",
            Self::Sha1(_) => "Sha1(…)",
            Self::Plain(_) => "Plain(…)",
        })
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({:?}, …)", self.algorithm)
    }
}
