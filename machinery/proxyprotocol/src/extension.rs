//! What a header of version 2 may say beside the addresses (section 2.2.x): type, length, value each.

use crate::Bad;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;

const PREFIX_BYTES: usize = 3;
/// A checksum with its prefix.
pub(crate) const CHECKSUM_BYTES: usize = PREFIX_BYTES + 4;
/// Of a unique id (section 2.2.5).
const UNIQUE_ID_BYTES_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The upper protocol, as in TLS' ALPN.
    Alpn(Vec<u8>),
    /// The host name the client asked for, as in TLS' SNI.
    Authority(String),
    /// Names the connection.
    UniqueId(Vec<u8>),
    /// The client's TLS, which the sender has terminated.
    Tls(Tls),
    /// Of any other type.
    Other(u8, Vec<u8>),
}

/// `PP2_TYPE_SSL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Bits: 1 over TLS, 2 a certificate on this connection, 4 a certificate in this session.
    pub client: u8,
    /// 0: the client's certificate was verified.
    pub verify: u32,
    /// Type and value: version, common name, cipher, …
    pub details: Vec<(u8, Vec<u8>)>,
}

/// Reads what follows the addresses; `whole` is the header, for its checksum.
pub(crate) fn read(rest: &[u8], whole: &[u8]) -> Result<Vec<Extension>, Bad> {
    let mut found = Vec::new();
    for (kind, value) in pieces(rest)? {
        let malformed = Bad::Extension { kind };
        found.push(match kind {
            NOOP => continue,
            CRC32C => {
                let given: [u8; 4] = value.try_into().map_err(|_| malformed)?;
                // The value is a part of the header, so this is where it is.
                let at = value.as_ptr().addr() - whole.as_ptr().addr();
                if checksum(whole, at) != u32::from_be_bytes(given) {
                    return Err(Bad::Checksum);
                }
                continue;
            }
            ALPN => Extension::Alpn(value.to_vec()),
            AUTHORITY => Extension::Authority(String::from_utf8(value.to_vec()).map_err(|_| malformed)?),
            UNIQUE_ID if value.len() <= UNIQUE_ID_BYTES_MAX => Extension::UniqueId(value.to_vec()),
            UNIQUE_ID => return Err(malformed),
            SSL => {
                let (&[client, a, b, c, d], details) = value.split_first_chunk().ok_or(malformed)?;
                let details = pieces(details)?.into_iter().map(|(kind, value)| (kind, value.to_vec())).collect();
                Extension::Tls(Tls { client, verify: u32::from_be_bytes([a, b, c, d]), details })
            }
            other => Extension::Other(other, value.to_vec()),
        });
    }
    Ok(found)
}

fn pieces(mut bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, Bad> {
    let mut pieces = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let malformed = Bad::Extension { kind };
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(malformed.clone())?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(malformed)?;
        pieces.push((kind, value));
        bytes = rest;
    }
    Ok(pieces)
}

/// Of the header with zeros where its checksum is.
fn checksum(whole: &[u8], at: usize) -> u32 {
    let so_far = crc32c::crc32c(&whole[..at]);
    let so_far = crc32c::crc32c_append(so_far, &[0; 4]);
    crc32c::crc32c_append(so_far, &whole[at + 4..])
}

/// Makes room for a checksum; where it goes.
pub(crate) fn reserve_checksum(to: &mut Vec<u8>) -> usize {
    to.extend_from_slice(&[CRC32C, 0, 4, 0, 0, 0, 0]);
    to.len() - 4
}

impl Extension {
    /// Whether it could be written: a value has at most 64 KiB.
    pub(crate) fn write(&self, to: &mut Vec<u8>) -> bool {
        match self {
            Self::Alpn(value) => piece(ALPN, value, to),
            Self::Authority(name) => piece(AUTHORITY, name.as_bytes(), to),
            Self::UniqueId(value) => piece(UNIQUE_ID, value, to),
            Self::Tls(Tls { client, verify, details }) => {
                let mut value = vec![*client];
                value.extend_from_slice(&verify.to_be_bytes());
                details.iter().all(|(kind, detail)| piece(*kind, detail, &mut value)) && piece(SSL, &value, to)
            }
            Self::Other(kind, value) => piece(*kind, value, to),
        }
    }
}

fn piece(kind: u8, value: &[u8], to: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(value.len()) else { return false };
    to.push(kind);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(value);
    true
}
