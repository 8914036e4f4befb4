//! Blocks of IP addresses in CIDR notation (RFC 4632).

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let first: IpAddr = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
        let bits_max = if first.is_ipv4() { u32::BITS } else { u128::BITS };
        let prefix_bits = match length {
            None => bits_max,
            Some(length) => length
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max && !length.starts_with('+'))
                .ok_or_else(|| format!("{length:?} is no prefix length: it is 0 to {bits_max}"))?,
        };
        let network = Self { first, prefix_bits };
        let aligned = network.aligned(first);
        if aligned != first {
            return Err(format!("{text} has bits set after its prefix: write {aligned}/{prefix_bits}"));
        }
        Ok(network)
    }

    /// An IPv4 client counts as one also where IPv6 sockets show it as `::ffff:…`.
    pub fn contains(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_ipv4() == self.first.is_ipv4() && self.aligned(client) == self.first
    }

    /// How many bits of an address are left open; fewer is more specific.
    pub fn open_bits(&self) -> u32 {
        if self.first.is_ipv4() { u32::BITS - self.prefix_bits } else { u128::BITS - self.prefix_bits }
    }

    /// The first address of the block of this size that `address` is in.
    fn aligned(&self, address: IpAddr) -> IpAddr {
        let open_bits = self.open_bits();
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(open_bits).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(open_bits).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_contains_its_addresses() {
        for (network, client, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.4", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "10.0.0.1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ] {
            let found = Network::parse(network).unwrap().contains(client.parse().unwrap());
            assert_eq!(found, expected, "{client} in {network}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused_with_what_to_write() {
        for (text, part) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.0/", "no prefix length"),
            ("10.0.0.0/+8", "no prefix length"),
            ("10.0.0", "no IP address"),
            ("localhost", "no IP address"),
            ("", "no IP address"),
        ] {
            let error = Network::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
