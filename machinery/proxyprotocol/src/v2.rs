//! Version 2: 16 bytes (signature, version and command, family and protocol, length), addresses, extensions.

use crate::extension::{self, Extension};
use crate::{Bad, Ends, Header, Origin, Parsed, UnixPath, Version};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes after the first 16. The protocol could announce 64 KiB; what proxies send, a client's certificate included, fits
/// into this.
pub const V2_LENGTH_MAX: usize = 16 * 1024;

const FIXED_BYTES: usize = 16;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const V4_BYTES: usize = 4;
const V6_BYTES: usize = 16;
const UNIX_BYTES: usize = size_of::<UnixPath>();

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Bad> {
    if let Some(byte) = bytes.get(12) {
        if byte >> 4 != 2 {
            return Err(Bad::UnknownVersion(byte >> 4));
        }
        if !matches!(byte & 0xf, LOCAL | PROXY) {
            return Err(Bad::Command(byte & 0xf));
        }
    }
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Ok(Parsed::Partial) };
    let (command, family) = (fixed[12] & 0xf, fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > V2_LENGTH_MAX {
        return Err(Bad::TooLong { bytes: length });
    }
    let Some(whole) = bytes.get(..FIXED_BYTES + length) else { return Ok(Parsed::Partial) };
    let block = &whole[FIXED_BYTES..];
    let (origin, extensions) = match command {
        // Family, addresses and extensions are to be discarded.
        LOCAL => (Origin::Local, Vec::new()),
        _ => {
            let (origin, rest) = origin(family, block)?;
            (origin, extension::read(rest, whole)?)
        }
    };
    Ok(Parsed::Complete(Header { version: Version::V2, origin, extensions }, whole.len()))
}

/// And what is behind the addresses.
fn origin(family: u8, block: &[u8]) -> Result<(Origin, &[u8]), Bad> {
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(Bad::Family(family));
    }
    let is_stream = family & 0xf == 1;
    let socket = if is_stream { Origin::Tcp } else { Origin::Udp };
    match (family >> 4, family & 0xf) {
        (0, _) | (_, 0) => Ok((Origin::Unknown, &[])),
        (1, _) => {
            let ([source, destination, ports], rest) = cut(block, [V4_BYTES, V4_BYTES, 4])?;
            let address = |bytes: &[u8]| IpAddr::V4(Ipv4Addr::from(array::<V4_BYTES>(bytes)));
            Ok((socket(ends(address(source), address(destination), ports)), rest))
        }
        (2, _) => {
            let ([source, destination, ports], rest) = cut(block, [V6_BYTES, V6_BYTES, 4])?;
            let address = |bytes: &[u8]| IpAddr::V6(Ipv6Addr::from(array::<V6_BYTES>(bytes)));
            Ok((socket(ends(address(source), address(destination), ports)), rest))
        }
        _ => {
            let ([source, destination, _], rest) = cut(block, [UNIX_BYTES, UNIX_BYTES, 0])?;
            let ends = Box::new(Ends { source: array(source), destination: array(destination) });
            Ok((if is_stream { Origin::UnixStream(ends) } else { Origin::UnixDatagram(ends) }, rest))
        }
    }
}

fn cut(block: &[u8], lengths: [usize; 3]) -> Result<([&[u8]; 3], &[u8]), Bad> {
    let needed: usize = lengths.iter().sum();
    if block.len() < needed {
        return Err(Bad::TooShort { bytes: block.len(), needed });
    }
    let (first, rest) = block.split_at(lengths[0]);
    let (second, rest) = rest.split_at(lengths[1]);
    let (third, rest) = rest.split_at(lengths[2]);
    Ok(([first, second, third], rest))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("it was cut to this length")
}

fn ends(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Ends<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Ends { source: SocketAddr::new(source, port(0)), destination: SocketAddr::new(destination, port(2)) }
}

pub(crate) fn write(origin: &Origin, extensions: &[Extension], with_checksum: bool, to: &mut Vec<u8>) {
    let from = to.len();
    to.extend_from_slice(SIGNATURE);
    let command = if *origin == Origin::Local { LOCAL } else { PROXY };
    to.extend_from_slice(&[0x20 | command, family(origin), 0, 0]);
    match origin {
        Origin::Tcp(ends) | Origin::Udp(ends) => write_addresses(ends, to),
        Origin::UnixStream(ends) | Origin::UnixDatagram(ends) => {
            to.extend_from_slice(&ends.source);
            to.extend_from_slice(&ends.destination);
        }
        Origin::Local | Origin::Unknown => {}
    }
    // What nobody would read is not written.
    let has_block = family(origin) != 0;
    let room_max = from + FIXED_BYTES + V2_LENGTH_MAX - extension::CHECKSUM_BYTES;
    for extension in extensions.iter().filter(|_| has_block) {
        let before = to.len();
        if !extension.write(to) || to.len() > room_max {
            to.truncate(before);
            break;
        }
    }
    let checksum_at = (with_checksum && has_block).then(|| extension::reserve_checksum(to));
    let length = u16::try_from(to.len() - from - FIXED_BYTES).expect("it is at most V2_LENGTH_MAX");
    to[from + 14..from + 16].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = checksum_at {
        let checksum = crc32c::crc32c(&to[from..]);
        to[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn family(origin: &Origin) -> u8 {
    let socket = |ends: &Ends<SocketAddr>| if is_v4(ends) { 0x10 } else { 0x20 };
    match origin {
        Origin::Local | Origin::Unknown => 0,
        Origin::Tcp(ends) => socket(ends) | 0x1,
        Origin::Udp(ends) => socket(ends) | 0x2,
        Origin::UnixStream(_) => 0x31,
        Origin::UnixDatagram(_) => 0x32,
    }
}

/// Two families are written as the larger one.
fn is_v4(ends: &Ends<SocketAddr>) -> bool {
    ends.source.is_ipv4() && ends.destination.is_ipv4()
}

fn write_addresses(ends: &Ends<SocketAddr>, to: &mut Vec<u8>) {
    let is_v4 = is_v4(ends);
    for end in [ends.source, ends.destination] {
        match end.ip() {
            IpAddr::V4(address) if is_v4 => to.extend_from_slice(&address.octets()),
            IpAddr::V4(address) => to.extend_from_slice(&address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => to.extend_from_slice(&address.octets()),
        }
    }
    for end in [ends.source, ends.destination] {
        to.extend_from_slice(&end.port().to_be_bytes());
    }
}

const _: () = assert!(V2_LENGTH_MAX <= u16::MAX as usize);
