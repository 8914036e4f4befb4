//! What a field is to a request. Names that a table knows are judged once, when they come into it.

/// What is to be done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Method,
    Scheme,
    Authority,
    Path,
    /// RFC 8441.
    Protocol,
    Host,
    Cookie,
    ContentLength,
    Te,
    /// It is passed on.
    Other,
    /// RFC 9113 §8.2 forbids its name or its value, or nobody knows the pseudo-header.
    Malformed,
}

impl Kind {
    pub fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"content-length" => Self::ContentLength,
            b"te" => Self::Te,
            // RFC 9113 §8.2.2.
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => Self::Malformed,
            _ if is_name(name) => Self::Other,
            _ => Self::Malformed,
        }
    }

    /// The same, of a field with this value.
    pub fn with(self, value: &[u8]) -> Self {
        if is_value(value) { self } else { Self::Malformed }
    }
}

/// A token (RFC 9110 §5.6.2) without upper case (RFC 9113 §8.2.1).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| IS_IN_NAME[*byte as usize])
}

static IS_IN_NAME: [bool; 256] = {
    let (mut is, mut byte) = ([false; 256], 0);
    while byte < 256 {
        let found = byte as u8;
        is[byte] = matches!(found, b'a'..=b'z' | b'0'..=b'9')
            || matches!(found, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(found, b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    is
};

/// No control characters but HTAB (RFC 9110 §5.5). Whitespace around it is left out by whoever reads the line: clients do send it,
/// though they should not (RFC 9113 §8.2.1).
fn is_value(value: &[u8]) -> bool {
    value.iter().fold(true, |is, byte| is & (*byte >= b' ' || *byte == b'\t') & (*byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_may_not_have_is_malformed() {
        for name in ["", "A", "x-A", "a b", "a:", "é", ":status", ":x", "connection", "upgrade", "x\0"] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Malformed, "{name}");
        }
        for (name, kind) in [("x-a_b.c", Kind::Other), (":path", Kind::Path), ("te", Kind::Te)] {
            assert_eq!(Kind::of(name.as_bytes()), kind);
        }
        for value in ["a\r\nb", "a\nb", "\0", "\x7f"] {
            assert_eq!(Kind::Other.with(value.as_bytes()), Kind::Malformed, "{value:?}");
        }
        assert!(["", "a b", " a\t", "é"].iter().all(|value| Kind::Host.with(value.as_bytes()) == Kind::Host));
    }
}
