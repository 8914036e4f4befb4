//! The Internet checksum (RFC 1071) in the forms that VRRP uses.

use std::net::IpAddr;

use super::{Checksum, Datagram, IP_PROTOCOL, Version};

/// Whether the checksum in a received message fits one of the forms that its version allows.
pub(super) fn verify(version: Version, datagram: &Datagram<'_>) -> bool {
    let Datagram { source, destination, payload, .. } = *datagram;
    let message = sum(payload);
    let with_pseudo_header = message + pseudo_header(source, destination, payload.len());
    match (version, source) {
        (Version::V2, _) => fold(message) == 0xffff,
        (Version::V3, IpAddr::V4(_)) => fold(message) == 0xffff || fold(with_pseudo_header) == 0xffff,
        (Version::V3, IpAddr::V6(_)) => fold(with_pseudo_header) == 0xffff,
    }
}

/// The checksum of a message whose own checksum field is zero.
pub(super) fn compute(version: Version, form: Checksum, source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    let covers_pseudo_header = match (version, source) {
        (Version::V2, _) => false,
        (Version::V3, IpAddr::V4(_)) => form == Checksum::WithPseudoHeader,
        (Version::V3, IpAddr::V6(_)) => true,
    };
    let pseudo = if covers_pseudo_header { pseudo_header(source, destination, message.len()) } else { 0 };
    !fold(sum(message) + pseudo)
}

/// Source, destination, length and protocol: RFC 768 for IPv4, RFC 8200 §8.1 for IPv6. The sum does not depend on where
/// a word stands, so both come to the same.
fn pseudo_header(source: IpAddr, destination: IpAddr, length_bytes: usize) -> u64 {
    address(source) + address(destination) + length_bytes as u64 + u64::from(IP_PROTOCOL)
}

fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

/// The sum of the big-endian 16-bit words; an odd last byte is padded with zero. 64 bits hold any datagram's sum.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words.map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum()
}

/// Adds the carries back in until 16 bits are left.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
