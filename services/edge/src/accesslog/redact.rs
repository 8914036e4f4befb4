//! What of a URL is not told: the values of parameters that are credentials, and what stands before a host's `@`.

use std::borrow::Cow;

/// Instead of a value.
const REDACTED: &str = "REDACTED";
/// Names of parameters, in lower case: presigned URLs (Signature Version 4 and 2 of Amazon's S3, Google's, Azure's), OAuth 2
/// (RFC 6749, RFC 6750), and what others call theirs.
pub(crate) const SECRETS: [&str; 19] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "awsaccesskeyid",
    "client_secret",
    "code",
    "id_token",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct Redaction {
    /// Further names, in lower case.
    further: Vec<String>,
}

impl Redaction {
    pub fn new(further: Vec<String>) -> Self {
        Self { further: further.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// A target or URL as it may be told.
    pub fn of<'a>(&self, url: &'a str) -> Cow<'a, str> {
        let url = without_userinfo(url);
        let Some((path, query)) = url.split_once('?') else { return url };
        let is_secret = |parameter: &str| parameter.split_once('=').is_some_and(|(name, _)| self.names(name));
        if !query.split(['&', ';']).any(is_secret) {
            return url;
        }
        let mut told = format!("{path}?");
        for parameter in query.split_inclusive(['&', ';']) {
            let (parameter, end) = match parameter.strip_suffix(['&', ';']) {
                Some(bare) => (bare, &parameter[bare.len()..]),
                None => (parameter, ""),
            };
            match parameter.split_once('=').filter(|(name, _)| self.names(name)) {
                Some((name, _)) => told.extend([name, "=", REDACTED, end]),
                None => told.extend([parameter, end]),
            }
        }
        Cow::Owned(told)
    }

    /// Whether the values of a parameter, as it stands in a query, are not told.
    fn names(&self, name: &str) -> bool {
        let name = decoded(name);
        SECRETS.binary_search(&&*name).is_ok() || self.further.contains(&name)
    }
}

/// In lower case, with what is written as `%xx`.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = || Some((hex_digit(*after.first()?)? << 4 | hex_digit(*after.get(1)?)?, after.get(2..)?));
        (bytes, rest) = match (first, hex()) {
            (b'%', Some((byte, after))) => (push(bytes, byte), after),
            (b'+', _) => (push(bytes, b' '), after),
            (byte, _) => (push(bytes, *byte), after),
        };
    }
    bytes.make_ascii_lowercase();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn push(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn without_userinfo(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?'])) else {
        return url.into();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]).into(),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_found() {
        assert!(SECRETS.is_sorted(), "they are searched by halves");
    }

    #[test]
    fn values_that_are_credentials_are_not_told() {
        let redaction = Redaction::new(vec!["Session".into()]);
        for (url, told) in [
            ("/a?b=c", "/a?b=c"),
            ("/b/k?X-Amz-Signature=0a1b&X-Amz-Date=1", "/b/k?X-Amz-Signature=REDACTED&X-Amz-Date=1"),
            ("/?x=1&X-Amz-Credential=AK%2F20&y", "/?x=1&X-Amz-Credential=REDACTED&y"),
            ("/?X%2DAmz%2dSignature=1;token=2", "/?X%2DAmz%2dSignature=REDACTED;token=REDACTED"),
            ("/?AWSAccessKeyId=A&Signature=b%3D&Expires=1", "/?AWSAccessKeyId=REDACTED&Signature=REDACTED&Expires=1"),
            ("/?session=1&sessions=2", "/?session=REDACTED&sessions=2"),
            ("/?token", "/?token"),
            ("/?token=a?token=b", "/?token=REDACTED"),
            ("http://me:word@a.example/x?token=1", "http://a.example/x?token=REDACTED"),
            ("http://a.example/@b", "http://a.example/@b"),
            ("/?%=%zz&%4=1&+token=1", "/?%=%zz&%4=1&+token=REDACTED"),
        ] {
            assert_eq!(redaction.of(url), told);
        }
    }

    proptest! {
        #[test]
        fn a_secret_is_never_told_wherever_it_stands(before in "[a-z=&;%+?/]{0,20}", name in prop::sample::select(&SECRETS[..])) {
            let url = format!("/{before}?x&{name}=SESAME&y=1");
            prop_assert!(!Redaction::default().of(&url).contains("SESAME"), "{url}");
        }
    }
}
