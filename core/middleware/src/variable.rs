//! What a limit counts by: vulcand's variables.

use crate::spec::SpecError;
use crate::step::Seen;
use std::borrow::Cow;
use std::net::IpAddr;

/// Bytes of a key that count: longer ones that begin alike share a limit.
pub const KEY_BYTES_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `client.ip`: the whole address, IPv6 too (vulcand gives all of IPv6 one key).
    ClientIp,
    /// `request.host`: lower-cased, so that case opens no second bucket.
    Host,
    /// `request.header.X`: the first value; requests without one share a key.
    Header(String),
}

pub enum Key<'a> {
    Address([u8; 16]),
    Text(Cow<'a, [u8]>),
}

impl Variable {
    pub fn parse(field: &str, text: &str) -> Result<Self, SpecError> {
        match text {
            "client.ip" => Ok(Self::ClientIp),
            "request.host" => Ok(Self::Host),
            _ => match text.strip_prefix("request.header.") {
                Some(name) if crate::headers::is_name(name) => Ok(Self::Header(name.to_owned())),
                _ => {
                    let expected = "expected client.ip, request.host or request.header.NAME";
                    Err(SpecError::new(field, format!("{expected}, found {text:?}")))
                }
            },
        }
    }

    pub fn key<'a>(&self, seen: &'a Seen<'_, '_>) -> Key<'a> {
        match self {
            Self::ClientIp => Key::Address(match seen.request.client {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            }),
            Self::Host => {
                let host = seen.request.host.as_bytes();
                let lower = host.iter().any(u8::is_ascii_uppercase);
                Key::Text(if lower { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) })
            }
            Self::Header(name) => Key::Text(Cow::Borrowed(seen.header(name).unwrap_or_default())),
        }
    }
}

impl Key<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Address(bytes) => bytes,
            Self::Text(bytes) => &bytes[..bytes.len().min(KEY_BYTES_MAX)],
        }
    }
}
