//! VRRP advertisements as bytes: version 2 (RFC 3768) and version 3 (RFC 9568).
//!
//! ```text
//! version 2                                      version 3
//! byte 0   version 2 << 4 | type 1               version 3 << 4 | type 1
//!      1   virtual router id                     virtual router id
//!      2   priority                              priority
//!      3   number of addresses                   number of addresses
//!      4   authentication type                   reserved (4 bits), interval (12 bits,
//!      5   interval, seconds                       centiseconds)
//!      6   checksum                              checksum
//!      8   addresses, 4 bytes each               addresses, 4 or 16 bytes each
//!    end   authentication data, 8 bytes
//! ```
//!
//! The checksum is the Internet's ones' complement sum: in version 2 over the message, for IPv6 over a pseudo-header and
//! the message. In version 3 over IPv4 the world is split: RFC 9568 takes the message alone (Cisco, Juniper), keepalived
//! puts a pseudo-header before it. Both are accepted; which one is sent is [`Checksum`].

pub(crate) mod checksum;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use error::{DecodeError, EncodeError};

/// The protocol number of VRRP in IP.
pub const IP_PROTOCOL: u8 = 112;

/// The only TTL (hop limit) with which VRRP is sent and accepted, so that no router forwarded it (RFC 9568 §5.1.1.3).
pub const TTL: u8 = 255;

/// The traffic class of advertisements: internetwork control (keepalived's `0xC0`).
pub const TRAFFIC_CLASS: u8 = 0xC0;

/// Where advertisements go when no unicast peers are named.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The addresses of one advertisement are counted in one byte.
pub const ADDRESSES_MAX: usize = 255;

/// The longest advertisement: the header and 255 IPv6 addresses. A receive buffer of this size plus an IPv4 header with
/// options (60 bytes) truncates nothing.
pub const ADVERTISEMENT_BYTES_MAX: usize = HEADER_BYTES + ADDRESSES_MAX * 16;

const HEADER_BYTES: usize = 8;
const AUTH_BYTES: usize = 8;
const TYPE_ADVERTISEMENT: u8 = 1;
const AUTH_NONE: u8 = 0;
const AUTH_SIMPLE_TEXT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The multicast group of the family.
    pub fn group(self) -> IpAddr {
        match self {
            Family::V4 => GROUP_V4.into(),
            Family::V6 => GROUP_V6.into(),
        }
    }

    fn address_bytes(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds.
    V2,
    /// RFC 9568: IPv4 and IPv6, centiseconds.
    V3,
}

impl Version {
    fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }

    /// The shortest and the longest interval that the version can say.
    pub fn interval_range(self) -> (Duration, Duration) {
        match self {
            Version::V2 => (Duration::from_secs(1), Duration::from_secs(255)),
            Version::V3 => (Duration::from_millis(10), Duration::from_millis(40_950)),
        }
    }

    /// The unit in which the version counts the interval.
    pub fn interval_unit(self) -> Duration {
        match self {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => Duration::from_millis(10),
        }
    }
}

/// Which checksum version 3 sends over IPv4. Both are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// Over a pseudo-header and the message: keepalived's default, tcpdump's and Wireshark's idea.
    #[default]
    WithPseudoHeader,
    /// Over the message alone: RFC 9568 §5.2.8 (keepalived: `v3_checksum_as_v2`).
    Rfc9568,
}

/// Version 2's "simple text password". Everyone on the network can read it; logs need not say it, too.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Password(pub [u8; AUTH_BYTES]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What one router says about one virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    pub version: Version,
    /// 1 to 255.
    pub vrid: u8,
    /// 0: the holder resigns. 255: the sender owns the addresses.
    pub priority: u8,
    pub interval: Duration,
    /// One family, at least one. Over IPv6 the first should be link-local (RFC 9568 §5.2.9).
    pub addresses: Vec<IpAddr>,
    /// In version 2.
    pub auth: Option<Password>,
}

/// An IP datagram of protocol 112, without its IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL, or the hop limit.
    pub ttl: u8,
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Splits what a raw IPv4 socket delivers: the IP header and its payload.
    pub fn from_ipv4(packet: &'a [u8]) -> Result<Datagram<'a>, DecodeError> {
        const IPV4_HEADER_BYTES: usize = 20;
        let too_short = DecodeError::Length { expected: IPV4_HEADER_BYTES, found: packet.len() };
        let Some((header, _)) = packet.split_first_chunk::<IPV4_HEADER_BYTES>() else { return Err(too_short) };
        if header[0] >> 4 != 4 {
            return Err(DecodeError::IpVersion { found: header[0] >> 4 });
        }
        if header[9] != IP_PROTOCOL {
            return Err(DecodeError::Protocol { found: header[9] });
        }
        let start = usize::from(header[0] & 0x0f) * 4;
        let end = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if start < IPV4_HEADER_BYTES {
            return Err(DecodeError::Length { expected: IPV4_HEADER_BYTES, found: start });
        }
        let payload = packet.get(start..end).ok_or(DecodeError::Length { expected: end, found: packet.len() })?;
        Ok(Datagram {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            ttl: header[8],
            payload,
        })
    }
}

/// Reads an advertisement as strictly as RFC 9568 §7.1 asks. Whether it is meant for *this* router is
/// [`crate::RouterConfig::check`].
pub fn decode(datagram: &Datagram<'_>) -> Result<Advertisement, DecodeError> {
    let payload = datagram.payload;
    if datagram.ttl != TTL {
        return Err(DecodeError::Ttl { found: datagram.ttl });
    }
    let family = Family::of(datagram.source);
    if family != Family::of(datagram.destination) {
        return Err(DecodeError::Families);
    }
    let Some((header, rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DecodeError::Length { expected: HEADER_BYTES, found: payload.len() });
    };
    let &[version_and_type, vrid, priority, count, byte4, byte5, ..] = header;
    let version = match (version_and_type >> 4, family) {
        (2, Family::V4) => Version::V2,
        (3, _) => Version::V3,
        (found, _) => return Err(DecodeError::Version { found, family }),
    };
    if version_and_type & 0x0f != TYPE_ADVERTISEMENT {
        return Err(DecodeError::Type { found: version_and_type & 0x0f });
    }
    if vrid == 0 {
        return Err(DecodeError::Vrid);
    }
    if count == 0 {
        return Err(DecodeError::Count);
    }
    let addresses_bytes = usize::from(count) * family.address_bytes();
    let expected = HEADER_BYTES + addresses_bytes + if version == Version::V2 { AUTH_BYTES } else { 0 };
    if payload.len() != expected {
        return Err(DecodeError::Length { expected, found: payload.len() });
    }
    if !checksum::verify(version, datagram) {
        return Err(DecodeError::Checksum { found: u16::from_be_bytes([header[6], header[7]]) });
    }
    let (addresses, trailer) = rest.split_at(addresses_bytes);
    let (units, auth) = match version {
        Version::V2 => (u16::from(byte5), auth_data(byte4, trailer)?),
        Version::V3 => (u16::from_be_bytes([byte4 & 0x0f, byte5]), None),
    };
    if units == 0 {
        return Err(DecodeError::Interval);
    }
    Ok(Advertisement {
        version,
        vrid,
        priority,
        interval: version.interval_unit() * u32::from(units),
        addresses: addresses.chunks_exact(family.address_bytes()).filter_map(address).collect(),
        auth,
    })
}

/// The bytes of an advertisement that goes from `source` to `destination`, both of which some checksums cover.
pub fn encode(
    advertisement: &Advertisement,
    source: IpAddr,
    destination: IpAddr,
    checksum: Checksum,
) -> Result<Vec<u8>, EncodeError> {
    let Advertisement { version, vrid, priority, interval, ref addresses, auth } = *advertisement;
    let family = Family::of(source);
    if vrid == 0 {
        return Err(EncodeError::Vrid);
    }
    if version == Version::V2 && family == Family::V6 {
        return Err(EncodeError::Version);
    }
    if version == Version::V3 && auth.is_some() {
        return Err(EncodeError::Auth);
    }
    if addresses.iter().chain([&destination]).any(|&address| Family::of(address) != family) {
        return Err(EncodeError::Families);
    }
    let count = u8::try_from(addresses.len()).ok().filter(|&count| count > 0);
    let count = count.ok_or(EncodeError::Count { found: addresses.len() })?;
    let [high, low] = interval_units(version, interval)?.to_be_bytes();

    let byte4 = match (version, auth) {
        (Version::V3, _) => high,
        (Version::V2, Some(_)) => AUTH_SIMPLE_TEXT,
        (Version::V2, None) => AUTH_NONE,
    };
    let mut bytes = vec![version.number() << 4 | TYPE_ADVERTISEMENT, vrid, priority, count, byte4, low, 0, 0];
    for address in addresses {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    if version == Version::V2 {
        bytes.extend(auth.unwrap_or_default().0);
    }
    let sum = checksum::compute(version, checksum, source, destination, &bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

/// An interval in the units of the version; an interval that it cannot say exactly is refused.
pub(crate) fn interval_units(version: Version, interval: Duration) -> Result<u16, EncodeError> {
    let (shortest, longest) = version.interval_range();
    let unit = version.interval_unit();
    let whole = interval.as_nanos().is_multiple_of(unit.as_nanos());
    if interval < shortest || interval > longest || !whole {
        return Err(EncodeError::Interval { found: interval, version });
    }
    u16::try_from(interval.as_nanos() / unit.as_nanos()).map_err(|_| EncodeError::Interval { found: interval, version })
}

fn auth_data(auth_type: u8, trailer: &[u8]) -> Result<Option<Password>, DecodeError> {
    match auth_type {
        AUTH_NONE => Ok(None),
        AUTH_SIMPLE_TEXT => Ok(trailer.first_chunk().copied().map(Password)),
        found => Err(DecodeError::AuthType { found }),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}
