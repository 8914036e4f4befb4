//! Tokens, and the check of one without knowing it.

use crate::Role;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;

/// What a caller shows. 256 random bits; printed only by [`Token::reveal`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

/// Tokens start with this, so that a leaked one is found by a search.
const PREFIX: &str = "rs_";

impl Token {
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(bits))))
    }

    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn accepted_as(&self, role: Role) -> Accepted {
        Accepted { role, sha256: self.sha256() }
    }

    /// What may be kept of it: its digest, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }

    /// Whether this is the token whose digest was kept; takes the same time whatever the answer.
    pub fn has_sha256(&self, sha256: &str) -> bool {
        self.sha256().as_bytes().ct_eq(sha256.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A token a service accepts, known by its digest only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub role: Role,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Tells the role of a token. `Open` is `--open`: everyone is `Admin`, on loopback only.
#[derive(Clone, Debug)]
pub enum Verifier {
    Open,
    Tokens(Vec<Accepted>),
}

/// Everyone who can reach an open interface may do everything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an interface without credentials may listen on loopback only, not on {listen}")]
pub struct OpenBeyondLoopback {
    listen: SocketAddr,
}

impl Verifier {
    /// Asked by every service before it binds an interface: an open one is for loopback.
    pub fn may_guard(&self, listen: SocketAddr) -> Result<(), OpenBeyondLoopback> {
        match self {
            Self::Open if !listen.ip().is_loopback() => Err(OpenBeyondLoopback { listen }),
            _ => Ok(()),
        }
    }

    pub fn role_of(&self, token: &str) -> Option<Role> {
        match self {
            Self::Open => Some(Role::Admin),
            Self::Tokens(accepted) => {
                let digest = hex::encode(Sha256::digest(token.as_bytes()));
                // Every entry is compared, so that time tells nothing of which one matched.
                accepted.iter().fold(None, |found, entry| {
                    let equal = bool::from(entry.sha256.as_bytes().ct_eq(digest.as_bytes()));
                    if equal { Some(entry.role) } else { found }
                })
            }
        }
    }

    /// The role of a caller who shows nothing.
    pub fn anonymous(&self) -> Option<Role> {
        match self {
            Self::Open => Some(Role::Admin),
            Self::Tokens(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_interface_is_for_loopback() {
        let [everywhere, here] = ["0.0.0.0:80", "[::1]:80"].map(|address| address.parse().unwrap());
        assert_eq!(Verifier::Open.may_guard(everywhere), Err(OpenBeyondLoopback { listen: everywhere }));
        assert_eq!(Verifier::Open.may_guard(here), Ok(()));
        assert_eq!(Verifier::Tokens(Vec::new()).may_guard(everywhere), Ok(()));
    }

    #[test]
    fn a_token_is_known_by_its_digest_only() {
        let token = Token::generate().unwrap();
        let verifier = Verifier::Tokens(vec![token.accepted_as(Role::Edge)]);
        assert_eq!(verifier.role_of(token.reveal()), Some(Role::Edge));
        assert_eq!(verifier.role_of("rs_else"), None);
        assert_eq!(verifier.anonymous(), None);
        assert!(token.has_sha256(&token.sha256()));
        assert!(!Token::generate().unwrap().has_sha256(&token.sha256()));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
