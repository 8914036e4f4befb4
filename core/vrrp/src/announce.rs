//! Telling the neighbours where an address lives now: whole Ethernet frames, for a packet socket.
//!
//! Both frames are what keepalived sends (recorded): a gratuitous ARP is a broadcast *request* for one's own address, an
//! unsolicited Neighbor Advertisement comes from the address itself, with the override flag.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::checksum::{fold, sum};

pub type Mac = [u8; 6];

pub const ARP_FRAME_BYTES: usize = 42;
pub const NEIGHBOR_ADVERTISEMENT_FRAME_BYTES: usize = 86;

const BROADCAST: Mac = [0xff; 6];
/// The Ethernet group of ff02::1 (RFC 2464 §7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
/// Neighbor Advertisement and its target link-layer address option (RFC 4861 §4.4, §4.6.1): 24 bytes and 8.
const ICMPV6_BYTES: u16 = 32;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;

/// A gratuitous ARP request (RFC 5227 §3): sender and target are the address, the sender's hardware address is `mac`.
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    let mut frame = Frame::<ARP_FRAME_BYTES>::new();
    frame.put(&BROADCAST).put(&mac).put(&[0x08, 0x06]);
    // Ethernet (1), IPv4 (0x0800), 6 and 4 bytes of address, request (1).
    frame.put(&[0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.put(&mac).put(&address.octets()).put(&BROADCAST).put(&address.octets());
    frame.bytes
}

/// An unsolicited Neighbor Advertisement (RFC 4861 §7.2.6) to all nodes. `router`: this node forwards packets.
pub fn neighbor_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> [u8; NEIGHBOR_ADVERTISEMENT_FRAME_BYTES] {
    let source = address.octets();
    let flags = FLAG_OVERRIDE | if router { FLAG_ROUTER } else { 0 };
    let mut message = Frame::<{ ICMPV6_BYTES as usize }>::new();
    message.put(&[136, 0, 0, 0, flags, 0, 0, 0]).put(&source);
    // Option 2, target link-layer address, one unit of 8 bytes.
    message.put(&[2, 1]).put(&mac);
    let pseudo_header = sum(&source) + sum(&ALL_NODES.octets()) + u64::from(ICMPV6_BYTES) + u64::from(ICMPV6);
    let checksum = !fold(pseudo_header + sum(&message.bytes));
    message.bytes[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Frame::<NEIGHBOR_ADVERTISEMENT_FRAME_BYTES>::new();
    frame.put(&ALL_NODES_MAC).put(&mac).put(&[0x86, 0xdd]);
    // IPv6, no traffic class, no flow label; hop limit 255 or it is ignored (RFC 4861 §7.1.2).
    frame.put(&[0x60, 0, 0, 0]).put(&ICMPV6_BYTES.to_be_bytes()).put(&[ICMPV6, 255]);
    frame.put(&source).put(&ALL_NODES.octets()).put(&message.bytes);
    frame.bytes
}

/// Bytes filled from the front.
struct Frame<const BYTES: usize> {
    bytes: [u8; BYTES],
    filled: usize,
}

impl<const BYTES: usize> Frame<BYTES> {
    fn new() -> Self {
        Frame { bytes: [0; BYTES], filled: 0 }
    }

    fn put(&mut self, part: &[u8]) -> &mut Self {
        self.bytes[self.filled..self.filled + part.len()].copy_from_slice(part);
        self.filled += part.len();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sender in the recordings of keepalived 2.2.7.
    const MAC: Mac = [0x4e, 0xbc, 0x52, 0x72, 0x91, 0x73];

    /// Recorded: `ARP op 1 eth 4e:bc:52:72:91:73>ff:ff:ff:ff:ff:ff sha 4e:bc:52:72:91:73 spa 10.99.0.100
    /// tha ff:ff:ff:ff:ff:ff tpa 10.99.0.100`.
    #[test]
    fn gratuitous_arp_is_keepalived_s() {
        #[rustfmt::skip]
        let recorded = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x4e, 0xbc, 0x52, 0x72, 0x91, 0x73, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x4e, 0xbc, 0x52, 0x72, 0x91, 0x73, 10, 99, 0, 100,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 99, 0, 100,
        ];
        assert_eq!(gratuitous_arp(MAC, Ipv4Addr::new(10, 99, 0, 100)), recorded);
    }

    /// Recorded: `NA fd99::100>ff02::1 flags 20 tgt fd99::100`.
    #[test]
    fn neighbor_advertisement_is_keepalived_s() {
        let address: Ipv6Addr = "fd99::100".parse().expect("an address");
        let frame = neighbor_advertisement(MAC, address, false);
        let (ethernet, packet) = frame.split_at(14);
        assert_eq!(ethernet, [0x33, 0x33, 0, 0, 0, 1, 0x4e, 0xbc, 0x52, 0x72, 0x91, 0x73, 0x86, 0xdd]);
        let (header, message) = packet.split_at(40);
        assert_eq!(header[..8], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(header[8..24], address.octets());
        assert_eq!(header[24..40], ALL_NODES.octets());
        assert_eq!(message[..2], [136, 0], "type and code");
        assert_eq!(message[4..8], [0x20, 0, 0, 0], "override, neither router nor solicited");
        assert_eq!(message[8..24], address.octets(), "target");
        assert_eq!(message[24..32], [2, 1, 0x4e, 0xbc, 0x52, 0x72, 0x91, 0x73], "target link-layer address");
        // A receiver sums the pseudo-header and the whole message, the checksum included.
        let received = sum(&header[8..40]) + 32 + 58 + sum(message);
        assert_eq!(fold(received), 0xffff);
    }

    #[test]
    fn a_router_says_so_in_its_neighbor_advertisement() {
        let frame = neighbor_advertisement(MAC, Ipv6Addr::LOCALHOST, true);
        assert_eq!(frame[14 + 40 + 4], FLAG_ROUTER | FLAG_OVERRIDE);
    }
}
