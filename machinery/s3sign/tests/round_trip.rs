//! Whatever is signed is accepted, and not when any of it was changed.

use http::{HeaderMap, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use s3sign::v4::PayloadToSign;
use s3sign::{Credentials, RequestHead, SignatureError, encode, encode_path, v2, v4, verify};
use std::time::Duration;

const REGION: &str = "eu-west-1";

#[derive(Clone, Debug)]
struct Case {
    method: Method,
    raw_path: String,
    query: String,
    headers: HeaderMap,
    now: Timestamp,
}

impl Case {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: "bucket.s3.localhost:9000",
            raw_path: &self.raw_path,
            query: &self.query,
            headers: &self.headers,
            bucket_in_host: Some("bucket"),
        }
    }

    fn is_accepted(&self) -> bool {
        verify(&self.head(), &|key| Some(credentials()).filter(|known| known.access_key() == key), self.now).is_ok()
    }
}

fn credentials() -> Credentials {
    Credentials::new("denis@ad.forest", "secret").unwrap()
}

fn case() -> impl Strategy<Value = Case> {
    let method = prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::DELETE), Just(Method::POST)];
    let key = "[a-z+/ %é.~*()]{0,20}";
    let value = "[a-zA-Z0-9+/= é]{0,8}";
    let query = prop::collection::vec(("[a-z]{1,6}|acl|uploadId", value), 0..4);
    let meta = prop::collection::vec(("x-(amz|emc)-meta-[a-z]{1,4}", "[a-z ]{0,8}"), 0..3);
    (method, key, query, meta, 0i64..4_000_000_000).prop_map(|(method, key, query, meta, second)| {
        let mut query: Vec<(String, String)> = query;
        query.sort();
        query.dedup_by(|a, b| a.0 == b.0);
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in meta {
            headers.insert(http::HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        let raw_path = format!("/{}", encode_path(key));
        Case { method, raw_path, query: query.join("&"), headers, now: Timestamp::from_second(second).unwrap() }
    })
}

fn signed(case: &Case, scheme: usize) -> Case {
    let mut signed = case.clone();
    match scheme {
        0 => {
            let payload = PayloadToSign::hash_of(b"body");
            signed.headers.extend(v4::sign(&case.head(), payload, &credentials(), REGION, case.now).unwrap());
        }
        1 => {
            let hour = Duration::from_secs(3600);
            signed.query = v4::presign(&case.head(), hour, &credentials(), REGION, case.now).unwrap();
        }
        2 => signed.headers.extend(v2::sign_header(&case.head(), &credentials(), case.now).unwrap()),
        _ => {
            let expires = case.now + SignedDuration::from_hours(1);
            signed.query = v2::presign(&case.head(), expires, &credentials());
        }
    }
    signed
}

/// Changes the `index`th signed thing of a request: a byte of the path, of the query, or of a header's value.
fn tampered(case: &Case, index: prop::sample::Index) -> Option<Case> {
    let mut changed = case.clone();
    let digit = |byte: u8| if byte == b'7' { b'8' } else { b'7' };
    let replace = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = digit(bytes[at]);
        String::from_utf8(bytes).unwrap()
    };
    let names: Vec<_> = case.headers.keys().cloned().collect();
    match index.index(2 + names.len()) {
        0 => {
            let at = 1 + index.index(case.raw_path.len());
            changed.raw_path = if at < case.raw_path.len() { replace(&case.raw_path, at) } else { "/7/".to_owned() };
        }
        1 => {
            // V2 does not sign every parameter, so only its signature is changed here.
            let at = case.query.find("Signature=")? + "Signature=".len();
            let at = at + index.index(10);
            if case.query.as_bytes()[at] == b'%' || case.query.as_bytes()[at - 1] == b'%' {
                return None;
            }
            changed.query = replace(&case.query, at);
        }
        header => {
            let name = &names[header - 2];
            let value = case.headers[name].to_str().unwrap();
            let at = value.len().checked_sub(2)?;
            changed.headers.insert(name, HeaderValue::try_from(replace(value, at)).unwrap());
        }
    }
    Some(changed)
}

proptest! {
    #[test]
    fn what_is_signed_is_accepted_and_what_is_changed_is_not(
        case in case(),
        scheme in 0usize..4,
        index in any::<prop::sample::Index>(),
    ) {
        let signed = signed(&case, scheme);
        prop_assert!(signed.is_accepted());
        if let Some(changed) = tampered(&signed, index) {
            prop_assert!(!changed.is_accepted(), "{changed:?}");
        }
    }

    #[test]
    fn no_authorization_makes_it_panic(text in "\\PC{0,80}", query in "[ -~]{0,80}") {
        let mut headers = HeaderMap::new();
        for prefix in ["", "AWS ", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 "] {
            if let Ok(value) = HeaderValue::try_from(format!("{prefix}{text}")) {
                headers.insert("authorization", value);
            }
            let query = format!("X-Amz-Signature=0&{query}");
            for query in ["", &query] {
                let case = Case {
                    method: Method::GET,
                    raw_path: text.clone(),
                    query: query.to_owned(),
                    headers: headers.clone(),
                    now: Timestamp::UNIX_EPOCH,
                };
                prop_assert!(!case.is_accepted());
            }
        }
    }
}

#[test]
fn every_byte_of_a_signed_v4_head_matters() {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-meta-a", HeaderValue::from_static("one"));
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let now: Timestamp = "2024-05-24T00:00:00Z".parse().unwrap();
    let case = Case {
        method: Method::PUT,
        raw_path: "/a/b".to_owned(),
        query: "partNumber=1&uploadId=x".to_owned(),
        headers,
        now,
    };
    let signed = signed(&case, 0);
    assert!(signed.is_accepted());
    for name in signed.headers.keys() {
        let value = signed.headers[name].as_bytes();
        for at in 0..value.len() {
            let mut bytes = value.to_vec();
            bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
            let mut changed = signed.clone();
            changed.headers.insert(name, HeaderValue::from_bytes(&bytes).unwrap());
            assert!(!changed.is_accepted(), "{name} byte {at}");
        }
    }
    for at in 0..signed.query.len() {
        let mut bytes = signed.query.clone().into_bytes();
        bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
        let changed = Case { query: String::from_utf8(bytes).unwrap(), ..signed.clone() };
        assert!(!changed.is_accepted(), "query byte {at}");
    }
    assert!(!Case { method: Method::POST, ..signed.clone() }.is_accepted());
    let both = Case { query: "X-Amz-Signature=0".to_owned(), ..signed };
    let refused = verify(&both.head(), &|_| Some(credentials()), now).unwrap_err();
    assert_eq!(refused, SignatureError::Ambiguous);
}
