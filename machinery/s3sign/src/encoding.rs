//! Percent-encoding as S3 signs it: RFC 3986's unreserved characters stay, every other byte becomes `%XX`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Encodes one query name or value.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    percent_encode(bytes.as_ref(), RESERVED).to_string()
}

/// Encodes a key for a path: as [`encode`], but `/` stays.
pub fn encode_path(bytes: impl AsRef<[u8]>) -> String {
    percent_encode(bytes.as_ref(), RESERVED_IN_PATH).to_string()
}

/// Undoes percent-encoding; `+` stays `+`. What is not a valid escape is kept as it is.
pub fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// A raw query's names and values, decoded (`+` is a space in a query); the value is `None` where there is no `=`.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, Option<String>)> + '_ {
    let text = |raw: &str| String::from_utf8_lossy(&decode(&raw.replace('+', " "))).into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| match pair.split_once('=') {
        Some((name, value)) => (text(name), Some(text(value))),
        None => (text(pair), None),
    })
}

/// The path in the one spelling that both sides hash, whichever characters the client chose to escape.
pub(crate) fn canonical_path(raw_path: &str) -> String {
    match raw_path {
        "" => "/".to_owned(),
        path => encode_path(decode(path)),
    }
}

/// The query sorted and re-encoded, without the parameter called `without`.
pub(crate) fn canonical_query(query: &str, without: Option<&str>) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(decode(&name.replace('+', " "))), encode(decode(&value.replace('+', " ")))))
        .filter(|(name, _)| Some(name.as_str()) != without)
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_plus_in_a_path_and_a_space_in_a_query() {
        assert_eq!(canonical_path("/a+b//c%2Bd/%7Eé"), "/a%2Bb//c%2Bd/~%C3%A9");
        assert_eq!(canonical_query("b=x+y&a&a=%2F&X-Amz-Signature=1", Some("X-Amz-Signature")), "a=&a=%2F&b=x%20y");
    }
}
