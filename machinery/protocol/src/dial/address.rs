//! Where a controller is.

use std::fmt;

/// A DNS name's length (RFC 1035 §2.3.4), a colon, a port.
const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// `host:port`; an IPv6 host stands in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{text:?} is no address of a controller: expected host:port")]
    Form { text: String },
    #[error("{text:?}: https needs a certificate of our own")]
    NeedsCertificate { text: String },
    #[error("{text:?}: controllers of a cluster speak https")]
    NeedsTls { text: String },
}

impl Address {
    /// Reads `host:port`, `http://host:port` or `https://host:port`; `secure` says which scheme may stand there.
    pub fn parse(text: &str, secure: bool) -> Result<Self, AddressError> {
        let shown = || text.chars().take(ADDRESS_BYTES_MAX).collect::<String>();
        let rest = match text.split_once("://") {
            None => text,
            Some(("https", rest)) if secure => rest,
            Some(("https", _)) => return Err(AddressError::NeedsCertificate { text: shown() }),
            Some(("http", rest)) if !secure => rest,
            Some(("http", _)) => return Err(AddressError::NeedsTls { text: shown() }),
            Some(_) => return Err(AddressError::Form { text: shown() }),
        };
        let form = || AddressError::Form { text: shown() };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(form)?;
        let host_is_good = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                !host.is_empty() && host.chars().all(known)
            }
        };
        let port_is_good =
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        if rest.len() > ADDRESS_BYTES_MAX || !host_is_good || !port_is_good {
            return Err(form());
        }
        Ok(Self(rest.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_has_one_form() {
        for text in ["Node-1:8081", "http://node-1:8081", "http://node-1:8081/"] {
            assert_eq!(Address::parse(text, false).unwrap().as_str(), "node-1:8081");
        }
        assert_eq!(Address::parse("https://[::1]:8081", true).unwrap().as_str(), "[::1]:8081");
    }

    #[test]
    fn the_scheme_is_the_one_that_is_spoken() {
        assert!(matches!(Address::parse("https://a:1", false), Err(AddressError::NeedsCertificate { .. })));
        assert!(matches!(Address::parse("http://a:1", true), Err(AddressError::NeedsTls { .. })));
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in
            ["", "a", ":1", "a:", "a:0", "a:70000", "a:+1", "u@a:1", "a b:1", "ftp://a:1", "a:1/x", "::1:1", "[x]:1"]
        {
            assert!(Address::parse(text, false).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_read_again(text in ".{0,300}", secure in any::<bool>()) {
            if let Ok(address) = Address::parse(&text, secure) {
                prop_assert_eq!(Address::parse(address.as_str(), secure).unwrap(), address);
            }
        }
    }
}
