//! `Host` and the authority of a target: a name or address, and a port (RFC 3986 §3.2).

use std::net::Ipv6Addr;

/// RFC 3986's unreserved characters and sub-delims, without `,`, by which some recipients join two lines to one. Not `%`
/// either: what is decoded by some and not by others is two names.
static NAME_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=');
        byte += 1;
    }
    allowed
};

const PORT_DIGITS_MAX: usize = 5;

/// Whether a text names a host: not empty, no userinfo, and nothing that can be read in two ways.
pub(crate) fn is_authority(text: &str) -> bool {
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let name_end = text.bytes().position(|byte| !NAME_BYTES[usize::from(byte)]).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    !name.is_empty() && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// RFC 3986 allows an empty port.
fn is_port(text: &str) -> bool {
    text.len() <= PORT_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The port that an authority names.
pub(crate) fn port(authority: &str) -> Option<&str> {
    let before = authority.bytes().rposition(|byte| !byte.is_ascii_digit())?;
    let (rest, port) = authority.split_at(before + 1);
    (rest.ends_with(':') && !port.is_empty()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_hosts_with_a_port_or_without() {
        for good in
            ["a", "A.example", "a_b-c.example:80", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:8080", "a:", "x'y"]
        {
            assert!(is_authority(good), "{good}");
        }
        let bad = [
            "",
            ":80",
            "a b",
            "u@a",
            "a:80:80",
            "a:8x",
            "a:123456",
            "a/",
            "a?b",
            "a#",
            "a\\b",
            "a,b",
            "a%41",
            "[::1",
            "[::1]x",
            "[::1]]",
            "[a]",
            "[]",
            "::1",
            "a\t",
            "é",
            "a\"",
            "<a>",
            "a[1]",
            "[fe80::1%25eth0]",
            "{a}",
            "a|b",
            "a^b",
        ];
        for bad in bad {
            assert!(!is_authority(bad), "{bad}");
        }
    }

    #[test]
    fn ports_are_found_behind_addresses_too() {
        assert_eq!(port("a:81"), Some("81"));
        assert_eq!(port("a"), None);
        assert_eq!(port("a:"), None);
        assert_eq!(port("127.0.0.1"), None);
        assert_eq!(port("80"), None);
        assert_eq!(port(""), None);
        assert_eq!(port("[::1]"), None);
        assert_eq!(port("[::1]:82"), Some("82"));
    }
}
