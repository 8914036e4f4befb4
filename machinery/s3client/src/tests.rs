//! The client against an S3 of a few lines that checks signatures with the server's side of `s3sign`.

use super::*;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Fake {
    objects: BTreeMap<String, Bytes>,
    parts: BTreeMap<usize, Bytes>,
    log: Vec<String>,
    failures: usize,
}

type Shared = Arc<Mutex<Fake>>;

async fn serve(fake: Fake) -> (Client, Shared) {
    let shared = Arc::new(Mutex::new(fake));
    let router = axum::Router::new().fallback(answer).with_state(shared.clone());
    let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), lifecycle::Stop::new()));
    let config = Config { endpoint, access_key: "key".into(), secret_key: "secret".into(), region: "us-east-1".into() };
    (Client::new(config).unwrap(), shared)
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let request_head = s3sign::RequestHead {
        method: &head.method,
        host: head.headers["host"].to_str().unwrap(),
        raw_path: head.uri.path(),
        query: &query,
        headers: &head.headers,
        bucket_in_host: None,
    };
    let lookup = |key: &str| (key == "key").then(|| s3sign::Credentials::new("key", "secret").unwrap());
    let verified = s3sign::verify(&request_head, &lookup, jiff::Timestamp::now());
    assert!(verified.is_ok(), "{verified:?}");
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let path = String::from_utf8(s3sign::decode(head.uri.path())).unwrap();
    let mut fake = shared.lock().unwrap();
    fake.log.push(format!("{} {path}?{query}", head.method));
    let reply =
        |status: u16, body: Body| Response::builder().status(status).header("ETag", "\"e\"").body(body).unwrap();
    if fake.failures > 0 {
        fake.failures -= 1;
        return reply(503, "<Error><Code>SlowDown</Code><Message>later</Message></Error>".into());
    }
    let part = query.strip_prefix("partNumber=").and_then(|rest| rest.split('&').next()?.parse().ok());
    match (head.method, query.as_str()) {
        (Method::PUT, _) if part.is_some() => {
            fake.parts.insert(part.unwrap(), body);
            reply(200, Body::empty())
        }
        (Method::PUT, _) => {
            fake.objects.insert(path, body);
            reply(200, Body::empty())
        }
        (Method::POST, "uploads=") => {
            reply(200, "<InitiateMultipartUploadResult><UploadId>7 a</UploadId></InitiateMultipartUploadResult>".into())
        }
        (Method::POST, "uploadId=7%20a") => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains("<Part><PartNumber>1</PartNumber><ETag>"), "{text}");
            let whole: Vec<u8> = std::mem::take(&mut fake.parts).into_values().flatten().collect();
            fake.objects.insert(path, whole.into());
            reply(200, "<CompleteMultipartUploadResult/>".into())
        }
        (Method::GET, "") if path == "/" => {
            reply(200, "<ListAllMyBucketsResult><Owner/><Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>".into())
        }
        (Method::GET, query) if query.contains("continuation-token=t%2B1") => {
            reply(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".into())
        }
        (Method::GET, query) if query.starts_with("list-type=2") => {
            reply(200, "<ListBucketResult><NextContinuationToken>t+1</NextContinuationToken><Contents><Key>a%2Fb+c</Key><LastModified>2015-01-11T12:53:12.000Z</LastModified><Size>3</Size></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>".into())
        }
        (Method::GET | Method::HEAD, _) => match fake.objects.get(&path) {
            Some(bytes) => {
                let range = head.headers.get("range").map(|range| range.to_str().unwrap().to_owned());
                let bytes = match range.as_deref() {
                    Some("bytes=1-2") => bytes.slice(1..3),
                    _ => bytes.clone(),
                };
                reply(200, bytes.into())
            }
            None => reply(404, "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>".into()),
        },
        (Method::DELETE, _) => {
            fake.objects.remove(&path);
            reply(204, Body::empty())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn objects_come_back_as_they_were_put() {
    let (client, _) = serve(Fake { failures: 1, ..Fake::default() }).await;
    let key = "a b/ü+%2F/~";
    client.put("bucket", key, "text/plain", "bytes").await.unwrap();
    assert_eq!(client.get_bytes("bucket", key).await.unwrap(), "bytes");
    assert_eq!(client.head("bucket", key).await.unwrap().unwrap().bytes, 5);
    let range = client.get("bucket", key, Some(1..=2)).await.unwrap();
    assert_eq!(range.head.bytes, 2);
    client.delete("bucket", key).await.unwrap();
    assert_eq!(client.head("bucket", key).await.unwrap(), None);
    let error = client.get_bytes("bucket", key).await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchKey"));
}

#[tokio::test]
async fn a_small_upload_is_one_put_and_a_large_one_is_multipart() {
    let (client, shared) = serve(Fake::default()).await;
    let mut small = client.upload("b", "small", "x/y");
    small.write(b"one ").await.unwrap();
    small.write(b"two").await.unwrap();
    assert_eq!((small.bytes(), small.multipart_id()), (7, None));
    assert_eq!(small.finish().await.unwrap(), 7);
    assert_eq!(shared.lock().unwrap().log, ["PUT /b/small?"]);

    let content: Vec<u8> = (0..PART_BYTES * 2 + 5).map(|n| (n / 7) as u8).collect();
    let mut large = client.upload("b", "large", "x/y");
    for piece in content.chunks(1_000_003) {
        large.write(piece).await.unwrap();
    }
    assert_eq!(large.multipart_id(), Some("7 a"));
    large.finish().await.unwrap();
    assert!(shared.lock().unwrap().objects["/b/large"] == content);
}

#[tokio::test]
async fn a_part_that_failed_is_sent_again_by_the_next_write() {
    let (client, shared) = serve(Fake::default()).await;
    let content: Vec<u8> = (0..PART_BYTES * 2).map(|n| (n / 11) as u8).collect();
    let (one, two) = content.split_at(PART_BYTES + 1);
    let mut upload = client.upload("b", "k", "x/y");
    shared.lock().unwrap().failures = 1;
    assert!(upload.write(one).await.is_err(), "beginning a multipart upload is not repeated");
    upload.write(two).await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), content.len() as u64);
    assert!(shared.lock().unwrap().objects["/b/k"] == content);
}

#[tokio::test]
async fn calls_that_may_be_repeated_are_a_bounded_number_of_times() {
    let (client, shared) = serve(Fake { failures: usize::MAX, ..Fake::default() }).await;
    let error = client.put("b", "k", "x/y", "v").await.unwrap_err();
    assert_eq!(error.code(), Some("SlowDown"));
    assert_eq!(shared.lock().unwrap().log.len(), 3);
}

#[tokio::test]
async fn listings_are_decoded() {
    let (client, _) = serve(Fake::default()).await;
    assert_eq!(client.list_buckets().await.unwrap(), ["a", "b"]);
    let page = client.list("b", "a/", Some("/"), None).await.unwrap();
    assert_eq!((page.objects[0].key.as_str(), page.objects[0].bytes), ("a/b c", 3));
    assert_eq!((page.prefixes.as_slice(), page.next.as_deref()), (["d/".to_owned()].as_slice(), Some("t+1")));
    assert_eq!(client.list("b", "a/", None, page.next.as_deref()).await.unwrap(), Page::default());
}

#[tokio::test]
async fn a_bucket_is_opened_to_pages() {
    let (client, shared) = serve(Fake::default()).await;
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let rule = CorsRule {
        allowed_origins: list(&["http://a", "http://b"]),
        allowed_methods: list(&["GET"]),
        allowed_headers: list(&["*"]),
        expose_headers: list(&["ETag"]),
        max_age_seconds: None,
    };
    client.put_bucket_cors("b", &[rule]).await.unwrap();
    let body = String::from_utf8(shared.lock().unwrap().objects["/b"].to_vec()).unwrap();
    assert!(body.contains("<CORSConfiguration><CORSRule><AllowedOrigin>http://a</AllowedOrigin><AllowedOrigin>http://b</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"), "{body}");
    assert_eq!(shared.lock().unwrap().log, ["PUT /b?cors="]);
}

#[test]
fn an_endpoint_is_checked_and_a_secret_not_shown() {
    let config = |endpoint: &str| Config {
        endpoint: endpoint.into(),
        access_key: "key".into(),
        secret_key: "hidden".into(),
        region: "r".into(),
    };
    assert!(Client::new(config("http://127.0.0.1:9000/")).is_ok());
    for bad in ["https://s3.example", "127.0.0.1:9000", "http://", "http://a/b"] {
        assert!(matches!(Client::new(config(bad)), Err(S3Error::Endpoint { .. })), "{bad}");
    }
    assert!(!format!("{:?}", config("http://a")).contains("hidden"));
}
