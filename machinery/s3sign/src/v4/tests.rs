//! Known answers are Amazon's: "Signature Calculations for the Authorization Header" and its two sibling pages.

use super::*;
use crate::chunked::{Decoder, encode as encode_chunks};
use crate::{Credentials, Payload, RequestHead, SignatureError, verify};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use std::time::Duration;

const HOST: &str = "examplebucket.s3.amazonaws.com";
const REGION: &str = "us-east-1";

/// Method, path, query, headers, body, signature.
type Case<'a> = (Method, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a str);

fn example() -> Credentials {
    Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").unwrap()
}

fn then() -> Timestamp {
    "2013-05-24T00:00:00Z".parse().unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(*value).unwrap());
    pairs.iter().map(pair).collect()
}

fn with(mut headers: HeaderMap, added: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    headers.extend(added);
    headers
}

fn lookup(access_key: &str) -> Option<Credentials> {
    Some(example()).filter(|credentials| credentials.access_key() == access_key)
}

#[test]
fn amazon_s_header_examples_are_reproduced_and_accepted() {
    let put = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    let get = [("range", "bytes=0-9")];
    #[rustfmt::skip]
    let cases: [Case; 4] = [
        (Method::GET, "/test.txt", "", &get, b"", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        (Method::PUT, "/test$file.text", "", &put, b"Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        (Method::GET, "/", "lifecycle", &[], b"", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (Method::GET, "/", "max-keys=2&prefix=J", &[], b"", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ];
    for (method, raw_path, query, given, body, signature) in cases {
        let given = headers(given);
        let head = RequestHead { method: &method, host: HOST, raw_path, query, headers: &given, bucket_in_host: None };
        let added = sign(&head, PayloadToSign::hash_of(body), &example(), REGION, then()).unwrap();
        let authorization = added.last().unwrap().1.to_str().unwrap().to_owned();
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{raw_path}?{query}: {authorization}");
        let sent = with(given.clone(), added);
        let verified = verify(&RequestHead { headers: &sent, ..head }, &lookup, then()).unwrap();
        assert_eq!(verified.access_key, "AKIAIOSFODNN7EXAMPLE");
        assert!(matches!(verified.payload, Payload::Hash(_)));
    }
}

#[test]
fn amazon_s_presigned_example_is_reproduced_and_lives_as_long_as_it_says() {
    let none = HeaderMap::new();
    let method = Method::GET;
    let (raw_path, query) = ("/test.txt", "");
    let head = RequestHead { method: &method, host: HOST, raw_path, query, headers: &none, bucket_in_host: None };
    let query = presign(&head, Duration::from_secs(86_400), &example(), REGION, then()).unwrap();
    assert!(
        query.ends_with("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
        "{query}"
    );
    let at = |seconds: i64| {
        let now = then() + jiff::SignedDuration::from_secs(seconds);
        verify(&RequestHead { query: &query, ..head }, &lookup, now).map(|verified| verified.access_key)
    };
    assert!(at(0).is_ok());
    assert!(at(86_400).is_ok());
    assert!(at(-900).is_ok());
    assert_eq!(at(86_401), Err(SignatureError::Expired));
    assert_eq!(at(-901), Err(SignatureError::NotYetValid));
    let week = Duration::from_secs(7 * 86_400);
    assert!(presign(&head, week, &example(), REGION, then()).is_ok());
    assert!(presign(&head, week + Duration::from_secs(1), &example(), REGION, then()).is_err());
    let longer = query.replace("X-Amz-Expires=86400", "X-Amz-Expires=604801");
    let refused = verify(&RequestHead { query: &longer, ..head }, &lookup, then()).unwrap_err();
    assert_eq!(refused.code(), "AuthorizationQueryParametersError");
}

#[test]
fn amazon_s_chunked_example_is_reproduced_and_decoded() {
    let given = headers(&[
        ("content-encoding", "aws-chunked"),
        ("content-length", "66824"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ]);
    let method = Method::PUT;
    let raw_path = "/examplebucket/chunkObject.txt";
    let host = "s3.amazonaws.com";
    let head = RequestHead { method: &method, host, raw_path, query: "", headers: &given, bucket_in_host: None };
    let added = sign(&head, PayloadToSign::SignedChunks, &example(), REGION, then()).unwrap();
    let authorization = added.last().unwrap().1.to_str().unwrap().to_owned();
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    assert!(authorization.ends_with(&format!("Signature={seed}")), "{authorization}");
    let secret = example();
    let signer = ChunkSigner::after(&authorization, "20130524T000000Z", secret.secret_key()).unwrap();
    let body = vec![b'a'; 66_560];
    let framed = encode_chunks(&[&body[..65_536], &body[65_536..]], &[], Some(signer));
    assert_eq!(framed.len(), 66_824);
    let text = String::from_utf8_lossy(&framed);
    for signature in [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ] {
        assert!(text.contains(signature));
    }
    let sent = with(given.clone(), added);
    let verified = verify(&RequestHead { headers: &sent, ..head }, &lookup, then()).unwrap();
    let Payload::Chunked { signer: Some(signer), trailers: false } = verified.payload else { panic!("not chunked") };
    let decoded = crate::chunked::tests::decode_all(Decoder::new(Some(signer.clone())), &framed, 777).unwrap();
    assert_eq!(decoded.0, body);
    let mut tampered = framed.clone();
    tampered[40_000] ^= 1;
    assert!(crate::chunked::tests::decode_all(Decoder::new(Some(signer)), &tampered, 777).is_err());
}

#[test]
fn clocks_may_differ_by_a_quarter_of_an_hour() {
    let none = HeaderMap::new();
    let method = Method::GET;
    let (raw_path, query) = ("/k", "");
    let head = RequestHead { method: &method, host: HOST, raw_path, query, headers: &none, bucket_in_host: None };
    let now: Timestamp = "2024-02-29T12:00:00Z".parse().unwrap();
    let sent = with(HeaderMap::new(), sign(&head, PayloadToSign::Unsigned, &example(), REGION, now).unwrap());
    let at = |seconds: i64| {
        let now = now + jiff::SignedDuration::from_secs(seconds);
        verify(&RequestHead { headers: &sent, ..head }, &lookup, now).map(|verified| verified.access_key)
    };
    assert!(at(900).is_ok() && at(-900).is_ok());
    assert_eq!(at(901), Err(SignatureError::TimeTooSkewed));
    assert_eq!(at(-901), Err(SignatureError::TimeTooSkewed));
}

#[test]
fn what_is_not_signed_may_not_matter() {
    let given = headers(&[("x-amz-meta-a", "1")]);
    let method = Method::PUT;
    let (raw_path, query) = ("/k", "");
    let head = RequestHead { method: &method, host: HOST, raw_path, query, headers: &given, bucket_in_host: None };
    let added = sign(&head, PayloadToSign::Unsigned, &example(), REGION, then()).unwrap();
    let mut sent = with(given.clone(), added);
    sent.insert("x-amz-acl", HeaderValue::from_static("public-read"));
    let refused = verify(&RequestHead { headers: &sent, ..head }, &lookup, then()).unwrap_err();
    assert_eq!(refused, SignatureError::UnsignedHeader("x-amz-acl".to_owned()));
    let stranger = |_: &str| None;
    sent.remove("x-amz-acl");
    let refused = verify(&RequestHead { headers: &sent, ..head }, &stranger, then()).unwrap_err();
    assert_eq!(refused.code(), "InvalidAccessKeyId");
}
