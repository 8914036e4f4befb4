//! The client against a registry of a few lines. The real ones are in the registry's own tests.

use super::*;
use crate::pack::{Add, ImageBuilder};
use crate::{Digest, ImageStore, Reference, media_type};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{Method, header};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

type Answer = (u16, Vec<(&'static str, String)>, Bytes);

#[derive(Default)]
struct Fake {
    /// By path: what a GET answers.
    answers: BTreeMap<String, Answer>,
    upload: Vec<u8>,
    /// `METHOD path authorized`
    log: Vec<String>,
    /// How many requests fail with 503 before any succeeds.
    failures: usize,
}

type Shared = Arc<Mutex<Fake>>;

async fn serve(fake: Fake) -> (SocketAddr, Shared) {
    let shared = Arc::new(Mutex::new(fake));
    let router = axum::Router::new().fallback(answer).with_state(shared.clone());
    let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), lifecycle::Stop::new()));
    (address, shared)
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut fake = shared.lock().unwrap();
    let path = head.uri.path_and_query().unwrap().as_str().to_owned();
    let authorized = head.headers.contains_key(header::AUTHORIZATION);
    fake.log.push(format!("{} {path} {authorized}", head.method));
    let reply = |status: u16| Response::builder().status(status);
    if fake.failures > 0 {
        fake.failures -= 1;
        return reply(503).body(Body::empty()).unwrap();
    }
    match (head.method, path.as_str()) {
        (Method::POST, "/v2/a/b/blobs/uploads/") => {
            fake.upload.clear();
            reply(202).header("Location", "/v2/a/b/blobs/uploads/7?state=x").body(Body::empty()).unwrap()
        }
        (Method::PATCH, "/v2/a/b/blobs/uploads/7?state=x") => {
            fake.upload.extend_from_slice(&body);
            reply(202).header("Location", "/v2/a/b/blobs/uploads/7?state=y").body(Body::empty()).unwrap()
        }
        (Method::PUT, path) if path.starts_with("/v2/a/b/blobs/uploads/7?state=y&digest=sha256%3A") => {
            let digest = Digest::sha256(&fake.upload);
            assert!(path.ends_with(digest.hex()));
            let bytes = Bytes::from(std::mem::take(&mut fake.upload));
            fake.answers.insert(format!("/v2/a/b/blobs/{digest}"), (200, Vec::new(), bytes));
            reply(201).body(Body::empty()).unwrap()
        }
        (Method::PUT, "/v2/a/b/manifests/1") => {
            let kind = vec![("Content-Type", head.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned())];
            fake.answers.insert(path, (200, kind, body));
            reply(201).body(Body::empty()).unwrap()
        }
        (_, path) => {
            let (status, headers, bytes) = fake.answers.get(path).cloned().unwrap_or((404, Vec::new(), Bytes::new()));
            headers
                .iter()
                .fold(reply(status), |reply, (name, value)| reply.header(*name, value))
                .body(Body::from(bytes))
                .unwrap()
        }
    }
}

fn client() -> RegistryClient {
    RegistryClient::new(Credentials::Basic { user: "u".into(), password: "p".into() })
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let (address, shared) = serve(Fake { failures: 1, ..Fake::default() }).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let additions = vec![Add { source: file, destination: Some("/srv/file".into()) }];
    let image = ImageBuilder { additions, ..ImageBuilder::default() }.build(directory.path()).unwrap();

    let reference: Reference = format!("{address}/a/b:1").parse().unwrap();
    assert_eq!(client().push(&reference, &image.local()).await.unwrap(), image.digest());
    let uploads = |log: &[String]| log.iter().filter(|line| line.starts_with("PATCH")).count();
    assert_eq!(uploads(&shared.lock().unwrap().log), 2);
    client().push(&reference, &image.local()).await.unwrap();
    assert_eq!(uploads(&shared.lock().unwrap().log), 2, "what the registry has is not sent again");

    let store = ImageStore::open(directory.path().join("images")).unwrap();
    let pulled = client().pull(&reference, &store).await.unwrap();
    assert_eq!(pulled.manifest_digest, image.digest());
    let root = store.root(&pulled).await.unwrap();
    assert_eq!(std::fs::read_to_string(root.join("srv/file")).unwrap(), "content");
    assert!(shared.lock().unwrap().log.iter().all(|line| line.ends_with("true")), "credentials are always shown");

    shared.lock().unwrap().log.clear();
    let by_digest = reference.with_digest(image.digest());
    client().pull(&by_digest, &store).await.unwrap();
    assert!(shared.lock().unwrap().log.is_empty(), "what the store holds is not fetched");
    store.keep_only(&Default::default()).await.unwrap();
    assert!(!root.exists() && !store.holds(&image.digest()));
}

#[tokio::test]
async fn a_blob_of_other_bytes_is_refused() {
    let digest = Digest::sha256(b"expected");
    let mut fake = Fake::default();
    fake.answers.insert(format!("/v2/a/b/blobs/{digest}"), (200, Vec::new(), Bytes::from_static(b"something")));
    let (address, _) = serve(fake).await;
    let reference: Reference = format!("{address}/a/b:1").parse().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let outcome = client().blob(&reference, &digest, 100, file.path()).await;
    assert!(matches!(outcome, Err(ClientError::Digest { .. })), "{outcome:?}");
    let outcome = client().blob(&reference, &digest, 3, file.path()).await;
    assert!(matches!(outcome, Err(ClientError::TooLarge { .. })), "{outcome:?}");
}

#[tokio::test]
async fn credentials_are_not_shown_where_a_redirect_leads() {
    let digest = Digest::sha256(b"bytes");
    let mut storage = Fake::default();
    storage.answers.insert("/bucket/key?signed=1".into(), (200, Vec::new(), Bytes::from_static(b"bytes")));
    let (elsewhere, storage) = serve(storage).await;
    let mut fake = Fake::default();
    let location = vec![("Location", format!("http://{elsewhere}/bucket/key?signed=1"))];
    fake.answers.insert(format!("/v2/a/b/blobs/{digest}"), (307, location, Bytes::new()));
    let (address, _) = serve(fake).await;
    let reference: Reference = format!("{address}/a/b:1").parse().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    client().blob(&reference, &digest, 100, file.path()).await.unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"bytes");
    assert_eq!(storage.lock().unwrap().log, ["GET /bucket/key?signed=1 false"]);
}

#[tokio::test]
async fn lists_are_followed_page_by_page() {
    let mut fake = Fake::default();
    let page = |tags: &str| Bytes::from(format!(r#"{{"name":"a/b","tags":{tags}}}"#));
    let next = vec![("Link", "</v2/a/b/tags/list?last=2>; rel=\"next\"".to_owned())];
    fake.answers.insert("/v2/a/b/tags/list".into(), (200, next, page(r#"["1","2"]"#)));
    fake.answers.insert("/v2/a/b/tags/list?last=2".into(), (200, Vec::new(), page("null")));
    let (address, _) = serve(fake).await;
    let tags = client().tags(&address.to_string(), &"a/b".parse().unwrap()).await.unwrap();
    assert_eq!(tags, ["1", "2"]);
}

#[tokio::test]
async fn the_registrys_words_are_kept() {
    let mut fake = Fake::default();
    let body = Bytes::from_static(br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such image"}]}"#);
    fake.answers.insert("/v2/a/b/manifests/1".into(), (404, Vec::new(), body));
    let (address, _) = serve(fake).await;
    let reference: Reference = format!("{address}/a/b:1").parse().unwrap();
    let error = client().manifest(&reference).await.unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains("MANIFEST_UNKNOWN no such image"), "{error}");
    let nowhere = client().manifest(&"a/b:1".parse().unwrap()).await;
    assert!(matches!(nowhere, Err(ClientError::NoRegistry { .. })));
}

#[tokio::test]
async fn of_an_index_the_hosts_image_is_pulled() {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let digest = Digest::sha256(config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{digest}","size":{}}},"layers":[]}}"#,
        media_type::OCI_CONFIG,
        config.len()
    );
    let manifest_digest = Digest::sha256(manifest.as_bytes());
    let host = serde_json::to_string(&crate::host_platform()).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{manifest_digest}","size":{},"platform":{host}}}]}}"#,
        media_type::OCI_MANIFEST,
        manifest.len()
    );
    let kind = |kind: &str| vec![("Content-Type", kind.to_owned())];
    let mut fake = Fake::default();
    fake.answers.insert("/v2/a/b/manifests/1".into(), (200, kind(media_type::OCI_INDEX), index.into()));
    fake.answers
        .insert(format!("/v2/a/b/manifests/{manifest_digest}"), (200, kind(media_type::OCI_MANIFEST), manifest.into()));
    fake.answers.insert(format!("/v2/a/b/blobs/{digest}"), (200, Vec::new(), Bytes::from_static(config)));
    let (address, _) = serve(fake).await;
    let directory = tempfile::tempdir().unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    let pulled = client().pull(&format!("{address}/a/b:1").parse().unwrap(), &store).await.unwrap();
    assert_eq!(pulled.manifest_digest, manifest_digest);
}
