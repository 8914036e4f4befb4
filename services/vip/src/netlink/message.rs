//! The handful of rtnetlink messages spoken here, byte for byte (linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h,
//! linux/if_link.h).
//!
//! ```text
//! nlmsghdr   length u32 · type u16 · flags u16 · sequence u32 · port u32        native byte order
//! ifaddrmsg  family u8 · prefix u8 · flags u8 · scope u8 · interface u32
//! if_stats   family u8 · 0 u8 · 0 u16 · interface u32 · mask u32
//! attribute  length u16 · type u16 · value, padded to 4
//! ```

use nix::libc;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const HEADER_BYTES: usize = 16;
const IFADDRMSG_BYTES: usize = 8;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const IF_STATS_BYTES: usize = 12;

/// An interface's counters: since Linux 4.7, and not in the libc crate.
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
/// `struct rtnl_link_stats64`, which begins with the packets received.
const IFLA_STATS_LINK_64: u16 = 1;
const STATS_LINK_64_MASK: u32 = 1 << (IFLA_STATS_LINK_64 - 1);

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub interface: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

/// How an address is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The kernel drops it after this; whole seconds.
    pub lifetime: Duration,
    /// IPv6: the kernel adds a route to the prefix, too, which outlives the address by its lifetime. (IPv4's routes come
    /// and go with the address.)
    pub route: bool,
}

/// Adds an address; fails with EEXIST when it is there.
pub(super) fn add(placed: Placed, terms: Terms, sequence: u32) -> Vec<u8> {
    new_address(placed, terms, EXCLUSIVE, sequence)
}

/// Gives an address another lifetime, adding it when it is not there.
pub(super) fn refresh(placed: Placed, terms: Terms, sequence: u32) -> Vec<u8> {
    new_address(placed, terms, REPLACE, sequence)
}

fn new_address(placed: Placed, terms: Terms, mode: u16, sequence: u32) -> Vec<u8> {
    let seconds = u32::try_from(terms.lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
    let v6 = placed.address.is_ipv6();
    // IPv6: no duplicate detection (the fence and VRRP decide who holds it), and deprecated from the start, so that
    // nothing of this node picks the floating address as its own source.
    let (mut flags, preferred) = if v6 { (libc::IFA_F_NODAD, 0) } else { (0, seconds) };
    if v6 && !terms.route {
        flags |= libc::IFA_F_NOPREFIXROUTE;
    }
    let mut message = begin(libc::RTM_NEWADDR, REQUEST | ACK | CREATE | mode, sequence);
    ifaddrmsg(&mut message, placed);
    attribute(&mut message, libc::IFA_FLAGS, &flags.to_ne_bytes());
    let cache = [preferred, seconds, 0, 0].map(u32::to_ne_bytes).concat();
    attribute(&mut message, libc::IFA_CACHEINFO, &cache);
    finish(message)
}

pub(super) fn remove(placed: Placed, sequence: u32) -> Vec<u8> {
    let mut message = begin(libc::RTM_DELADDR, REQUEST | ACK, sequence);
    ifaddrmsg(&mut message, placed);
    finish(message)
}

/// Asks for every address of a family.
pub(super) fn dump(v6: bool, sequence: u32) -> Vec<u8> {
    let mut message = begin(libc::RTM_GETADDR, REQUEST | DUMP, sequence);
    message.extend([family(v6), 0, 0, 0, 0, 0, 0, 0]);
    finish(message)
}

/// Asks for an interface's counters.
pub(super) fn count(interface: u32, sequence: u32) -> Vec<u8> {
    let mut message = begin(RTM_GETSTATS, REQUEST, sequence);
    message.extend([0; 4]);
    message.extend(interface.to_ne_bytes());
    message.extend(STATS_LINK_64_MASK.to_ne_bytes());
    finish(message)
}

fn begin(kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message
}

fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

fn family(v6: bool) -> u8 {
    (if v6 { libc::AF_INET6 } else { libc::AF_INET }) as u8
}

fn ifaddrmsg(message: &mut Vec<u8>, placed: Placed) {
    message.extend([family(placed.address.is_ipv6()), placed.prefix, 0, libc::RT_SCOPE_UNIVERSE]);
    message.extend(placed.interface.to_ne_bytes());
    let octets = octets(placed.address);
    attribute(message, libc::IFA_LOCAL, &octets);
    attribute(message, libc::IFA_ADDRESS, &octets);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(((ATTRIBUTE_HEADER_BYTES + value.len()) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Address {
        placed: Placed,
        /// It has no lifetime: whoever added it did not mean it to go by itself.
        permanent: bool,
    },
    AddressGone(Placed),
    /// Something about an interface changed.
    LinkChanged,
    /// The packets that the interface asked about has received.
    Received {
        sequence: u32,
        packets: u64,
    },
    /// The answer to a request: 0, or an errno.
    Answer {
        sequence: u32,
        errno: i32,
    },
    /// The end of a dump.
    Done {
        sequence: u32,
    },
}

/// Everything in one datagram that means something here; what is cut short ends the reading.
pub(crate) fn parse(mut datagram: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    while let Some((kind, sequence, body, rest)) = split_message(datagram) {
        said.extend(parse_one(kind, sequence, body));
        datagram = rest;
    }
    said
}

fn split_message(datagram: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let header = datagram.get(..HEADER_BYTES)?;
    let length = u32_at(header, 0)? as usize;
    let kind = u16::from_ne_bytes(header[4..6].try_into().ok()?);
    let body = datagram.get(HEADER_BYTES..length)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, u32_at(header, 8)?, body, rest))
}

fn parse_one(kind: u16, sequence: u32, body: &[u8]) -> Option<Said> {
    match kind {
        libc::RTM_NEWADDR => {
            let (placed, flags) = parse_address(body)?;
            Some(Said::Address { placed, permanent: flags & libc::IFA_F_PERMANENT != 0 })
        }
        libc::RTM_DELADDR => parse_address(body).map(|(placed, _)| Said::AddressGone(placed)),
        libc::RTM_NEWLINK | libc::RTM_DELLINK => Some(Said::LinkChanged),
        RTM_NEWSTATS => Some(Said::Received { sequence, packets: parse_received(body)? }),
        kind if kind == libc::NLMSG_ERROR as u16 => {
            let errno = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?).saturating_neg();
            Some(Said::Answer { sequence, errno })
        }
        kind if kind == libc::NLMSG_DONE as u16 => Some(Said::Done { sequence }),
        _ => None,
    }
}

fn parse_address(body: &[u8]) -> Option<(Placed, u32)> {
    let head = body.get(..IFADDRMSG_BYTES)?;
    let (mut flags, interface) = (u32::from(head[2]), u32_at(head, 4)?);
    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes(&body[IFADDRMSG_BYTES..]) {
        match kind {
            libc::IFA_LOCAL => local = read_address(value),
            libc::IFA_ADDRESS => address = read_address(value),
            libc::IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some((Placed { interface, address: local.or(address)?, prefix: head[1] }, flags))
}

fn parse_received(body: &[u8]) -> Option<u64> {
    let (_, counters) = attributes(body.get(IF_STATS_BYTES..)?).find(|(kind, _)| *kind == IFLA_STATS_LINK_64)?;
    Some(u64::from_ne_bytes(counters.get(..8)?.try_into().ok()?))
}

/// Their types and values, until the first that is cut short.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = rest.get(..ATTRIBUTE_HEADER_BYTES)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]), value))
    })
}

fn read_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms { lifetime: Duration::from_secs(2), route: false };

    fn placed(address: &str, prefix: u8) -> Placed {
        Placed { interface: 7, address: address.parse().unwrap(), prefix }
    }

    #[test]
    fn what_is_asked_for_reads_back_as_what_is_said() {
        for placed in [placed("10.0.0.100", 24), placed("fd00::100", 64)] {
            let message = add(placed, TERMS, 9);
            assert_eq!(parse(&message), [Said::Address { placed, permanent: false }]);
            assert_eq!(parse(&remove(placed, 10)), [Said::AddressGone(placed)]);
        }
    }

    #[test]
    fn a_lifetime_is_whole_seconds_and_never_for_ever() {
        let message = refresh(placed("10.0.0.100", 24), Terms { lifetime: Duration::from_millis(100), ..TERMS }, 1);
        let valid = message.len() - 12;
        assert_eq!(u32_at(&message, valid), Some(1));
    }

    #[test]
    fn an_error_is_an_answer_with_its_errno() {
        let mut message = begin(libc::NLMSG_ERROR as u16, 0, 3);
        message.extend((-libc::EEXIST).to_ne_bytes());
        assert_eq!(parse(&finish(message)), [Said::Answer { sequence: 3, errno: libc::EEXIST }]);
    }

    #[test]
    fn the_counter_of_an_interface_is_read() {
        let mut message = begin(RTM_NEWSTATS, 0, 3);
        message.extend([0; IF_STATS_BYTES]);
        attribute(&mut message, IFLA_STATS_LINK_64, &[7_u64, 8, 9].map(u64::to_ne_bytes).concat());
        assert_eq!(parse(&finish(message)), [Said::Received { sequence: 3, packets: 7 }]);
        // The kernel's own word: the loopback interface is always there, and may have received nothing yet.
        let mut netlink = super::super::Netlink::open().unwrap();
        let loopback = crate::link::find("lo").unwrap().expect("every namespace has one").index;
        let before = netlink.received(loopback).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"?", socket.local_addr().unwrap()).unwrap();
        assert!(netlink.received(loopback).unwrap() > before);
        assert!(netlink.received(u32::MAX >> 1).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_damaged_message_is_no_panic(at in 0_usize..60, value: u8) {
            let mut message = add(placed("10.0.0.100", 24), TERMS, 9);
            let at = at % message.len();
            message[at] = value;
            let _ = parse(&message);
        }
    }
}
