//! What an operator says of the certificate authority.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Let's Encrypt.
pub const DIRECTORY_DEFAULT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// What works wherever port 80 reaches the edges.
pub const CHALLENGE_DEFAULT: Challenge = Challenge::Http01;

/// Having them means that the authority's terms are agreed to. The same on every machine, or on the founder alone: a leader
/// that has none of its own goes by those of the leaders before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whom the authority may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The authority's URL.
    pub directory: String,
    /// Who vouches for that URL, in PEM, besides those whom the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    pub challenge: Challenge,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account: Option<ExternalAccount>,
}

/// How the authority is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// An answer in the clear on port 80 (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// Some authorities give an account only to whom they know (RFC 8555, section 7.3.4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    pub kid: String,
    /// Base64url, as authorities hand it out.
    pub hmac: String,
}

impl Challenge {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl FromStr for Challenge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Http01, Self::TlsAlpn01].into_iter().find(|challenge| challenge.name() == text);
        known.ok_or_else(|| format!("expected http-01 or tls-alpn-01, not `{text}`"))
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalAccount({})", self.kid)
    }
}
