//! The S3 face over a real listener.

#[path = "support/store.rs"]
mod store;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use identity::{Gate, Verifier};
use jiff::{SignedDuration, Timestamp};
use s3sign::v4::{self, ChunkSigner, PayloadToSign};
use s3sign::{RequestHead, chunked, v2};
use std::time::Duration;
use store::{ACCESS_KEY, REGION, SECRET_KEY, Store, credentials, element, elements, header_map};

const EMPTY: &[u8] = b"";

fn bytes(len: usize) -> Bytes {
    (0..len).map(|index| (index ^ (index >> 8)) as u8).collect()
}

async fn with_bucket() -> Store {
    let store = Store::start().await;
    assert_eq!(store.call(Method::PUT, "/bucket1", &[], EMPTY).await.status(), StatusCode::OK);
    store
}

#[tokio::test]
async fn a_bucket_lives_from_creation_to_deletion() {
    let store = with_bucket().await;
    let again = store.call(Method::PUT, "/bucket1", &[], EMPTY).await;
    assert_eq!(again.status(), 200, "as in us-east-1");
    let constraint =
        "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(store.call(Method::PUT, "/bucket2/", &[], constraint).await.status(), 200);
    assert_eq!(store.call(Method::PUT, "/Bad_Name", &[], EMPTY).await.status(), 400);
    let list = store.call(Method::GET, "/", &[], EMPTY).await;
    assert_eq!(elements(list.body(), "Name"), ["bucket1", "bucket2"]);
    assert_eq!(store.call(Method::HEAD, "/bucket1", &[], EMPTY).await.status(), 200);
    let missing = store.call(Method::HEAD, "/bucket9", &[], EMPTY).await;
    assert_eq!((missing.status().as_u16(), missing.body().len()), (404, 0));
    assert!(missing.headers().contains_key("x-amz-request-id"));
    store.call(Method::PUT, "/bucket1/k", &[], "x").await;
    let full = store.call(Method::DELETE, "/bucket1", &[], EMPTY).await;
    assert_eq!((full.status().as_u16(), element(full.body(), "Code")), (409, Some("BucketNotEmpty")));
    assert_eq!(element(full.body(), "Resource"), Some("/bucket1"));
    store.call(Method::DELETE, "/bucket1/k", &[], EMPTY).await;
    assert_eq!(store.call(Method::DELETE, "/bucket1", &[], EMPTY).await.status(), 204);
    assert_eq!(store.call(Method::GET, "/bucket1", &[], EMPTY).await.status(), 404);
    for (query, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    ] {
        let answer = store.call(Method::GET, &format!("/bucket2?{query}"), &[], EMPTY).await;
        assert_eq!((answer.status().as_u16(), element(answer.body(), "Code")), (404, Some(code)));
    }
    for query in ["location", "versioning", "acl"] {
        assert_eq!(store.call(Method::GET, &format!("/bucket2?{query}"), &[], EMPTY).await.status(), 200);
    }
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put_also_after_a_restart() {
    let mut store = with_bucket().await;
    let data = bytes(300_000);
    let headers = [("content-type", "image/jpeg"), ("x-amz-meta-who", "denis"), ("cache-control", "no-store")];
    let put = store.call(Method::PUT, "/bucket1/pictures/a.jpg", &headers, data.clone()).await;
    assert_eq!(put.status(), 200);
    let etag = put.headers()["etag"].clone();
    for _ in 0..2 {
        let get = store.call(Method::GET, "/bucket1/pictures/a.jpg", &[], EMPTY).await;
        assert_eq!(get.body(), &data);
        assert_eq!(get.headers()["etag"], etag);
        for (name, value) in headers {
            assert_eq!(get.headers()[name], value);
        }
        assert!(s3sign::parse_date(get.headers()["last-modified"].to_str().unwrap()).is_some());
        let head = store.call(Method::HEAD, "/bucket1/pictures/a.jpg", &[], EMPTY).await;
        assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.body().len()), ("300000", 0));
        store = Store::start_in(store.stop().await, |_| {}).await;
    }
    assert_eq!(store.call(Method::DELETE, "/bucket1/pictures/a.jpg", &[], EMPTY).await.status(), 204);
    assert_eq!(store.call(Method::DELETE, "/bucket1/pictures/a.jpg", &[], EMPTY).await.status(), 204);
    let gone = store.call(Method::GET, "/bucket1/pictures/a.jpg", &[], EMPTY).await;
    assert_eq!((gone.status().as_u16(), element(gone.body(), "Code")), (404, Some("NoSuchKey")));
}

#[tokio::test]
async fn keys_mean_what_their_bytes_say() {
    let store = with_bucket().await;
    let keys =
        ["a b", "a+b", "a%2Bb", "//", "/lead", "x//y", "../up", "é\u{1F6A2}", "dir/", "?&=#", "<&>\"'", "line\nbreak"];
    for key in keys {
        let path = format!("/bucket1/{}", s3sign::encode_path(key));
        assert_eq!(store.call(Method::PUT, &path, &[], key.to_owned()).await.status(), 200, "{key:?}");
    }
    for key in keys {
        let path = format!("/bucket1/{}", s3sign::encode_path(key));
        assert_eq!(store.call(Method::GET, &path, &[], EMPTY).await.body(), key.as_bytes(), "{key:?}");
    }
    let list = store.call(Method::GET, "/bucket1?list-type=2&encoding-type=url", &[], EMPTY).await;
    let mut expected: Vec<String> = keys.iter().map(s3sign::encode_path).collect();
    let mut listed: Vec<String> = elements(list.body(), "Key").into_iter().map(str::to_owned).collect();
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);
    let raw_plus = store.call(Method::GET, "/bucket1/a+b", &[], EMPTY).await;
    assert_eq!(raw_plus.body(), "a+b", "a plus in a path is a plus");
    let long = format!("/bucket1/{}", "k".repeat(1025));
    assert_eq!(element(store.call(Method::PUT, &long, &[], "x").await.body(), "Code"), Some("KeyTooLongError"));
}

#[tokio::test]
async fn ranges_and_conditions_follow_rfc_9110() {
    let store = with_bucket().await;
    let data = bytes(200_000);
    let put = store.call(Method::PUT, "/bucket1/k", &[], data.clone()).await;
    let etag = put.headers()["etag"].to_str().unwrap().to_owned();
    let get = async |headers: &[(&str, &str)]| store.call(Method::GET, "/bucket1/k", headers, EMPTY).await;
    for (range, expected, content_range) in [
        ("bytes=0-9", &data[..10], "bytes 0-9/200000"),
        ("bytes=131000-140000", &data[131_000..140_001], "bytes 131000-140000/200000"),
        ("bytes=-5", &data[199_995..], "bytes 199995-199999/200000"),
        ("bytes=199999-", &data[199_999..], "bytes 199999-199999/200000"),
    ] {
        let part = get(&[("range", range)]).await;
        assert_eq!(part.status(), 206);
        assert_eq!(part.body(), expected);
        assert_eq!(part.headers()["content-range"], content_range);
    }
    let beyond = get(&[("range", "bytes=200000-")]).await;
    assert_eq!((beyond.status().as_u16(), element(beyond.body(), "Code")), (416, Some("InvalidRange")));
    assert_eq!(beyond.headers()["content-range"], "bytes */200000");
    let unmodified = get(&[("if-none-match", &etag)]).await;
    assert_eq!((unmodified.status().as_u16(), unmodified.body().len()), (304, 0));
    assert_eq!(get(&[("if-match", "\"other\"")]).await.status(), 412);
    assert_eq!(get(&[("if-match", &etag)]).await.status(), 200);
    assert_eq!(get(&[("if-modified-since", "Sun, 11 Jan 2015 12:53:12 GMT")]).await.status(), 200);
    assert_eq!(get(&[("if-unmodified-since", "Sun, 11 Jan 2015 12:53:12 GMT")]).await.status(), 412);
    let overridden = "/bucket1/k?response-content-type=text%2Fplain&response-content-disposition=attachment";
    let overridden = store.call(Method::GET, overridden, &[], EMPTY).await;
    assert_eq!(overridden.headers()["content-type"], "text/plain");
    assert_eq!(overridden.headers()["content-disposition"], "attachment");
    let put = async |key: &str, headers: &[(&str, &str)]| {
        store.call(Method::PUT, key, headers, "new").await.status().as_u16()
    };
    assert_eq!(put("/bucket1/k", &[("if-none-match", "*")]).await, 412);
    assert_eq!(put("/bucket1/new", &[("if-none-match", "*")]).await, 200);
    assert_eq!(put("/bucket1/k", &[("if-match", "\"other\"")]).await, 412);
    assert_eq!(put("/bucket1/k", &[("if-none-match", &etag)]).await, 412);
    assert_eq!(put("/bucket1/absent", &[("if-match", &etag)]).await, 404);
    assert_eq!(put("/bucket1/k", &[("if-match", &etag)]).await, 200);
}

#[tokio::test]
async fn listings_page_and_fold() {
    let store = with_bucket().await;
    for key in ["a", "b/1", "b/2", "b/3", "c", "d/1"] {
        store.call(Method::PUT, &format!("/bucket1/{key}"), &[], key.to_owned()).await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/bucket1?list-type=2&delimiter=%2F&max-keys=2{token}");
        let page = store.call(Method::GET, &path, &[], EMPTY).await;
        assert_eq!(element(page.body(), "KeyCount"), Some("2"));
        seen.extend(elements(page.body(), "Key").into_iter().map(str::to_owned));
        let folded = elements(page.body(), "CommonPrefixes");
        seen.extend(folded.iter().map(|folded| element(folded.as_bytes(), "Prefix").unwrap().to_owned()));
        match element(page.body(), "NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b/", "c", "d/"]);
    let page = store.call(Method::GET, "/bucket1?delimiter=/&max-keys=2", &[], EMPTY).await;
    assert_eq!(element(page.body(), "NextMarker"), Some("b/"));
    let page = store.call(Method::GET, "/bucket1?delimiter=/&marker=b/", &[], EMPTY).await;
    assert_eq!(elements(page.body(), "Key"), ["c"]);
    let page = store.call(Method::GET, "/bucket1?prefix=b/&marker=b/1", &[], EMPTY).await;
    assert_eq!(elements(page.body(), "Key"), ["b/2", "b/3"]);
    let page = store.call(Method::GET, "/bucket1?list-type=2&start-after=c&fetch-owner=true", &[], EMPTY).await;
    assert_eq!(elements(page.body(), "Key"), ["d/1"]);
    assert_eq!(element(page.body(), "DisplayName"), Some(ACCESS_KEY));
    let page = store.call(Method::GET, "/bucket1?max-keys=0", &[], EMPTY).await;
    assert_eq!(element(page.body(), "IsTruncated"), Some("false"));
    let versions = store.call(Method::GET, "/bucket1?versions", &[], EMPTY).await;
    assert_eq!(elements(versions.body(), "VersionId").len(), 6);
    let request =
        "<Delete><Object><Key>a</Key></Object><Object><Key>b/1</Key></Object><Object><Key>none</Key></Object></Delete>";
    let deleted = store.call(Method::POST, "/bucket1?delete", &[], request).await;
    assert_eq!(elements(deleted.body(), "Key"), ["a", "b/1", "none"]);
    let page = store.call(Method::GET, "/bucket1", &[], EMPTY).await;
    assert_eq!(elements(page.body(), "Key"), ["b/2", "b/3", "c", "d/1"]);
}

#[tokio::test]
async fn a_multipart_upload_becomes_one_object() {
    let store = with_bucket().await;
    let begun = store.call(Method::POST, "/bucket1/big?uploads", &[("content-type", "video/mp4")], EMPTY).await;
    let upload = element(begun.body(), "UploadId").unwrap().to_owned();
    let data = bytes(5 << 20);
    let mut parts = String::new();
    for (number, part) in [(1, data.clone()), (2, data.slice(..100_000))] {
        let path = format!("/bucket1/big?partNumber={number}&uploadId={upload}");
        let put = store.call(Method::PUT, &path, &[], part).await;
        assert_eq!(put.status(), 200);
        let etag = put.headers()["etag"].to_str().unwrap();
        parts += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let uploads = store.call(Method::GET, "/bucket1?uploads", &[], EMPTY).await;
    assert_eq!(elements(uploads.body(), "UploadId"), [upload.as_str()]);
    let listed = store.call(Method::GET, &format!("/bucket1/big?uploadId={upload}&max-parts=1"), &[], EMPTY).await;
    assert_eq!(
        (elements(listed.body(), "Size"), element(listed.body(), "IsTruncated")),
        (vec!["5242880"], Some("true"))
    );
    let complete = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let path = format!("/bucket1/big?uploadId={upload}");
    let wrong = complete.replace("<ETag>\"", "<ETag>\"0");
    assert_eq!(element(store.call(Method::POST, &path, &[], wrong).await.body(), "Code"), Some("InvalidPart"));
    let done = store.call(Method::POST, &path, &[], complete.clone()).await;
    assert_eq!(done.status(), 200);
    let again = store.call(Method::POST, &path, &[], complete).await;
    assert_eq!(again.body(), done.body(), "a client that missed the answer may ask again");
    assert!(element(done.body(), "ETag").unwrap().ends_with("-2&quot;"));
    let get = store.call(Method::GET, "/bucket1/big", &[], EMPTY).await;
    assert_eq!(get.headers()["content-type"], "video/mp4");
    assert_eq!(get.body(), &[&data[..], &data[..100_000]].concat());
    let second = store.call(Method::GET, "/bucket1/big?partNumber=2", &[], EMPTY).await;
    assert_eq!((second.status().as_u16(), second.body().len()), (206, 100_000));
    assert_eq!(second.headers()["x-amz-mp-parts-count"], "2");
    let aborted = store.call(Method::DELETE, &path, &[], EMPTY).await;
    assert_eq!(element(aborted.body(), "Code"), Some("NoSuchUpload"));
    let begun = store.call(Method::POST, "/bucket1/copy?uploads", &[], EMPTY).await;
    let upload = element(begun.body(), "UploadId").unwrap().to_owned();
    let path = format!("/bucket1/copy?partNumber=1&uploadId={upload}");
    let source = [("x-amz-copy-source", "/bucket1/big"), ("x-amz-copy-source-range", "bytes=5242870-5242889")];
    let copied = store.call(Method::PUT, &path, &source, EMPTY).await;
    let etag = element(copied.body(), "ETag").unwrap();
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    store.call(Method::POST, &format!("/bucket1/copy?uploadId={upload}"), &[], parts).await;
    let copy = store.call(Method::GET, "/bucket1/copy", &[], EMPTY).await;
    assert_eq!(copy.body(), &[&data[5_242_870..], &data[..10]].concat());
    let begun = store.call(Method::POST, "/bucket1/other?uploads", &[], EMPTY).await;
    let path = format!("/bucket1/other?uploadId={}", element(begun.body(), "UploadId").unwrap());
    assert_eq!(store.call(Method::DELETE, &path, &[], EMPTY).await.status(), 204);
    assert_eq!(store.call(Method::GET, &path, &[], EMPTY).await.status(), 404);
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_what_describes_it() {
    let store = with_bucket().await;
    let headers = [("content-type", "a/b"), ("x-amz-meta-m", "1")];
    store.call(Method::PUT, "/bucket1/s%20rc", &headers, bytes(200_000)).await;
    let copy = store.call(Method::PUT, "/bucket1/kept", &[("x-amz-copy-source", "bucket1/s%20rc")], EMPTY).await;
    assert_eq!(copy.status(), 200);
    let replace =
        [("x-amz-copy-source", "/bucket1/s%20rc"), ("x-amz-metadata-directive", "REPLACE"), ("content-type", "c/d")];
    store.call(Method::PUT, "/bucket1/replaced", &replace, EMPTY).await;
    store.call(Method::DELETE, "/bucket1/s%20rc", &[], EMPTY).await;
    for (key, content_type, meta) in [("kept", "a/b", true), ("replaced", "c/d", false)] {
        let get = store.call(Method::GET, &format!("/bucket1/{key}"), &[], EMPTY).await;
        assert_eq!(get.body(), &bytes(200_000));
        assert_eq!(
            (get.headers()["content-type"].to_str().unwrap(), get.headers().contains_key("x-amz-meta-m")),
            (content_type, meta)
        );
    }
    let onto_itself = [("x-amz-copy-source", "/bucket1/kept")];
    assert_eq!(store.call(Method::PUT, "/bucket1/kept", &onto_itself, EMPTY).await.status(), 400);
    let missing = [("x-amz-copy-source", "/bucket1/none")];
    assert_eq!(store.call(Method::PUT, "/bucket1/x", &missing, EMPTY).await.status(), 404);
}

#[tokio::test]
async fn bodies_that_are_not_what_their_head_says_are_refused() {
    let store = with_bucket().await;
    let code = async |headers: &[(&str, &str)], body: &str| {
        let answer = store.call(Method::PUT, "/bucket1/k", headers, body.to_owned()).await;
        element(answer.body(), "Code").map(str::to_owned)
    };
    assert_eq!(code(&[("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")], "hello").await, None);
    assert_eq!(code(&[("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")], "other").await.as_deref(), Some("BadDigest"));
    assert_eq!(code(&[("content-md5", "short")], "hello").await.as_deref(), Some("InvalidDigest"));
    assert_eq!(code(&[("x-amz-checksum-crc32", "NhCmhg==")], "hello").await, None);
    assert_eq!(code(&[("x-amz-checksum-crc32", "NhCmhg==")], "other").await.as_deref(), Some("BadDigest"));
    assert_eq!(code(&[("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=")], "hello").await, None);
    assert_eq!(
        code(&[("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=")], "x").await.as_deref(),
        Some("BadDigest")
    );
    let other = PayloadToSign::hash_of(b"another body");
    let answer = store.call_as(ACCESS_KEY, Method::PUT, "/bucket1/k", &[], "hello", other).await;
    assert_eq!(element(answer.body(), "Code"), Some("XAmzContentSHA256Mismatch"));
    let get = store.call(Method::GET, "/bucket1/k", &[("x-amz-checksum-mode", "ENABLED")], EMPTY).await;
    assert_eq!(get.body(), "hello");
    assert_eq!(get.headers()["x-amz-checksum-sha1"], "qvTGHdzF6KLavt4PO0gs2a6pQ00=");
}

#[tokio::test]
async fn chunked_bodies_are_unframed_and_their_signatures_and_trailers_checked() {
    let store = with_bucket().await;
    let data = bytes(200_000);
    let crc = [("x-amz-checksum-crc32", "AAAAAA==")];
    for (payload, trailer) in [
        (PayloadToSign::SignedChunks, false),
        (PayloadToSign::SignedChunksAndTrailer, true),
        (PayloadToSign::UnsignedChunksAndTrailer, true),
    ] {
        for tampered in [false, true] {
            let mut headers = vec![("x-amz-decoded-content-length", "200000"), ("content-encoding", "aws-chunked")];
            if trailer {
                headers.push(("x-amz-trailer", "x-amz-checksum-crc32"));
            }
            let request = store.signed(ACCESS_KEY, Method::PUT, "/bucket1/chunked", &headers, payload);
            let head = request.headers_ref().unwrap();
            let text = |name: &str| head[name].to_str().unwrap().to_owned();
            let signer = ChunkSigner::after(&text("authorization"), &text("x-amz-date"), SECRET_KEY);
            let signer = signer.filter(|_| payload != PayloadToSign::UnsignedChunksAndTrailer);
            let right = [("x-amz-checksum-crc32", crc32(&data))];
            let right: Vec<(&str, &str)> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let trailers = match (trailer, tampered) {
                (false, _) => &[][..],
                (true, false) => &right,
                (true, true) => &crc,
            };
            let mut framed = chunked::encode(&[&data[..65_536], &data[65_536..]], trailers, signer);
            if tampered {
                framed[1000] ^= 1;
            }
            let answer = store.send(request.body(web::full_body(framed)).unwrap()).await;
            assert_eq!(answer.status().is_success(), !tampered, "{payload:?} {:?}", answer.body());
        }
        let get = store.call(Method::GET, "/bucket1/chunked", &[], EMPTY).await;
        assert_eq!(get.body(), &data);
        assert!(!get.headers().contains_key("content-encoding"));
    }
}

fn crc32(data: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(crc32fast::hash(data).to_be_bytes())
}

#[tokio::test]
async fn only_those_with_a_right_signature_get_in_and_only_to_their_buckets() {
    let store = with_bucket().await;
    let code = |answer: &http::Response<Bytes>| element(answer.body(), "Code").map(str::to_owned);
    let anonymous = store.plain(Method::GET, "localhost", "/bucket1", HeaderMap::new(), EMPTY).await;
    assert_eq!((anonymous.status().as_u16(), code(&anonymous).as_deref()), (403, Some("AccessDenied")));
    let stranger = store.call_as("stranger", Method::GET, "/", &[], EMPTY, PayloadToSign::Unsigned).await;
    assert_eq!(code(&stranger).as_deref(), Some("InvalidAccessKeyId"));
    let guest = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        store.call_as("guest", method, path, headers, EMPTY, PayloadToSign::Unsigned).await
    };
    assert_eq!(guest(Method::GET, "/bucket1", &[]).await.status(), 403);
    assert_eq!(guest(Method::PUT, "/others", &[]).await.status(), 403);
    assert_eq!(guest(Method::PUT, "/guests", &[]).await.status(), 200);
    store.call(Method::PUT, "/bucket1/k", &[], "secret").await;
    let copy = guest(Method::PUT, "/guests/k", &[("x-amz-copy-source", "/bucket1/k")]).await;
    assert_eq!(copy.status(), 403, "a copy is a read");
    assert_eq!(elements(guest(Method::GET, "/", &[]).await.body(), "Name"), ["guests"]);
    let taken = store.call(Method::PUT, "/guests", &[], EMPTY).await;
    assert_eq!(code(&taken).as_deref(), Some("BucketAlreadyExists"));
}

#[tokio::test]
async fn presigned_urls_of_both_versions_work_without_other_credentials_until_they_end() {
    let store = with_bucket().await;
    store.call(Method::PUT, "/bucket1/k", &[], "hello").await;
    let host = store.address.to_string();
    let (none, method) = (HeaderMap::new(), Method::GET);
    let head = RequestHead {
        method: &method,
        host: &host,
        raw_path: "/bucket1/k",
        query: "",
        headers: &none,
        bucket_in_host: None,
    };
    let (me, now) = (credentials(ACCESS_KEY), Timestamp::now());
    let hour = Duration::from_secs(3600);
    let v4_query = v4::presign(&head, hour, &me, REGION, now).unwrap();
    let v4_past = v4::presign(&head, hour, &me, REGION, now - SignedDuration::from_hours(2)).unwrap();
    let v2_query = v2::presign(&head, now + SignedDuration::from_hours(1), &me);
    let v2_past = v2::presign(&head, now - SignedDuration::from_hours(1), &me);
    for (query, status) in [(&v4_query, 200), (&v4_past, 403), (&v2_query, 200), (&v2_past, 403)] {
        let get = store.plain(Method::GET, &host, &format!("/bucket1/k?{query}"), HeaderMap::new(), EMPTY).await;
        assert_eq!(get.status(), status, "{query}");
        let put = store.plain(Method::PUT, &host, &format!("/bucket1/k?{query}"), HeaderMap::new(), "x").await;
        assert_eq!(put.status(), 403, "a URL to read is not one to write");
    }
    // After a redirect clients send along the credentials they had for another server.
    let foreign = header_map(&[("authorization", "Bearer token")]);
    let get = store.plain(Method::GET, &host, &format!("/bucket1/k?{v4_query}"), foreign, EMPTY).await;
    assert_eq!(get.body(), "hello");
}

/// The article's page: preflight, then PUT with V2 in the header, the bucket in the host, and a date in "UTC".
#[tokio::test]
async fn the_article_s_page_uploads_a_picture_from_another_origin() {
    let store = with_bucket().await;
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
                 <AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader>\
                 <ExposeHeader>x-amz-meta-*</ExposeHeader></CORSRule></CORSConfiguration>";
    assert_eq!(store.call(Method::PUT, "/bucket1?cors", &[], rules).await.status(), 200);
    let (host, path, origin) =
        ("bucket1.s3.localhost:80", "/pictures/B6C3OuVCIAEfwmj.jpg", "http://s3pics.apps.localhost");
    let ask = [
        ("origin", origin),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,content-type,x-amz-date"),
    ];
    let preflight = store.plain(Method::OPTIONS, host, path, header_map(&ask), EMPTY).await;
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-headers"], "authorization, content-type, x-amz-date");
    let date = s3sign::http_date(Timestamp::now()).replace("GMT", "UTC");
    let mut headers = header_map(&[("content-type", "binary/octet-stream"), ("x-amz-date", &date)]);
    let method = Method::PUT;
    let bucket_in_host = Some("bucket1");
    let head = RequestHead { method: &method, host, raw_path: path, query: "", headers: &headers, bucket_in_host };
    let added = v2::sign_header(&head, &credentials(ACCESS_KEY), Timestamp::now()).unwrap();
    headers.extend(added);
    headers.extend(header_map(&[("origin", origin)]));
    let put = store.plain(Method::PUT, host, path, headers.clone(), "a picture").await;
    assert_eq!(put.status(), 200);
    assert_eq!(put.headers()["access-control-allow-origin"], "*");
    assert_eq!(put.headers()["access-control-expose-headers"], "x-amz-meta-*");
    let get = store.call(Method::GET, &format!("/bucket1{path}"), &[], EMPTY).await;
    assert_eq!(get.body(), "a picture");
    headers.insert("x-amz-date", "Sun, 11 Jan 2015 12:53:12 UTC".parse().unwrap());
    let old = store.plain(Method::PUT, host, path, headers, "a picture").await;
    assert_eq!((old.status().as_u16(), element(old.body(), "Code")), (403, Some("RequestTimeTooSkewed")));
    assert_eq!(old.headers()["access-control-allow-origin"], "*", "a page may read why it was refused");
    assert!(old.headers().contains_key("vary"));
    assert_eq!(store.call(Method::DELETE, "/bucket1?cors", &[], EMPTY).await.status(), 204);
    assert_eq!(store.plain(Method::OPTIONS, host, path, header_map(&ask), EMPTY).await.status(), 403);
}

#[tokio::test]
async fn an_open_store_serves_everybody_on_loopback_and_no_foreign_page() {
    let store = Store::start_in(tempfile::tempdir().unwrap(), |config| config.open = true).await;
    for (path, body) in [("/bucket1", ""), ("/bucket1/k", "hello")] {
        assert_eq!(store.plain(Method::PUT, "127.0.0.1", path, HeaderMap::new(), body).await.status(), 200);
    }
    assert_eq!(store.plain(Method::GET, "bucket1.s3.localhost", "/k", HeaderMap::new(), EMPTY).await.body(), "hello");
    let rebound = store.plain(Method::GET, "evil.example", "/bucket1/k", HeaderMap::new(), EMPTY).await;
    assert_eq!(rebound.status(), 403);
    let everything = "<Delete><Object><Key>k</Key></Object></Delete>";
    for (origin, status) in [
        ("http://evil.example", 403),
        ("http://203.0.113.7", 403),
        ("null", 403),
        ("http://s3pics.localhost:8181", 200),
        ("http://127.0.0.1:9000", 200),
    ] {
        let origin = header_map(&[("origin", origin)]);
        let answer = store.plain(Method::POST, "127.0.0.1", "/bucket1?delete", origin.clone(), everything).await;
        assert_eq!(answer.status(), status, "{origin:?}: a page can post without asking first");
    }
    let mut config = store::config(store.dir.path());
    (config.open, config.listen) = (true, "0.0.0.0:0".parse().unwrap());
    let refused = objects::start(config, lifecycle::Stop::new()).await;
    assert!(matches!(refused, Err(objects::Error::OpenBeyondLoopback(_))));
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own_behind_a_gate() {
    let store = Store::start_in(tempfile::tempdir().unwrap(), |config| {
        let gate = Gate::new(Verifier::Open, "objects", |_, _, _| true);
        config.metrics = Some(objects::MetricsListener { listen: "127.0.0.1:0".parse().unwrap(), gate });
    })
    .await;
    store.call(Method::PUT, "/metrics", &[], EMPTY).await;
    let bucket = store.call(Method::GET, "/metrics", &[], EMPTY).await;
    assert_eq!(element(bucket.body(), "Name"), Some("metrics"), "on the S3 port it is a bucket like any other");
    let answer = store.client.get(&format!("http://{}/metrics", store.metrics.unwrap())).await.unwrap();
    let text = std::str::from_utf8(answer.body()).unwrap();
    assert!(text.contains("objects_requests_total{operation=\"CreateBucket\",code=\"200\"} 1"), "{text}");
}

#[tokio::test]
async fn a_refused_upload_is_told_why_even_if_it_does_not_wait_to_be_asked() {
    let store = Store::start().await;
    let answer = store.call(Method::PUT, "/missing/k", &[], bytes(200_000)).await;
    assert_eq!((answer.status().as_u16(), element(answer.body(), "Code")), (404, Some("NoSuchBucket")));
}
