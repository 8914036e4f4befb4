//! Where a server is, and how it is spoken to: `http://host:port`, `https://host:port` over TLS, or by HTTP/2, `h2://host:port`
//! over TLS and `h2c://host:port` in the clear. As in vulcand, the rest of the URL plays no part in forwarding.

use crate::expression::HOST_BYTES_MAX;
use std::fmt;

/// Bytes one server URL may have.
const URL_BYTES_MAX: usize = 2048;

/// A server's address. Its text, `scheme://host:port` with the port always there, is the name under which the server is
/// counted, drained and reported.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerUrl {
    text: String,
    scheme: Scheme,
    host_end: usize,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS if the server agrees to it (ALPN, RFC 9113 §3.2), else HTTP/1.1.
    H2,
    /// HTTP/2 without TLS, from the first byte on (prior knowledge, RFC 9113 §3.3).
    H2c,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("server URL {url:?}: expected http://host:port, https://host:port, h2://host:port or h2c://host:port")]
    Form { url: String },
    #[error("server URL {url:?}: {port:?} is not a port")]
    Port { url: String, port: String },
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::H2, Self::H2c];

    /// With what stands behind it.
    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
            Self::H2 => "h2://",
            Self::H2c => "h2c://",
        }
    }

    /// The one that is meant when none is said.
    fn usual_port(self) -> &'static str {
        match self {
            Self::Http | Self::H2c => "80",
            Self::Https | Self::H2 => "443",
        }
    }
}

impl ServerUrl {
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form { url: url.chars().take(URL_BYTES_MAX).collect() };
        if url.len() > URL_BYTES_MAX {
            return Err(form());
        }
        let lower = url.to_ascii_lowercase();
        let known = |scheme: Scheme| Some((scheme, lower.strip_prefix(scheme.prefix())?));
        let (scheme, rest) = Scheme::ALL.into_iter().find_map(known).ok_or_else(form)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let bracket = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[bracket..].find(':') {
            Some(colon) => (&authority[..bracket + colon], &authority[bracket + colon + 1..]),
            None => (authority, scheme.usual_port()),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host_is_good = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.chars().all(known),
        };
        if !host_is_good {
            return Err(form());
        }
        let number = port.parse::<u16>().ok().filter(|port| *port > 0);
        let number = number.ok_or_else(|| UrlError::Port { url: url.to_owned(), port: port.to_owned() })?;
        let prefix = scheme.prefix();
        Ok(Self { text: format!("{prefix}{host}:{number}"), scheme, host_end: prefix.len() + host.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same place, spoken to otherwise.
    pub fn with_scheme(&self, scheme: Scheme) -> Self {
        let (prefix, before) = (scheme.prefix(), self.scheme.prefix());
        let text = format!("{prefix}{}", self.authority());
        Self { text, scheme, host_end: self.host_end - before.len() + prefix.len() }
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.text[self.scheme.prefix().len()..]
    }

    /// Whether it is spoken to over TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::H2)
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        self.text[self.scheme.prefix().len()..self.host_end].trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.text[self.host_end + 1..].parse().expect("parse put a port there")
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_brought_to_one_form() {
        assert_eq!(ServerUrl::parse("http://Localhost:5000").unwrap().as_str(), "http://localhost:5000");
        assert_eq!(ServerUrl::parse("http://a/ignored?x").unwrap().authority(), "a:80");
        let six = ServerUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((six.host(), six.port(), six.authority()), ("::1", 8080, "[::1]:8080"));
        let secure = ServerUrl::parse("HTTPS://A").unwrap();
        assert_eq!((secure.as_str(), secure.host(), secure.port()), ("https://a:443", "a", 443));
        assert!(secure.is_secure() && !six.is_secure());
        let two = ServerUrl::parse("H2C://a:1/ignored").unwrap();
        assert_eq!((two.as_str(), two.host(), two.port(), two.scheme()), ("h2c://a:1", "a", 1, Scheme::H2c));
        let agreed = ServerUrl::parse("h2://a/ignored").unwrap();
        assert_eq!((agreed.as_str(), agreed.scheme(), agreed.is_secure()), ("h2://a:443", Scheme::H2, true));
        assert_eq!(six.with_scheme(Scheme::H2c).as_str(), "h2c://[::1]:8080");
        assert_eq!(two.with_scheme(Scheme::Http).authority(), "a:1");
        assert_ne!(two, ServerUrl::parse("http://a:1").unwrap());
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for url in
            ["", "a:80", "ftp://a", "http://", "http://:80", "http://a:0", "http://a:70000", "http://a:b", "http://u@a"]
        {
            assert!(ServerUrl::parse(url).is_err(), "{url}");
        }
    }

    /// The port that is added must not make it longer than may be read: kept tables have this text.
    #[test]
    fn the_longest_url_is_read_again() {
        let longest = ServerUrl::parse(&format!("http://{}/{}", "a".repeat(HOST_BYTES_MAX), "b".repeat(1000))).unwrap();
        assert_eq!(ServerUrl::parse(longest.as_str()).unwrap(), longest);
        assert!(ServerUrl::parse(&format!("http://{}", "a".repeat(HOST_BYTES_MAX + 1))).is_err());
    }
}
