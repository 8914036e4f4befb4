//! The PROXY protocol: a few bytes in front of a connection with which one proxy tells the next whom it speaks for. Versions
//! 1 (a line of text, section 2.1 of HAProxy's specification "The PROXY protocol") and 2 (binary, section 2.2), read and
//! written without I/O.
//!
//! [`parse`] is given all bytes that came so far and says whether they are a whole header, a part of one, or none. Nothing is
//! guessed: where a header is awaited, its absence is an error (section 2: a receiver must not guess).
//!
//! | bound | |
//! |---|---|
//! | a line of version 1, with its end | 107 bytes, as the specification proves |
//! | what a header of version 2 announces | [`V2_LENGTH_MAX`] |

mod extension;
mod v1;
mod v2;

pub use extension::{Extension, Tls};
pub use v1::V1_BYTES_MAX;
pub use v2::V2_LENGTH_MAX;

use std::fmt;
use std::net::SocketAddr;

/// What a sender says of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: Version,
    pub origin: Origin,
    /// Of version 2, in the order they came; checksum and padding left out.
    pub extensions: Vec<Extension>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Which versions are awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    V1,
    V2,
    #[default]
    Either,
}

/// Whom the sender speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Itself, e.g. for a health check: the connection's own addresses count.
    Local,
    /// Somebody whose addresses it cannot name; the connection's own count.
    Unknown,
    Tcp(Ends<SocketAddr>),
    Udp(Ends<SocketAddr>),
    /// Paths of sockets, filled up with zeros.
    UnixStream(Box<Ends<UnixPath>>),
    UnixDatagram(Box<Ends<UnixPath>>),
}

/// As `sun_path` on Linux.
pub type UnixPath = [u8; 108];

/// Who connected, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<T> {
    pub source: T,
    pub destination: T,
}

/// What the bytes that came are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: all of them belong to it.
    Partial,
    /// A header, and how many bytes it has.
    Complete(Header, usize),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("no PROXY header where one is awaited")]
    NoHeader,
    #[error("a PROXY header of version {found} where version {awaited} is awaited")]
    Version { found: Version, awaited: Version },
    #[error("a PROXY line of more than {V1_BYTES_MAX} bytes")]
    LineTooLong,
    #[error("a PROXY line whose {field} is {found:?}")]
    Line { field: &'static str, found: String },
    #[error("a PROXY header of the unknown version {0}")]
    UnknownVersion(u8),
    #[error("a PROXY header with the unknown command {0}")]
    Command(u8),
    #[error("a PROXY header with the unknown family and protocol {0:#04x}")]
    Family(u8),
    #[error("a PROXY header that announces {bytes} bytes, more than {V2_LENGTH_MAX}")]
    TooLong { bytes: usize },
    #[error("a PROXY header that announces {bytes} bytes, too few for its {needed} bytes of addresses")]
    TooShort { bytes: usize, needed: usize },
    #[error("a PROXY header whose extension {kind:#04x} is malformed")]
    Extension { kind: u8 },
    #[error("a PROXY header whose checksum does not match")]
    Checksum,
}

/// Looks at everything that came so far.
pub fn parse(bytes: &[u8], accepted: Accepted) -> Result<Parsed, Bad> {
    if bytes.is_empty() {
        return Ok(Parsed::Partial);
    }
    let found = match () {
        () if begins(bytes, v1::SIGNATURE) => Version::V1,
        () if begins(bytes, v2::SIGNATURE) => Version::V2,
        () => return Err(Bad::NoHeader),
    };
    match (accepted, found) {
        (Accepted::V1, Version::V2) => Err(Bad::Version { found, awaited: Version::V1 }),
        (Accepted::V2, Version::V1) => Err(Bad::Version { found, awaited: Version::V2 }),
        (_, Version::V1) => v1::parse(bytes),
        (_, Version::V2) => v2::parse(bytes),
    }
}

/// Whether one is the beginning of the other. The signatures differ in their first byte.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes[..length] == signature[..length]
}

impl Header {
    /// Whom a TCP connection is from, if it is said.
    pub fn tcp(&self) -> Option<Ends<SocketAddr>> {
        match self.origin {
            Origin::Tcp(ends) => Some(ends),
            _ => None,
        }
    }
}

impl Origin {
    /// Of a TCP connection. An IPv4 address is one also where an IPv6 socket shows it; two that are of one family nevertheless
    /// differ are both written as IPv6.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(source), canonical(destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Self::Tcp(Ends { source, destination });
        }
        let mapped = |address: SocketAddr| match address {
            SocketAddr::V4(address) => SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port()),
            SocketAddr::V6(_) => address,
        };
        Self::Tcp(Ends { source: mapped(source), destination: mapped(destination) })
    }
}

/// Writes a line of version 1. Whoever is neither on TCP nor named is `UNKNOWN`.
pub fn write_v1(origin: &Origin, to: &mut Vec<u8>) {
    v1::write(origin, to);
}

/// Writes a header of version 2. Extensions that do not fit into [`V2_LENGTH_MAX`] are left out, from the first such on.
pub fn write_v2(origin: &Origin, extensions: &[Extension], with_checksum: bool, to: &mut Vec<u8>) {
    v2::write(origin, extensions, with_checksum, to);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

#[cfg(test)]
mod tests;
