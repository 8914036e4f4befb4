//! Where a server is: `http://host:port`, or `https://host:port` over TLS. As in vulcand, the rest of the URL plays no part in forwarding.

use crate::expression::HOST_BYTES_MAX;
use std::fmt;

/// Bytes one server URL may have.
const URL_BYTES_MAX: usize = 2048;

/// A server's address. Its text, `http://host:port` or `https://host:port` with the port always there, is the name under which the server is
/// counted, drained and reported.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerUrl {
    text: String,
    host_start: usize,
    host_end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("server URL {url:?}: expected http://host:port or https://host:port")]
    Form { url: String },
    #[error("server URL {url:?}: {port:?} is not a port")]
    Port { url: String, port: String },
}

/// With the port that is meant when none is said.
const SCHEMES: [(&str, &str); 2] = [("http://", "80"), (SECURE, "443")];
const SECURE: &str = "https://";

impl ServerUrl {
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form { url: url.chars().take(URL_BYTES_MAX).collect() };
        if url.len() > URL_BYTES_MAX {
            return Err(form());
        }
        let lower = url.to_ascii_lowercase();
        let known = SCHEMES.iter().find_map(|(scheme, port)| Some((*scheme, *port, lower.strip_prefix(scheme)?)));
        let (scheme, usual_port, rest) = known.ok_or_else(form)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let bracket = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[bracket..].find(':') {
            Some(colon) => (&authority[..bracket + colon], &authority[bracket + colon + 1..]),
            None => (authority, usual_port),
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
        let (host_start, host_end) = (scheme.len(), scheme.len() + host.len());
        Ok(Self { text: format!("{scheme}{host}:{number}"), host_start, host_end })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.text[self.host_start..]
    }

    /// Whether it is spoken to over TLS.
    pub fn is_secure(&self) -> bool {
        self.text.starts_with(SECURE)
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        self.text[self.host_start..self.host_end].trim_start_matches('[').trim_end_matches(']')
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
