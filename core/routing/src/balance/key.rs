//! Hashes that are the same on every machine and in every release: keys and cookies outlive both.

/// FNV-1a, 64 bits, mixed.
pub(super) fn of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Every bit of the result depends on every bit of the number (SplitMix64's finalizer).
pub(super) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The value of a cookie among all that a request has (RFC 6265 §4.2.1).
pub(super) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(of(b""), mixed(0xcbf2_9ce4_8422_2325));
        assert_eq!(of(b"a"), mixed(0xaf63_dc4c_8601_ec8c));
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        assert_eq!(cookie("a=1; b=2;c=\"3\"", "b"), Some("2"));
        assert_eq!(cookie("a=1; b=2;c=\"3\"", "c"), Some("3"));
        assert_eq!(cookie("a=1; ab=2", "b"), None);
        assert_eq!(cookie("a=x=y", "a"), Some("x=y"));
        assert_eq!(cookie("", "a"), None);
    }
}
