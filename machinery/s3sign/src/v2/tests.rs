//! Known answers are Amazon's: "Signing and authenticating REST requests (Signature Version 2)".

use super::*;
use crate::{Credentials, RequestHead, SignatureError, verify};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

/// Method, bucket in the host, path, query, headers, signature.
type Case<'a> = (Method, Option<&'a str>, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

fn example() -> Credentials {
    Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").unwrap()
}

fn lookup(access_key: &str) -> Option<Credentials> {
    Some(example()).filter(|credentials| credentials.access_key() == access_key)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

#[test]
fn amazon_s_header_examples_are_reproduced_and_accepted() {
    let upload = [
        ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
        ("x-amz-acl", "public-read"),
        ("content-type", "application/x-download"),
        ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
        ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
        ("x-amz-meta-filechecksum", "0x02661779"),
        ("x-amz-meta-checksumalgorithm", "crc32"),
        ("content-disposition", "attachment; filename=database.dat"),
        ("content-encoding", "gzip"),
        ("content-length", "5913339"),
    ];
    let john = Some("johnsmith");
    #[rustfmt::skip]
    let cases: [Case; 7] = [
        (Method::GET, john, "/photos/puppy.jpg", "", &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")], "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        (Method::PUT, john, "/photos/puppy.jpg", "", &[("date", "Tue, 27 Mar 2007 21:15:45 +0000"), ("content-type", "image/jpeg"), ("content-length", "94328")], "MyyxeRY7whkBe+bq8fHCL/2kKUg="),
        (Method::GET, john, "/", "prefix=photos&max-keys=50&marker=puppy", &[("date", "Tue, 27 Mar 2007 19:42:41 +0000")], "htDYFYduRNen8P9ZfE/s9SuKy0U="),
        (Method::GET, john, "/", "acl", &[("date", "Tue, 27 Mar 2007 19:44:46 +0000")], "c2WLPFtWHVgbEmeEG93a4cG37dM="),
        (Method::PUT, Some("static.johnsmith.net"), "/db-backup.dat.gz", "", &upload, "ilyl83RwaSoYIEdixDQcA4OnAnc="),
        (Method::GET, None, "/", "", &[("date", "Wed, 28 Mar 2007 01:29:59 +0000")], "qGdzdERIC03wnaRNKh6OqZehG9s="),
        (Method::GET, None, "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", "", &[("date", "Wed, 28 Mar 2007 01:49:49 +0000")], "DNEZGsoieTZ92F3bUfSPQcbGmlM="),
    ];
    for (method, bucket_in_host, raw_path, query, given, signature) in cases {
        let mut headers = headers(given);
        let now = crate::parse_date(headers["date"].to_str().unwrap()).unwrap();
        let head = RequestHead { method: &method, host: "s3", raw_path, query, headers: &headers, bucket_in_host };
        let added = sign_header(&head, &example(), now).unwrap();
        let expected = format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}");
        assert_eq!(added.last().unwrap().1, expected.as_str(), "{method} {raw_path}?{query}");
        headers.extend(added);
        let head = RequestHead { method: &method, host: "s3", raw_path, query, headers: &headers, bucket_in_host };
        assert!(verify(&head, &lookup, now).is_ok());
    }
}

#[test]
fn amazon_s_presigned_example_is_reproduced_and_ends_when_it_says() {
    let (none, method) = (HeaderMap::new(), Method::GET);
    let (raw_path, bucket_in_host) = ("/photos/puppy.jpg", Some("johnsmith"));
    let head = RequestHead { method: &method, host: "s3", raw_path, query: "", headers: &none, bucket_in_host };
    let expires_at = Timestamp::from_second(1_175_139_620).unwrap();
    let query = presign(&head, expires_at, &example());
    assert_eq!(
        query,
        "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1175139620&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"
    );
    let at = |second| {
        let now = Timestamp::from_second(second).unwrap();
        verify(&RequestHead { query: &query, ..head }, &lookup, now).map(|verified| verified.access_key)
    };
    assert!(at(1_175_139_620).is_ok());
    assert_eq!(at(1_175_139_621), Err(SignatureError::Expired));
}

/// The upload of the article: the key holds `@` and `.`, the bucket is in the host, the date ends in "UTC".
#[test]
fn the_article_s_upload_is_accepted() {
    let credentials = Credentials::new("denis@ad.forest", "a secret").unwrap();
    let method = Method::PUT;
    let mut headers =
        headers(&[("content-type", "binary/octet-stream"), ("x-amz-date", "Sun, 11 Jan 2015 12:53:12 UTC")]);
    let host = "bucket1.denisnamespace.ns.viprds.ad.forest:80";
    let raw_path = "/pictures/B6C3OuVCIAEfwmj.jpg";
    let now: Timestamp = "2015-01-11T12:53:40Z".parse().unwrap();
    let bucket_in_host = Some("bucket1");
    let head = RequestHead { method: &method, host, raw_path, query: "", headers: &headers, bucket_in_host };
    let added = sign_header(&head, &credentials, now).unwrap();
    assert_eq!(added.len(), 1, "x-amz-date stands for Date");
    headers.extend(added);
    let head = RequestHead { method: &method, host, raw_path, query: "", headers: &headers, bucket_in_host };
    let find = |key: &str| Some(credentials.clone()).filter(|_| key == "denis@ad.forest");
    assert_eq!(verify(&head, &find, now).unwrap().access_key, "denis@ad.forest");
    let elsewhere = RequestHead { bucket_in_host: Some("bucket2"), ..head };
    assert_eq!(verify(&elsewhere, &find, now).unwrap_err(), SignatureError::Mismatch);
    let later: Timestamp = "2015-01-11T13:09:00Z".parse().unwrap();
    assert_eq!(verify(&head, &find, later).unwrap_err(), SignatureError::TimeTooSkewed);
}

#[test]
fn emc_s_headers_are_signed_and_subresources_with_an_empty_value_verify_either_way() {
    let method = Method::PUT;
    let date = "Sun, 11 Jan 2015 12:53:12 GMT";
    let now: Timestamp = "2015-01-11T12:53:12Z".parse().unwrap();
    let mut headers = headers(&[("date", date), ("x-emc-namespace", "denisnamespace")]);
    let (host, raw_path, query) = ("s3", "/bucket1", "cors=&uploads");
    let head = RequestHead { method: &method, host, raw_path, query, headers: &headers, bucket_in_host: None };
    let text = String::from_utf8(canonical::string_to_sign(&head, date, canonical::Spelling::default()));
    assert_eq!(
        text.unwrap(),
        "PUT\n\n\nSun, 11 Jan 2015 12:53:12 GMT\nx-emc-namespace:denisnamespace\n/bucket1?cors&uploads"
    );
    let added = sign_header(&head, &example(), now).unwrap();
    headers.extend(added);
    for query in ["cors=&uploads", "cors&uploads"] {
        let head = RequestHead { method: &method, host, raw_path, query, headers: &headers, bucket_in_host: None };
        assert!(verify(&head, &lookup, now).is_ok());
    }
    let slash =
        RequestHead { method: &method, host, raw_path: "/bucket1/", query, headers: &headers, bucket_in_host: None };
    assert!(verify(&slash, &lookup, now).is_err(), "another path");
    headers.insert("x-emc-namespace", HeaderValue::from_static("another"));
    let head = RequestHead { method: &method, host, raw_path, query, headers: &headers, bucket_in_host: None };
    assert!(verify(&head, &lookup, now).is_err());
}

/// botocore signs `/bucket/` and sends `/bucket`.
#[test]
fn a_bucket_without_its_slash_may_be_signed_with_it() {
    let (none, method) = (HeaderMap::new(), Method::PUT);
    let now: Timestamp = "2015-01-11T12:53:12Z".parse().unwrap();
    let signed = RequestHead {
        method: &method,
        host: "s3",
        raw_path: "/bucket1/",
        query: "",
        headers: &none,
        bucket_in_host: None,
    };
    let headers: HeaderMap = sign_header(&signed, &example(), now).unwrap().into_iter().collect();
    let accepted = |raw_path| verify(&RequestHead { raw_path, headers: &headers, ..signed }, &lookup, now).is_ok();
    assert!(accepted("/bucket1") && accepted("/bucket1/"));
    assert!(!accepted("/bucket1/k") && !accepted("/bucket1//") && !accepted("/bucket2"));
}
