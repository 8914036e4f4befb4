//! A registry over the embedded store and our own object storage, all on real sockets and a temporary directory.

#![allow(dead_code)] // each test target uses a part of it

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use identity::{Role, Token, Verifier};
use lifecycle::Stop;
use oci::{Digest, RegistryClient};
use registry::Graces;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use web::Credentials;

pub const BUCKET: &str = "images";
/// How long a condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Platform {
    pub directory: Arc<tempfile::TempDir>,
    pub address: SocketAddr,
    pub s3: s3client::Client,
    pub admin: Token,
    pub viewer: Token,
    pub edge: Token,
    embedded: Option<Arc<store::Embedded>>,
    stop: Stop,
    started: Vec<lifecycle::Started>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }

    /// The code of the error; empty when the answer is none.
    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(Graces::default()).await
    }

    pub async fn start_with(graces: Graces) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), graces).await
    }

    pub async fn start_in(directory: Arc<tempfile::TempDir>, graces: Graces) -> Self {
        let store = Arc::new(store::Embedded::open(directory.path().join("store")).await.unwrap());
        Self { embedded: Some(store.clone()), ..Self::start_on(store, directory, graces).await }
    }

    /// On any store.
    pub async fn start_on(store: Arc<dyn Store>, directory: Arc<tempfile::TempDir>, graces: Graces) -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let stop = Stop::new();
        let objects = objects::Config {
            listen: any,
            data: directory.path().join("objects"),
            domains: Vec::new(),
            credentials: vec![objects::Credential {
                access_key: "registry".into(),
                secret_key: "secret".into(),
                buckets: None,
            }],
            open: false,
            metrics: None,
        };
        let objects = objects::start(objects, stop.clone()).await.unwrap();
        let s3 = s3client::Config {
            endpoint: format!("http://{}", objects.address("").unwrap()),
            access_key: "registry".into(),
            secret_key: "secret".into(),
            region: "us-east-1".into(),
        };
        let [admin, viewer, edge] = [(); 3].map(|()| Token::generate().unwrap());
        let accepted =
            vec![admin.accepted_as(Role::Admin), viewer.accepted_as(Role::Viewer), edge.accepted_as(Role::Edge)];
        let config = registry::Config {
            listen: any,
            store,
            s3: s3.clone(),
            bucket: BUCKET.into(),
            verifier: Verifier::Tokens(accepted),
            graces,
        };
        let registry = registry::start(config, stop.clone()).await.unwrap();
        let address = registry.address("").unwrap();
        let s3 = s3client::Client::new(s3).unwrap();
        let started = vec![registry, objects];
        let platform = Self { directory, address, s3, admin, viewer, edge, embedded: None, stop, started };
        platform
            .eventually("the bucket is there", async || platform.s3.list(BUCKET, "", None, None).await.is_ok())
            .await;
        platform
    }

    /// Ends everything, and begins anew on the same directory.
    pub async fn restart(self, graces: Graces) -> Self {
        let directory = self.directory.clone();
        self.end().await;
        Self::start_in(directory, graces).await
    }

    pub async fn end(self) {
        self.stop.request();
        for started in self.started {
            started.finished().await.unwrap();
        }
        if let Some(store) = self.embedded {
            store.close().await;
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let path: &Path = self.directory.path();
        path.join(name)
    }

    pub fn client(&self) -> RegistryClient {
        RegistryClient::new(self.credentials())
    }

    pub fn credentials(&self) -> Credentials {
        Credentials::Basic { user: "any".into(), password: self.admin.reveal().into() }
    }

    pub async fn call_as(
        &self,
        credentials: Credentials,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let uri = if path.starts_with("http://") { path.to_owned() } else { format!("http://{}{path}", self.address) };
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(web::full_body(body)).unwrap();
        let response: Response<Bytes> = web::Client::new(credentials).fetch(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.call_as(self.credentials(), method.parse().unwrap(), path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    /// Uploads a blob as one POST and one PUT.
    pub async fn upload(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let begun = self.call("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(begun.status, 202);
        let path = format!("{}?digest={digest}", begun.header("location"));
        let done = self.call("PUT", &path, &[], bytes.to_vec()).await;
        assert_eq!(done.status, 201, "{:?}", done.body);
        digest
    }

    /// Uploads an image of one layer under a tag; its manifest and the manifest's digest come back.
    pub async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> (String, Digest) {
        let manifest = self.image_manifest(repository, layer, "").await;
        let put = self.put_manifest(repository, tag, &manifest).await;
        assert_eq!(put.status, 201, "{:?}", put.body);
        let digest = Digest::sha256(manifest.as_bytes());
        (manifest, digest)
    }

    /// Uploads a layer and a configuration, and writes a manifest of them, with `extra` fields.
    pub async fn image_manifest(&self, repository: &str, layer: &[u8], extra: &str) -> String {
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let layer_digest = self.upload(repository, layer).await;
        let config_digest = self.upload(repository, config).await;
        format!(
            r#"{{ "schemaVersion": 2, "mediaType": "{}",{extra} "config": {{"mediaType":"{}","digest":"{config_digest}","size":{}}}, "layers": [{{"mediaType":"{}","digest":"{layer_digest}","size":{}}}] }}"#,
            oci::media_type::OCI_MANIFEST,
            oci::media_type::OCI_CONFIG,
            config.len(),
            oci::media_type::OCI_LAYER_GZIP,
            layer.len(),
        )
    }

    pub async fn put_manifest(&self, repository: &str, version: &str, manifest: &str) -> Answer {
        let headers = [("content-type", oci::media_type::OCI_MANIFEST)];
        self.call("PUT", &format!("/v2/{repository}/manifests/{version}"), &headers, manifest.to_owned()).await
    }

    /// The keys of all objects in the registry's bucket.
    pub async fn objects(&self) -> Vec<String> {
        let page = self.s3.list(BUCKET, "", None, None).await.unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }

    /// An object's bytes, read past the registry.
    pub async fn object(&self, key: &str) -> Bytes {
        let object = self.s3.get(BUCKET, key, None).await.unwrap();
        object.body.collect().await.unwrap().to_bytes()
    }

    pub async fn eventually(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < deadline, "still waiting: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
