//! Each signature is checked by the side of `s3sign` that servers use.

use super::*;
use crate::operation::Operation;
use crate::picture::PictureKey;
use http::Method;
use http::header::HOST;
use s3sign::{SignatureError, Verified};

const KEY: &str = "pictures/B6C3OuVCIAEfwmjx.jpg";
const NAMED: &str = "http://denisnamespace.ns.viprds.ad.forest";
const ADDRESS: &str = "http://127.0.0.1:9000";

fn now() -> Timestamp {
    "2015-01-11T12:53:12Z".parse().unwrap()
}

fn credentials() -> Credentials {
    Credentials::new("denis@ad.forest", "a-secret").unwrap()
}

fn signer(endpoint: &str, version: SignatureVersion) -> Signer {
    let buckets = vec!["bucket1".parse().unwrap()];
    Signer { endpoint: endpoint.parse().unwrap(), buckets, credentials: credentials(), version }
}

fn operations() -> Vec<Operation> {
    let bucket = || String::from("bucket1");
    let (key, upload_id) = (|| String::from(KEY), || String::from("2~u/p=1+"));
    let content_type = || String::from("image/jpeg");
    vec![
        Operation::Put { bucket: bucket(), content_type: content_type(), size: 35_964 },
        Operation::CreateMultipart { bucket: bucket(), content_type: content_type(), size: 12 << 20 },
        Operation::UploadPart { bucket: bucket(), key: key(), upload_id: upload_id(), part: 2, size: 5 << 20 },
        Operation::Complete { bucket: bucket(), key: key(), upload_id: upload_id() },
        Operation::Abort { bucket: bucket(), key: key(), upload_id: upload_id() },
        Operation::List { bucket: bucket(), continuation_token: Some(String::from("a/b+c==")) },
        Operation::Get { bucket: bucket(), key: key() },
    ]
}

fn sign(signer: &Signer, operation: Operation) -> (Signed, Option<u64>) {
    let request = operation.request(signer.buckets(), |_| Ok(KEY.parse::<PictureKey>().unwrap())).unwrap();
    (signer.sign(&request, now()).unwrap(), request.content_length)
}

/// Checks the request as a server sees it, `length` being the body's.
fn verify(signed: &Signed, length: Option<u64>, at: Timestamp) -> Result<Verified, SignatureError> {
    let url: http::Uri = signed.url.parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &signed.headers {
        headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let host = url.authority().unwrap().as_str();
    headers.insert(HOST, host.parse().unwrap());
    let head = RequestHead {
        method: &signed.method.parse::<Method>().unwrap(),
        host,
        raw_path: url.path(),
        query: url.query().unwrap_or_default(),
        headers: &headers,
        bucket_in_host: host.strip_prefix("bucket1.").map(|_| "bucket1"),
    };
    s3sign::verify(&head, &|key| (key == "denis@ad.forest").then(credentials), at)
}

#[test]
fn every_operation_is_signed_as_a_server_wants_it() {
    for version in [SignatureVersion::V4, SignatureVersion::V2] {
        for endpoint in [NAMED, ADDRESS] {
            let signer = signer(endpoint, version);
            for operation in operations() {
                let (signed, length) = sign(&signer, operation.clone());
                let verified = verify(&signed, length, now());
                let verified =
                    verified.unwrap_or_else(|error| panic!("{version:?} {operation:?}: {error}\n{signed:#?}"));
                assert_eq!(verified.access_key, "denis@ad.forest");
            }
        }
    }
}

#[test]
fn another_bodys_length_breaks_a_v4_signature() {
    let signer = signer(NAMED, SignatureVersion::V4);
    let (signed, length) = sign(&signer, operations().swap_remove(0));
    let longer = length.map(|bytes| bytes + 1);
    assert_eq!(verify(&signed, longer, now()).unwrap_err(), SignatureError::Mismatch);
}

#[test]
fn a_pictures_url_expires() {
    for version in [SignatureVersion::V4, SignatureVersion::V2] {
        let (signed, _) = sign(&signer(NAMED, version), operations().pop().unwrap());
        assert!(signed.headers.is_empty(), "an image sends no headers");
        let late = now() + PICTURE_URL_LIFE + Duration::from_secs(1);
        assert_eq!(verify(&signed, None, late).unwrap_err(), SignatureError::Expired, "{version:?}");
    }
}

#[test]
fn version_2_looks_like_the_article() {
    let (signed, _) = sign(&signer(NAMED, SignatureVersion::V2), operations().swap_remove(0));
    assert_eq!(signed.method, "PUT");
    assert_eq!(signed.url, "http://bucket1.denisnamespace.ns.viprds.ad.forest/pictures/B6C3OuVCIAEfwmjx.jpg");
    assert_eq!(signed.headers["x-amz-date"], "Sun, 11 Jan 2015 12:53:12 UTC");
    assert!(signed.headers["authorization"].starts_with("AWS denis@ad.forest:"));
    assert!(!signed.headers.contains_key("date"), "a browser may not set it");
    let expected = format!("PUT\n\nimage/jpeg\n\nx-amz-date:Sun, 11 Jan 2015 12:53:12 UTC\n/bucket1/{KEY}");
    assert_eq!(signed.string_to_sign.as_deref(), Some(expected.as_str()));
}

#[test]
fn version_4_signs_the_length_and_leaves_the_body_unsigned() {
    let (signed, _) = sign(&signer(ADDRESS, SignatureVersion::V4), operations().swap_remove(0));
    assert_eq!(signed.url, format!("{ADDRESS}/bucket1/{KEY}"));
    assert_eq!(signed.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    let authorization = &signed.headers["authorization"];
    let signed_headers = "SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date";
    assert!(authorization.contains(signed_headers), "{authorization}");
    assert!(!signed.headers.contains_key("content-length") && !signed.headers.contains_key("host"));
    assert!(signed.string_to_sign.unwrap().starts_with("AWS4-HMAC-SHA256\n20150111T125312Z\n20150111/us-east-1/s3/"));
}
