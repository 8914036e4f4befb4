//! Small things about bytes of heads.

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(token)
}

/// What a header's value may hold: no control characters but HTAB (RFC 9110 §5.5).
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |is, byte| is & (*byte >= b' ' || *byte == b'\t') & (*byte != 0x7f))
}

/// The members of a comma-separated list, without the whitespace around them; empty ones too.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Without spaces and tabs at its ends (OWS, RFC 9110 §5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a comma-separated list has a member, whose parameters do not count.
pub(crate) fn lists(value: &[u8], member: &[u8]) -> bool {
    members(value).any(|found| {
        let name = found.split(|byte| *byte == b';').next().unwrap_or_default();
        trim(name).eq_ignore_ascii_case(member)
    })
}

const DECIMAL_DIGITS_MAX: usize = 20;

/// Writes a number in decimal.
pub(crate) fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; DECIMAL_DIGITS_MAX];
    let mut at = DECIMAL_DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes a header's line; inlined, so that constant names are.
#[inline(always)]
pub(crate) fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_and_trimmed() {
        assert!(lists(b"gzip,\t Chunked ;q=1", b"chunked"));
        assert!(!lists(b"xchunked", b"chunked"));
        assert!(!lists(b"", b"chunked"));
        assert_eq!(members(b" a, ,b\t").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            put_decimal(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn values_hold_no_control_characters() {
        for byte in 0..=u8::MAX {
            let allowed = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(is_value(&[b'a', byte, b'b']), allowed, "{byte}");
        }
        assert!(is_token(b"X-a_1") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a:"));
    }
}
