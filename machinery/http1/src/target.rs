//! The forms of a request target (RFC 9112 §3.2).

use crate::authority::is_authority;
use crate::refusal::BadRequest;

/// A target that may stand in a request line: a path with its query, or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(&'a str);

impl<'a> Target<'a> {
    pub fn new(text: &'a str) -> Option<Self> {
        let is = (text.starts_with('/') || text == "*") && is_plain(text);
        is.then_some(Self(text))
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A target in parts: the authority that an absolute one names, and what is left without it.
#[inline]
pub(crate) fn split<'b>(method: &str, raw: &'b str) -> Result<(Option<&'b str>, &'b str), BadRequest> {
    if !is_plain(raw) {
        return Err(BadRequest::TargetBytes);
    }
    match raw.as_bytes() {
        [b'/', ..] => Ok((None, raw)),
        b"*" if method == "OPTIONS" => Ok((None, raw)),
        _ => split_absolute(method, raw),
    }
}

fn split_absolute<'b>(method: &str, raw: &'b str) -> Result<(Option<&'b str>, &'b str), BadRequest> {
    let (scheme, rest) = raw.split_once("://").ok_or(BadRequest::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BadRequest::Target);
    }
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(authority_end);
    if !is_authority(authority) {
        return Err(BadRequest::Authority);
    }
    match target.as_bytes() {
        // RFC 9112 §3.2.4.
        [] if method == "OPTIONS" => Ok((Some(authority), "*")),
        [] => Ok((Some(authority), "/")),
        [b'/', ..] => Ok((Some(authority), target)),
        _ => Err(BadRequest::Target),
    }
}

/// Visible ASCII but `#`, which begins a fragment, and `<` and `>`. Others that RFC 3986 wants percent-encoded are sent by
/// browsers as they are (`|`, `{`, `"`, …).
fn is_plain(text: &str) -> bool {
    // Without branches, so that it is compiled to vector instructions.
    text.bytes()
        .fold(true, |is, byte| is & (byte > b' ') & (byte < 0x7f) & (byte != b'#') & (byte != b'<') & (byte != b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_plain_paths() {
        for good in ["/", "/a?b=c", "*", "//a", "/%zz|{}^`\"\\[]"] {
            assert!(Target::new(good).is_some(), "{good}");
        }
        for bad in ["", "a", "/a b", "/a#b", "/é", "/\u{7f}", "/<", "**", "?a", "http://a/"] {
            assert!(Target::new(bad).is_none(), "{bad}");
        }
    }
}
