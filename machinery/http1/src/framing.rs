//! How a body is framed: what the headers say of it (RFC 9112 §6), and what is said of it further on.

use crate::fields::Fields;
use crate::mask::Mask;
use crate::refusal::BadHead;
use crate::text::{members, put_decimal};
use crate::{Framing, Version};

/// So that a length fits 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

impl Fields<'_> {
    /// How the body is framed, when a header says so.
    #[inline]
    pub fn framing(&self, version: Version) -> Result<Option<Framing>, BadHead> {
        match (self.coding, self.length) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(BadHead::Framing),
            (None, Some(length)) => Ok(Some(match decimal(length.value).ok_or(BadHead::ContentLength)? {
                0 => Framing::None,
                length => Framing::Length(length),
            })),
            // RFC 9112 §6.1: such a message of HTTP/1.0 is faulty.
            (Some(_), None) if version == Version::Http10 => Err(BadHead::TransferEncoding),
            (Some(coding), None) if coding.value.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            (Some(coding), None) => Err(of_codings(coding.value)),
        }
    }

    /// Adds the lines that say how the body is framed to `dropped` and writes others, unless they stay as they came.
    pub fn put_framing(&self, out: &mut Vec<u8>, dropped: &mut Mask, reframed: Option<Framing>) {
        let came = [self.length, self.coding];
        let framing = match reframed {
            Some(framing) => framing,
            // The number is copied only if all recipients read it as decimal.
            None => match self.length.map(|length| (length.value, decimal(length.value))) {
                Some(([b'0', _, ..], Some(length))) => Framing::Length(length),
                _ => return,
            },
        };
        for field in came.into_iter().flatten() {
            dropped.insert(field.index);
        }
        put_line(out, framing);
    }
}

/// What is wrong with a `Transfer-Encoding` other than `chunked` (RFC 9112 §6.3, item 4).
fn of_codings(value: &[u8]) -> BadHead {
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let ends_in_chunked = members(value).last().is_some_and(|last| is_chunked(&last));
    let once = members(value).filter(is_chunked).count() == 1;
    let named = members(value).all(|coding| !coding.is_empty());
    if ends_in_chunked && once && named { BadHead::TransferCoding } else { BadHead::TransferEncoding }
}

#[inline]
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number: u64, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

/// Writes the line that tells how a body is framed, if one does.
pub(crate) fn put_line(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => put_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Writes `Content-Length`.
pub(crate) fn put_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    put_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_decimal_digits_only() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"9999999999999999999"), Some(9_999_999_999_999_999_999));
        for wrong in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"1,1", b"0x1", b"00000000000000000001", b"\xb2"] {
            assert_eq!(decimal(wrong), None, "{wrong:?}");
        }
    }
}
