//! An access key and its secret.

use std::fmt;

/// The most bytes an access key or a secret may have (Amazon: 128 for an access key).
const CREDENTIAL_BYTES_MAX: usize = 128;

/// An access key and its secret, both known to be usable in a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key: String,
    secret_key: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidCredentials {
    #[error("the access key must be 1 to {CREDENTIAL_BYTES_MAX} visible ASCII characters other than ':' and ','")]
    AccessKey,
    #[error("the secret key must be 1 to {CREDENTIAL_BYTES_MAX} bytes")]
    SecretKey,
}

impl Credentials {
    /// `:` ends the key in V2's header and `,` in V4's; `@`, `.` and `/` are fine.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Result<Self, InvalidCredentials> {
        let (access_key, secret_key) = (access_key.into(), secret_key.into());
        let usable = |byte: u8| byte.is_ascii_graphic() && byte != b':' && byte != b',';
        if access_key.is_empty() || access_key.len() > CREDENTIAL_BYTES_MAX || !access_key.bytes().all(usable) {
            return Err(InvalidCredentials::AccessKey);
        }
        if secret_key.is_empty() || secret_key.len() > CREDENTIAL_BYTES_MAX {
            return Err(InvalidCredentials::SecretKey);
        }
        Ok(Self { access_key, secret_key })
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }
}

/// Never shows the secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_break_a_header_are_refused_and_secrets_are_not_shown() {
        assert_eq!(Credentials::new("a:b", "s"), Err(InvalidCredentials::AccessKey));
        assert_eq!(Credentials::new("a\nb", "s"), Err(InvalidCredentials::AccessKey));
        assert_eq!(Credentials::new("a", ""), Err(InvalidCredentials::SecretKey));
        let credentials = Credentials::new("denis@ad.forest", "hunter2").unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
