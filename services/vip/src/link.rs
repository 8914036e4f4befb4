//! The interface a virtual router speaks on, as the kernel describes it now.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vrrp::Family;

/// One interface: its hardware address and what is configured on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub name: String,
    pub index: u32,
    pub mac: [u8; 6],
    /// Names the interface to a packet socket.
    pub link_address: LinkAddr,
    /// Configured up, and with a carrier.
    pub running: bool,
    pub addresses: Vec<IpAddr>,
}

/// Reads an interface; `None` when there is none of that name with a hardware address.
pub(crate) fn find(name: &str) -> io::Result<Option<Link>> {
    let (mut hardware, mut addresses, mut running) = (None, Vec::new(), false);
    for entry in getifaddrs()?.filter(|entry| entry.interface_name == name) {
        running = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let Some(address) = entry.address else { continue };
        if let Some(link_address) = address.as_link_addr() {
            hardware = Some(*link_address);
        } else if let Some(address) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(address.ip()));
        } else if let Some(address) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(address.ip()));
        }
    }
    Ok(hardware.map(|link_address| Link {
        name: name.to_owned(),
        index: u32::try_from(link_address.ifindex()).unwrap_or_default(),
        mac: link_address.addr().unwrap_or_default(),
        link_address,
        running,
        addresses,
    }))
}

/// The name of the interface that has this address: where a node's floating addresses belong, too.
pub fn interface_of(address: IpAddr) -> io::Result<Option<String>> {
    let has_it = |entry: &nix::ifaddrs::InterfaceAddress| {
        entry.address.is_some_and(|found| {
            let v4 = found.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
            v4.or(found.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip()))) == Some(address)
        })
    };
    Ok(getifaddrs()?.find(has_it).map(|entry| entry.interface_name))
}

impl Link {
    /// The address to speak from.
    pub fn primary(&self, family: Family, floating: &[IpAddr]) -> Option<IpAddr> {
        match family {
            Family::V4 => self.primary_v4(floating).map(IpAddr::V4),
            Family::V6 => self.primary_v6(floating).map(IpAddr::V6),
        }
    }

    /// Whether an address on this interface has these first bits, so that they are reached without another route. An
    /// address alone (all of its bits) needs none.
    pub fn is_within(&self, address: IpAddr, prefix: u8) -> bool {
        let own = self.addresses.iter().filter(|own| **own != address);
        let (bits, width) = bits(address);
        let shift = u32::from(width.saturating_sub(prefix));
        let network = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
        prefix >= width
            || own
                .filter(|own| own.is_ipv4() == address.is_ipv4())
                .any(|own| network(self::bits(*own).0) == network(bits))
    }

    /// The IPv4 address to speak from: the interface's first that is not one of the floating ones.
    fn primary_v4(&self, floating: &[IpAddr]) -> Option<Ipv4Addr> {
        self.addresses.iter().filter(|address| !floating.contains(address)).find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }

    /// The IPv6 address to speak from: link-local (RFC 9568 §5.1.2.1), and not one of the floating ones.
    fn primary_v6(&self, floating: &[IpAddr]) -> Option<Ipv6Addr> {
        self.addresses.iter().filter(|address| !floating.contains(address)).find_map(|address| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
            _ => None,
        })
    }
}

/// An address as a number, and its width.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_nonsense_is_not() {
        let link = find("lo").unwrap().expect("every namespace has one");
        assert!(link.index > 0);
        assert_eq!(find("no-such-link").unwrap(), None);
        assert_eq!(interface_of(IpAddr::from([127, 0, 0, 1])).unwrap().as_deref(), Some("lo"));
    }

    #[test]
    fn a_floating_address_is_never_spoken_from() {
        let mut link = find("lo").unwrap().expect("every namespace has one");
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        let floating: IpAddr = "10.0.0.100".parse().unwrap();
        let [local, global]: [IpAddr; 2] = ["fe80::1".parse().unwrap(), "fd00::1".parse().unwrap()];
        link.addresses = vec![floating, own, global, local];
        assert_eq!(link.primary_v4(&[floating]).map(IpAddr::V4), Some(own));
        assert_eq!(link.primary_v6(&[]).map(IpAddr::V6), Some(local));
        assert_eq!(link.primary_v6(&[local]), None);
    }

    #[test]
    fn a_prefix_of_the_nodes_own_needs_no_route() {
        let mut link = find("lo").unwrap().expect("every namespace has one");
        link.addresses = vec!["fd00::1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        let within = |address: &str, prefix| link.is_within(address.parse().unwrap(), prefix);
        assert!(within("fd00::100", 64) && within("10.0.0.100", 24) && within("fd99::1", 128));
        assert!(!within("fd99::100", 64) && !within("10.0.1.100", 24) && !within("192.168.0.1", 24));
        assert!(within("192.168.0.1", 0));
    }
}
