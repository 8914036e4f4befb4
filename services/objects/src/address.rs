//! Which bucket and key a request names: `http://bucket.domain/key` or `http://host/bucket/key`.

use crate::fault::{Fault, Result};
use crate::limits::KEY_BYTES_MAX;

/// The hosts under which a bucket is a subdomain.
#[derive(Debug)]
pub struct Domains(Vec<String>);

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub bucket: Option<String>,
    pub key: Option<String>,
    /// The Host names the bucket; signatures must know.
    pub bucket_in_host: bool,
}

impl Domains {
    pub fn new(domains: Vec<String>) -> Self {
        let clean = |domain: String| domain.trim_matches('.').to_ascii_lowercase();
        let mut domains: Vec<String> = domains.into_iter().map(clean).filter(|domain| !domain.is_empty()).collect();
        // The longest first: `ns.example` before `example`.
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(domains)
    }

    /// `raw_path` is percent-encoded; `//`, `.` and `..` mean themselves.
    pub fn target(&self, host: &str, raw_path: &str) -> Result<Target> {
        let path = raw_path.strip_prefix('/').unwrap_or(raw_path);
        let (bucket, key, bucket_in_host) = match self.bucket_of(host) {
            Some(bucket) => (bucket, path, true),
            None => match path.split_once('/') {
                Some((bucket, key)) => (decode(bucket)?, key, false),
                None => (decode(path)?, "", false),
            },
        };
        let key = decode(key)?;
        if key.len() > KEY_BYTES_MAX {
            return Err(Fault::key_too_long());
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let bucket = some(bucket);
        if bucket.is_none() && !key.is_empty() {
            return Err(Fault::invalid_bucket_name());
        }
        Ok(Target { bucket, key: some(key), bucket_in_host })
    }

    fn bucket_of(&self, host: &str) -> Option<String> {
        let name = name_of(host).to_ascii_lowercase();
        let is_under = |domain: &String| name.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned);
        // A host that is itself a domain is never a bucket of a shorter one.
        if self.0.contains(&name) {
            return None;
        }
        self.0.iter().find_map(is_under).filter(|bucket| !bucket.is_empty())
    }

    /// Whether a page of another site cannot have made a browser call this host (DNS rebinding).
    pub fn is_local(&self, host: &str) -> bool {
        let name = name_of(host).trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_localhost = name == "localhost" || name.ends_with(".localhost");
        is_localhost
            || name.parse::<std::net::IpAddr>().is_ok()
            || self.0.contains(&name)
            || self.bucket_of(host).is_some()
    }

    /// Whether a page of this origin is this machine's own. (A site on the network may go by an address, too.)
    pub fn is_own_origin(&self, origin: &str) -> bool {
        let Some((_, host)) = origin.split_once("://") else { return false };
        let address = name_of(host).trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        address.map_or_else(|_| self.is_local(host), |address| address.is_loopback())
    }
}

/// S3's rules for names of new buckets.
pub fn is_bucket_name(name: &str) -> bool {
    let byte_ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let edge_ok = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(byte_ok)
        && edge_ok(name.bytes().next())
        && edge_ok(name.bytes().next_back())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn decode(text: &str) -> Result<String> {
    let invalid = |_| Fault::new(400, "InvalidURI", "Couldn't parse the specified URI.");
    String::from_utf8(s3sign::decode(text)).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_found_in_the_host_or_in_the_path() {
        let domains = Domains::new(vec!["s3.localhost".into(), "denisnamespace.ns.viprds.ad.forest".into()]);
        #[rustfmt::skip]
        let cases = [
            ("127.0.0.1:9000", "/", None, None),
            ("127.0.0.1:9000", "/bucket", Some("bucket"), None),
            ("127.0.0.1:9000", "/bucket/", Some("bucket"), None),
            ("127.0.0.1:9000", "/bucket/a//b/../c", Some("bucket"), Some("a//b/../c")),
            ("127.0.0.1:9000", "/bucket//a", Some("bucket"), Some("/a")),
            ("anything", "/bucket/a+b%2Bc%20d", Some("bucket"), Some("a+b+c d")),
            ("s3.localhost", "/bucket/k", Some("bucket"), Some("k")),
            ("My.Bucket.s3.localhost:80", "/k", Some("my.bucket"), Some("k")),
            ("bucket1.denisnamespace.ns.viprds.ad.forest:80", "/pictures/B6.jpg", Some("bucket1"), Some("pictures/B6.jpg")),
            ("bucket1.denisnamespace.ns.viprds.ad.forest", "/", Some("bucket1"), None),
            ("xs3.localhost", "/bucket/k", Some("bucket"), Some("k")),
        ];
        for (host, path, bucket, key) in cases {
            let target = domains.target(host, path).unwrap();
            assert_eq!((target.bucket.as_deref(), target.key.as_deref()), (bucket, key), "{host}{path}");
        }
        assert_eq!(domains.target("h", "/b/%ff").unwrap_err().code, "InvalidURI");
        assert_eq!(domains.target("h", &format!("/b/{}", "k".repeat(1025))).unwrap_err().code, "KeyTooLongError");
    }

    #[test]
    fn bucket_names_follow_s3() {
        for name in ["abc", "my.bucket-1", "0a0", &"a".repeat(63)] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in ["ab", "Abc", "a_b", "-ab", "ab-", "a..b", "192.168.1.1", "", &"a".repeat(64)] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_host_or_path_makes_it_panic(host in "\\PC{0,30}", path in "\\PC{0,30}") {
            let _either = Domains::new(vec!["s3.localhost".into()]).target(&host, &path);
        }
    }
}
