//! Where a bucket is: the endpoint's address, the namespace in its host, and virtual-hosted or path style.

use http::Uri;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// RFC 1035 section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// An S3 endpoint: `http://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Lower case.
    Name(String),
    /// An address has no subdomains: its buckets are in the path.
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("{given:?} is not a URL of the form http://HOST[:PORT]")]
    Form { given: String },
    #[error("scheme {given:?} is neither http nor https")]
    Scheme { given: String },
    #[error("{given:?} has a path or a query; an endpoint is http://HOST[:PORT]")]
    Path { given: String },
    #[error("namespace {given:?} is not one DNS label (letters, digits, hyphens)")]
    Namespace { given: String },
    #[error("namespace {given:?} cannot be put before the address {address}; an endpoint with a host name is needed")]
    NamespaceOfAddress { given: String, address: IpAddr },
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(given: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form { given: given.to_owned() };
        let uri: Uri = given.parse().map_err(|_| form())?;
        let scheme = match uri.scheme_str().ok_or_else(form)? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(EndpointError::Scheme { given: other.to_owned() }),
        };
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(form());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(EndpointError::Path { given: given.to_owned() });
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) if host.split('.').all(is_label) => Host::Name(host),
            Err(_) => return Err(form()),
        };
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(port) => Some(port.parse().map_err(|_| form())?),
            None => None,
        };
        // The scheme's own port is left out, as browsers do in the Host header that is signed.
        let port = port.filter(|port| *port != scheme.port());
        Ok(Self { scheme, host, port })
    }
}

impl Endpoint {
    /// Puts a ViPR namespace before the host, unless the host begins with it: the article's endpoint already does.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, EndpointError> {
        let given = namespace.to_owned();
        if !is_label(namespace) {
            return Err(EndpointError::Namespace { given });
        }
        let namespace = namespace.to_ascii_lowercase();
        let name = match &self.host {
            Host::Address(address) => return Err(EndpointError::NamespaceOfAddress { given, address: *address }),
            Host::Name(name) => name,
        };
        if name.split('.').next() == Some(&namespace) {
            return Ok(self);
        }
        Ok(Self { host: Host::Name(format!("{namespace}.{name}")), ..self })
    }

    /// Where a bucket's objects are.
    pub fn bucket(&self, bucket: &BucketName) -> BucketAddress {
        let (host, path) = match &self.host {
            Host::Name(name) => (format!("{bucket}.{name}"), String::from("/")),
            Host::Address(address) => (bracketed(*address), format!("/{bucket}/")),
        };
        let host = with_port(host, self.port);
        BucketAddress { origin: format!("{}://{host}", self.scheme.name()), host, path }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => bracketed(*address),
        };
        write!(f, "{}://{}", self.scheme.name(), with_port(host, self.port))
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// One bucket's place under an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    /// `scheme://host[:port]`, what a browser calls the origin.
    pub origin: String,
    /// The Host header.
    pub host: String,
    /// What an object's key is appended to.
    pub path: String,
}

/// A bucket's name under S3's rules: 3 to 63 of lower-case letters, digits, dots and hyphens, a letter or digit at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketName(String);

/// S3's rules for bucket names.
const BUCKET_NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bucket name {given:?} is not 3 to 63 of lower-case letters, digits, dots and hyphens with a letter or digit at the ends"
)]
pub struct BucketError {
    given: String,
}

impl FromStr for BucketName {
    type Err = BucketError;

    fn from_str(given: &str) -> Result<Self, BucketError> {
        let lower = given.bytes().all(|byte| !byte.is_ascii_uppercase());
        let valid = lower && BUCKET_NAME_BYTES.contains(&given.len()) && given.split('.').all(is_label);
        if valid { Ok(Self(given.to_owned())) } else { Err(BucketError { given: given.to_owned() }) }
    }
}

impl BucketName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn with_port(host: String, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> BucketName {
        "bucket1".parse().unwrap()
    }

    #[test]
    fn a_named_endpoint_holds_its_buckets_as_subdomains() {
        let endpoint: Endpoint = "http://S3.localhost:8181/".parse().unwrap();
        let place = endpoint.bucket(&bucket());
        assert_eq!(place.origin, "http://bucket1.s3.localhost:8181");
        assert_eq!(place.host, "bucket1.s3.localhost:8181");
        assert_eq!(place.path, "/");
    }

    #[test]
    fn an_address_holds_its_buckets_in_the_path() {
        let place = "http://127.0.0.1:9000".parse::<Endpoint>().unwrap().bucket(&bucket());
        assert_eq!((place.host.as_str(), place.path.as_str()), ("127.0.0.1:9000", "/bucket1/"));
        let place = "http://[::1]:9000".parse::<Endpoint>().unwrap().bucket(&bucket());
        assert_eq!(place.origin, "http://[::1]:9000");
    }

    #[test]
    fn the_schemes_own_port_is_left_out() {
        assert_eq!("http://s3.example:80".parse::<Endpoint>().unwrap().to_string(), "http://s3.example");
        assert_eq!("https://s3.example:443".parse::<Endpoint>().unwrap().to_string(), "https://s3.example");
        assert_eq!("https://s3.example:80".parse::<Endpoint>().unwrap().to_string(), "https://s3.example:80");
    }

    #[test]
    fn the_namespace_is_put_before_the_host_once() {
        let namespaced = |endpoint: &str, namespace| {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            endpoint.with_namespace(namespace).map(|endpoint| endpoint.to_string())
        };
        let expected = "http://denisnamespace.ns.viprds.ad.forest";
        assert_eq!(namespaced("http://ns.viprds.ad.forest", "denisnamespace").unwrap(), expected);
        assert_eq!(namespaced(expected, "denisnamespace").unwrap(), expected);
        assert!(matches!(namespaced("http://s3.example", "a.b"), Err(EndpointError::Namespace { .. })));
        assert!(matches!(namespaced("http://10.0.0.1", "a"), Err(EndpointError::NamespaceOfAddress { .. })));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for given in
            ["", "s3.localhost", "http://", "http://u@h", "http://a..b", "http://a:", "http://a:99999", "http://a b"]
        {
            assert!(matches!(given.parse::<Endpoint>(), Err(EndpointError::Form { .. })), "{given}");
        }
        assert!(matches!("ftp://a".parse::<Endpoint>(), Err(EndpointError::Scheme { .. })));
        for given in ["http://a/b", "http://a/?q"] {
            assert!(matches!(given.parse::<Endpoint>(), Err(EndpointError::Path { .. })), "{given}");
        }
    }

    #[test]
    fn bucket_names_follow_s3s_rules() {
        for name in ["abc", "my.bucket-1", &"a".repeat(63)] {
            assert!(name.parse::<BucketName>().is_ok(), "{name}");
        }
        for name in ["ab", "Abc", "-abc", "abc-", "a..b", "a_b", "a/b", &"a".repeat(64)] {
            assert!(name.parse::<BucketName>().is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_endpoint_is_read_as_it_is_written(
            host in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]{1,9}){0,3}", port: Option<u16>, secure: bool,
        ) {
            let scheme = if secure { "https" } else { "http" };
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            if let Ok(endpoint) = format!("{scheme}://{host}{port}").parse::<Endpoint>() {
                proptest::prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _any = text.parse::<Endpoint>();
            let _any = format!("http://{text}").parse::<Endpoint>();
            let _any = text.parse::<BucketName>();
        }
    }
}
