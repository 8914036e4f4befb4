//! A store of its own for each test, and a client that signs.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use jiff::Timestamp;
use lifecycle::Stop;
use objects::{Config, Credential};
use s3sign::v4::{self, PayloadToSign};
use s3sign::{Credentials, RequestHead};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

pub const ACCESS_KEY: &str = "denis@ad.forest";
pub const SECRET_KEY: &str = "a secret of many words";
pub const REGION: &str = "us-east-1";

pub struct Store {
    pub address: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub dir: TempDir,
    pub client: web::Client,
    stop: Stop,
    finished: tokio::task::JoinHandle<()>,
}

pub fn config(data: &Path) -> Config {
    let credential = |access_key: &str, buckets: Option<Vec<String>>| Credential {
        access_key: access_key.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        buckets,
    };
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: data.to_owned(),
        domains: vec!["s3.localhost".to_owned()],
        credentials: vec![credential(ACCESS_KEY, None), credential("guest", Some(vec!["guests".to_owned()]))],
        open: false,
        metrics: None,
    }
}

impl Store {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), |_| {}).await
    }

    pub async fn start_in(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(dir.path());
        change(&mut config);
        let stop = Stop::new();
        let started = objects::start(config, stop.clone()).await.unwrap();
        let (address, metrics) = (started.address("").unwrap(), started.address("metrics"));
        let finished = tokio::spawn(async move { started.finished().await.unwrap() });
        Self { address, metrics, dir, client: web::Client::default(), stop, finished }
    }

    /// Stops the store and hands back its directory.
    pub async fn stop(self) -> TempDir {
        self.stop.request();
        self.finished.await.unwrap();
        self.dir
    }

    /// Sends a request signed with V4 under the address as Host.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let body = body.into();
        let payload = PayloadToSign::hash_of(&body);
        self.call_as(ACCESS_KEY, method, path, headers, body, payload).await
    }

    pub async fn call_as(
        &self,
        access_key: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        payload: PayloadToSign,
    ) -> Response<Bytes> {
        let request = self.signed(access_key, method, path, headers, payload);
        self.send(request.body(web::full_body(body.into())).unwrap()).await
    }

    pub fn signed(
        &self,
        access_key: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        payload: PayloadToSign,
    ) -> http::request::Builder {
        let host = self.address.to_string();
        let headers = header_map(headers);
        let (raw_path, query) = path.split_once('?').unwrap_or((path, ""));
        let head =
            RequestHead { method: &method, host: &host, raw_path, query, headers: &headers, bucket_in_host: None };
        let added = v4::sign(&head, payload, &credentials(access_key), REGION, Timestamp::now()).unwrap();
        let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
        let all = request.headers_mut().unwrap();
        all.extend(headers);
        all.extend(added);
        request
    }

    /// Sends a request as it is, to this store whatever its Host.
    pub async fn send(&self, request: Request<web::Body>) -> Response<Bytes> {
        self.client.fetch(request).await.unwrap()
    }

    /// An unsigned request under another host.
    pub async fn plain(
        &self,
        method: Method,
        host: &str,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let all = request.headers_mut().unwrap();
        all.extend(headers);
        all.insert(HOST, HeaderValue::try_from(host).unwrap());
        self.send(request.body(web::full_body(body.into())).unwrap()).await
    }
}

pub fn credentials(access_key: &str) -> Credentials {
    Credentials::new(access_key, SECRET_KEY).unwrap()
}

pub fn header_map(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect()
}

/// The text of the first element of that name.
pub fn element<'a>(xml: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(xml).ok()?;
    let start = text.find(&format!("<{name}>"))? + name.len() + 2;
    let end = text[start..].find(&format!("</{name}>"))?;
    Some(&text[start..start + end])
}

/// The texts of all elements of that name.
pub fn elements<'a>(xml: &'a [u8], name: &str) -> Vec<&'a str> {
    let text = std::str::from_utf8(xml).unwrap();
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
}
