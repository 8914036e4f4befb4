//! As much of URLs as rewriting and redirecting need.

use crate::spec::SpecError;

/// Whether a text can be a request target: a path, with or without a query, of visible ASCII; what `http1` forwards.
pub fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#<>".contains(&byte))
}

/// Path and query of `scheme://authority/path?query`, or of a text that is only that.
pub fn target_of(url: &str) -> Option<String> {
    if url.starts_with('/') && !url.starts_with("//") {
        return Some(url.to_owned());
    }
    let (scheme, rest) = url.split_once("://")?;
    if !is_scheme(scheme) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() {
        return None;
    }
    Some(if target.starts_with('/') { target.to_owned() } else { format!("/{target}") })
}

/// The host of an authority: without its port.
pub fn without_port(authority: &str) -> &str {
    let bracket = authority.find(']').map_or(0, |end| end + 1);
    match authority[bracket..].find(':') {
        Some(colon) => &authority[..bracket + colon],
        None => authority,
    }
}

/// Checks an absolute `http` or `https` URL.
pub fn check_absolute(field: &str, text: &str) -> Result<(), SpecError> {
    let known = text.starts_with("http://") || text.starts_with("https://");
    if !known || target_of(text).is_none() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SpecError::new(field, format!("expected an absolute http or https URL, found {text:?}")));
    }
    Ok(())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_urls() {
        for (url, target) in [
            ("http://localhost/foo?a=b", Some("/foo?a=b")),
            ("http://localhost", Some("/")),
            ("http://localhost?a", Some("/?a")),
            ("/only/path", Some("/only/path")),
            ("//host/path", None),
            ("foo", None),
            ("", None),
            ("http:///path", None),
            ("1http://a/", None),
        ] {
            assert_eq!(target_of(url).as_deref(), target, "{url}");
        }
        assert!(is_target("/a%20b?c") && !is_target("/a b") && !is_target("/é") && !is_target("a") && !is_target("/#"));
    }

    #[test]
    fn ports_are_cut() {
        assert_eq!(without_port("a.example:8181"), "a.example");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a"), "a");
    }
}
