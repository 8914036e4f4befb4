//! The header names that mean something to a proxy.

/// A header that is more than passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Connection,
    ContentLength,
    Date,
    Expect,
    ForwardedFor,
    ForwardedHost,
    ForwardedPort,
    ForwardedProto,
    ForwardedServer,
    Host,
    /// Ends here and says nothing to us (RFC 9110 §7.6.1).
    HopByHop,
    /// Another of these, but for `_` where that has `-`.
    Lookalike,
    RealIp,
    Te,
    TransferEncoding,
    Upgrade,
}

/// By length and first letter, so that nearly every other name is told apart without comparing it.
#[inline]
pub(crate) fn known(name: &[u8]) -> Option<Known> {
    use Known::*;
    let (text, known): (&[u8], Known) = match (name.len(), name.first()? | 0x20) {
        (2, b't') => (b"te", Te),
        (4, b'h') => (b"host", Host),
        (4, b'd') => (b"date", Date),
        (6, b'e') => (b"expect", Expect),
        (7, b'u') => (b"upgrade", Upgrade),
        (9, b'x') => (b"x-real-ip", RealIp),
        (10, b'c') => (b"connection", Connection),
        (10, b'k') => (b"keep-alive", HopByHop),
        (14, b'c') => (b"content-length", ContentLength),
        (15, b'x') => (b"x-forwarded-for", ForwardedFor),
        (16, b'p') => (b"proxy-connection", HopByHop),
        (16, b'x') if name[12] | 0x20 == b'h' => (b"x-forwarded-host", ForwardedHost),
        (16, b'x') => (b"x-forwarded-port", ForwardedPort),
        (17, b't') => (b"transfer-encoding", TransferEncoding),
        (17, b'x') => (b"x-forwarded-proto", ForwardedProto),
        (18, b'p') => (b"proxy-authenticate", HopByHop),
        (18, b'x') => (b"x-forwarded-server", ForwardedServer),
        (19, b'p') => (b"proxy-authorization", HopByHop),
        _ => return None,
    };
    if name.eq_ignore_ascii_case(text) {
        return Some(known);
    }
    is_lookalike(name, text).then_some(Lookalike)
}

/// `text` has the length of `name`.
#[cold]
fn is_lookalike(name: &[u8], text: &[u8]) -> bool {
    let alike = |(byte, other): (&u8, &u8)| byte.eq_ignore_ascii_case(other) || (*byte, *other) == (b'_', b'-');
    name.iter().zip(text).all(alike)
}

impl Known {
    /// Of the headers in which a proxy tells a server about its client.
    #[inline]
    pub fn is_forwarded(self) -> bool {
        matches!(
            self,
            Self::ForwardedFor
                | Self::ForwardedHost
                | Self::ForwardedPort
                | Self::ForwardedProto
                | Self::ForwardedServer
                | Self::RealIp
        )
    }

    /// Headers that say what the message is: `Connection` cannot name them away, nor can an edit touch them.
    pub fn is_essential(self) -> bool {
        matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding | Self::Te | Self::Expect)
    }

    /// Headers that are ours to write.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::HopByHop
                | Self::Host
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_neighbours_are_not() {
        let names = [
            "Connection",
            "Content-Length",
            "Date",
            "Expect",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Proto",
            "X-Forwarded-Server",
            "Host",
            "Keep-Alive",
            "Proxy-Connection",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "X-Real-Ip",
            "TE",
            "Transfer-Encoding",
            "Upgrade",
        ];
        for name in names {
            assert!(known(name.as_bytes()).is_some(), "{name}");
            assert_eq!(known(name.to_uppercase().as_bytes()), known(name.to_lowercase().as_bytes()));
            let lookalike = name.replace('-', "_");
            let expected = if lookalike == name { known(name.as_bytes()) } else { Some(Known::Lookalike) };
            assert_eq!(known(lookalike.as_bytes()), expected);
            let neighbour = format!("{}_", &name[..name.len() - 1]);
            assert_eq!(known(neighbour.as_bytes()), None, "{neighbour}");
        }
        for name in ["", "x", "accept", "user-agent", "accept-encoding", "if-modified-since"] {
            assert_eq!(known(name.as_bytes()), None, "{name}");
        }
    }
}
