//! What a middleware cannot know by itself, and the shell's replies.

use std::fmt;
use std::time::Duration;

/// Bytes of an authorizing service's body that are passed on; the shell reads no more.
pub const AUTHORIZATION_BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone)]
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
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { stored, .. } => write!(f, "Password({stored:?})"),
            Self::Signature { key, .. } => write!(f, "Signature({key:?})"),
            Self::Authorize(request) => write!(f, "Authorize({})", request.url),
        }
    }
}

/// Its fields are the client's, credentials among them.
impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({:?}, …)", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_does_not_print_the_secrets_in_it() {
        let stored = StoredPassword::Plain(b"hush".to_vec());
        let key = VerificationKey { algorithm: Algorithm::Hs256, bytes: b"hush".to_vec() };
        let headers = vec![("authorization".to_owned(), b"hush".to_vec())];
        let request = AuthorizationRequest { url: "http://auth/".to_owned(), headers, timeout: Duration::ZERO };
        let printed = [
            format!("{:?}", Question::Password { stored: &stored, password: b"hush".to_vec() }),
            format!("{:?}", Question::Signature { key: &key, message: b"hush".to_vec(), signature: b"hush".to_vec() }),
            format!("{:?}", Question::Authorize(request.clone())),
            format!("{request:?}"),
        ];
        let expected = ["Password(Plain(…))", "Signature(VerificationKey(Hs256, …))", "Authorize(http://auth/)"];
        assert_eq!(&printed[..3], expected);
        assert!(!printed[3].contains(&format!("{:?}", b"hush")), "{}", printed[3]);
    }
}
