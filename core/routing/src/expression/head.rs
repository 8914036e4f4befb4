//! What a request shows to a route.

use std::net::IpAddr;

/// Bytes a host name may have: the most DNS allows (RFC 1035 §2.3.4). A longer one is matched as the empty host.
pub const HOST_BYTES_MAX: usize = 255;

/// What a request shows to a route. All of it is borrowed; looking a route up allocates nothing.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a str,
    /// As it came (`Name.Example:8181`); routes see it lower-cased and without its port.
    pub host: &'a str,
    /// Raw: percent-encoded as it came, without query.
    pub path: &'a str,
    /// What follows the first `?`, raw.
    pub query: Option<&'a str>,
    pub headers: &'a dyn Headers,
    /// Who asks: the peer, or whom a trusted proxy in front names.
    pub client: IpAddr,
}

/// Looks up request headers.
pub trait Headers {
    /// The first value of a header, when it is UTF-8. `name` is lower-case.
    fn first(&self, name: &str) -> Option<&str>;
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

impl<'a> RequestHead<'a> {
    /// The first value of a query parameter, raw; empty when the parameter has no `=`.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        let parameters = self.query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        parameters.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The host, lower-cased and without port; an IPv6 literal keeps its brackets.
    pub(crate) fn host_name<'b>(&self, buffer: &'b mut HostBuffer) -> &'b str
    where
        'a: 'b,
    {
        let host = self.host;
        let bracket = if host.starts_with('[') { host.find(']').map_or(0, |end| end + 1) } else { 0 };
        let end = host[bracket..].find(':').map_or(host.len(), |colon| bracket + colon);
        let name = &host[..end];
        if name.len() > HOST_BYTES_MAX {
            return "";
        }
        if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return name;
        }
        let lowered = &mut buffer.0[..name.len()];
        lowered.copy_from_slice(name.as_bytes());
        lowered.make_ascii_lowercase();
        // Lowering ASCII letters leaves UTF-8 what it was.
        std::str::from_utf8(lowered).unwrap_or_default()
    }
}

/// Room for a host name that has to be lower-cased.
pub(crate) struct HostBuffer([u8; HOST_BYTES_MAX]);

impl HostBuffer {
    pub fn new() -> Self {
        Self([0; HOST_BYTES_MAX])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn head(host: &str) -> RequestHead<'_> {
        let client = Ipv4Addr::LOCALHOST.into();
        RequestHead { method: "GET", host, path: "/", query: None, headers: &[], client }
    }

    fn host_name(host: &str) -> String {
        head(host).host_name(&mut HostBuffer::new()).to_owned()
    }

    #[test]
    fn a_host_is_lower_cased_and_loses_its_port() {
        for (host, name) in [
            ("a.Example", "a.example"),
            ("a.example:8181", "a.example"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("", ""),
            (":80", ""),
            ("[", "["),
            ("[::1", "["),
            ("É.Example", "É.example"),
        ] {
            assert_eq!(host_name(host), name, "{host}");
        }
        let longest = "A".repeat(HOST_BYTES_MAX);
        assert_eq!(host_name(&longest), longest.to_ascii_lowercase());
        assert_eq!(host_name(&format!("{longest}a")), "");
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let head = |query| RequestHead { query, ..head("") };
        assert_eq!(head(Some("a=1&b=2&a=3")).parameter("a"), Some("1"));
        assert_eq!(head(Some("flag&b=x=y")).parameter("flag"), Some(""));
        assert_eq!(head(Some("flag&b=x=y")).parameter("b"), Some("x=y"));
        assert_eq!(head(Some("")).parameter("a"), None);
        assert_eq!(head(None).parameter(""), None);
    }
}
