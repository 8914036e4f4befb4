//! Addresses with a prefix: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::{IpAddr, Ipv6Addr};

/// In IPv6's space, where IPv4 is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
}

impl Network {
    /// Bits after the prefix are ignored, as most tools do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network (as in 10.0.0.0/8)");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if prefix > width {
            return Err(wrong());
        }
        let mask = u128::MAX.checked_shl(128 - (offset + prefix)).unwrap_or(0);
        Ok(Self { bits: bits(address) & mask, mask })
    }

    pub fn contains(self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_whole_of_a_family() {
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()) && !all.contains("2001:db8::1".parse().unwrap()));
        assert!(Network::parse("::/0").unwrap().contains("192.0.2.1".parse().unwrap()));
        for wrong in ["", "/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/33", "::/129", "10.0.0", "a/8"] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn contains_what_shares_the_prefix(address: u32, other: u32, prefix in 0u32..=32) {
            let network = Network::parse(&format!("{}/{prefix}", std::net::Ipv4Addr::from(address))).unwrap();
            let shares = prefix == 0 || (address ^ other) >> (32 - prefix) == 0;
            prop_assert_eq!(network.contains(std::net::Ipv4Addr::from(other).into()), shares);
        }

        #[test]
        fn any_text_is_safe(text in ".{0,40}") {
            let _either = Network::parse(&text);
        }
    }
}
