//! What a machine needs to join: where the cluster is, how to know it, and the right to come in. One word.
//!
//! ```text
//! rsj_ + base64url( {"v":1,"id":ID,"secret":SECRET,"ca":SHA-256 OF THE AUTHORITY,"at":["HOST:PORT",...]} )
//! ```

use crate::Token;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Shown once, to the person who asked for it: the cluster keeps the digest of the secret only.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Its name in lists, no secret.
    pub id: String,
    pub secret: Token,
    /// SHA-256 of the authority's certificate, in hexadecimal: how the machine knows that it speaks to this cluster.
    pub ca_fingerprint: String,
    /// `host:port` of the peers ports of some state nodes.
    pub addresses: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum JoinTokenError {
    #[error("not a join token: one word that begins with {PREFIX}")]
    Prefix,
    #[error("the join token is damaged (was it copied whole?)")]
    Damaged,
    #[error("the join token has form {version}; this release reads form {VERSION}")]
    Version { version: u32 },
}

/// Like [`Token`]s, found by a search when one leaked.
const PREFIX: &str = "rsj_";
const VERSION: u32 = 1;
/// Five addresses with long names make a quarter of it.
const TEXT_BYTES_MAX: usize = 8 * 1024;
const ID_RANDOM_BYTES: usize = 6;
const ID_BYTES_MAX: usize = 64;
const ADDRESSES_MAX: usize = 16;

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    id: String,
    secret: Token,
    ca: String,
    at: Vec<String>,
}

impl JoinToken {
    pub fn generate(ca_fingerprint: String, addresses: Vec<String>) -> Result<Self, getrandom::Error> {
        let mut id = [0; ID_RANDOM_BYTES];
        getrandom::fill(&mut id)?;
        Ok(Self { id: hex::encode(id), secret: Token::generate()?, ca_fingerprint, addresses })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = Form {
            v: VERSION,
            id: self.id.clone(),
            secret: self.secret.clone(),
            ca: self.ca_fingerprint.clone(),
            at: self.addresses.clone(),
        };
        let json = serde_json::to_vec(&form).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        /// Read first, so that a later form is named and not called damaged.
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        let word = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        if word.len() > TEXT_BYTES_MAX {
            return Err(JoinTokenError::Damaged);
        }
        let json = URL_SAFE_NO_PAD.decode(word).map_err(|_| JoinTokenError::Damaged)?;
        let Versioned { v: version } = serde_json::from_slice(&json).map_err(|_| JoinTokenError::Damaged)?;
        if version != VERSION {
            return Err(JoinTokenError::Version { version });
        }
        let form: Form = serde_json::from_slice(&json).map_err(|_| JoinTokenError::Damaged)?;
        let sound = is_id(&form.id)
            && !form.secret.reveal().is_empty()
            && form.ca.len() == 64
            && form.ca.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (1..=ADDRESSES_MAX).contains(&form.at.len())
            && form.at.iter().all(|address| is_host_and_port(address));
        if !sound {
            return Err(JoinTokenError::Damaged);
        }
        Ok(Self { id: form.id, secret: form.secret, ca_fingerprint: form.ca, addresses: form.at })
    }
}

/// It becomes part of a key of the store and of a URL.
fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_host_and_port(text: &str) -> bool {
    let authority = text.parse::<http::uri::Authority>();
    authority
        .is_ok_and(|authority| authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        let addresses = vec!["10.0.0.1:8081".into(), "[fd00::1]:8081".into(), "node-2.example.org:8081".into()];
        JoinToken::generate("ab".repeat(32), addresses).unwrap()
    }

    #[test]
    fn a_join_token_is_one_word_that_is_read_again() {
        let token = token();
        let text = token.to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{text}");
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!("  {text}\n").parse::<JoinToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains(token.secret.reveal()));
    }

    #[test]
    fn a_cut_or_foreign_token_says_what_is_wrong() {
        let text = token().to_string();
        assert!(matches!(text[..text.len() - 9].parse::<JoinToken>(), Err(JoinTokenError::Damaged)));
        assert!(matches!("rs_0123".parse::<JoinToken>(), Err(JoinTokenError::Prefix)));
        let later = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(r#"{"v":2,"else":[]}"#));
        assert!(matches!(later.parse::<JoinToken>(), Err(JoinTokenError::Version { version: 2 })));
        let mut nowhere = token();
        nowhere.addresses = vec!["http://10.0.0.1".into()];
        assert!(matches!(nowhere.to_string().parse::<JoinToken>(), Err(JoinTokenError::Damaged)));
        nowhere.addresses = Vec::new();
        assert!(matches!(nowhere.to_string().parse::<JoinToken>(), Err(JoinTokenError::Damaged)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), word in "[A-Za-z0-9_-]{0,200}", bytes in any::<Vec<u8>>()) {
            let _any = text.parse::<JoinToken>();
            let _word = format!("{PREFIX}{word}").parse::<JoinToken>();
            let _bytes = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).parse::<JoinToken>();
        }

        #[test]
        fn every_token_is_read_again(
            id in "[a-z0-9-]{1,64}",
            secret in "[ -~]{1,80}",
            ca in "[0-9a-f]{64}",
            addresses in proptest::collection::vec("[a-z0-9]{1,30}:[1-9][0-9]{0,3}", 1..16),
        ) {
            let token = JoinToken { id, secret: Token::from_text(secret), ca_fingerprint: ca, addresses };
            prop_assert_eq!(token.to_string().parse::<JoinToken>().unwrap(), token);
        }
    }
}
