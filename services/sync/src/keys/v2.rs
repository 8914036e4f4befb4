//! etcd's v2 API, as a client: plain HTTP under `/v2/keys`. A member that is not the leader may answer 307, and a path with
//! doubled slashes 301; both are followed with the same method and body.

use super::{Entry, KeyChange, Keys, KeysError};
use async_trait::async_trait;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use web::{Client, Credentials, full_body};

/// Redirects one request follows.
const REDIRECTS_MAX: usize = 5;
/// Directories inside each other that are read.
const DEPTH_MAX: usize = 64;
/// etcd's error "Key not found".
const KEY_NOT_FOUND: u64 = 100;

/// What stands for itself in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub struct V2 {
    /// `http://IP:4001/v2`
    endpoint: String,
    client: Client,
    /// For redirects to another address, which gets no credentials.
    anonymous: Client,
}

type Bytes = Vec<u8>;

impl V2 {
    pub fn new(endpoint: &str, credentials: Credentials) -> Self {
        Self { endpoint: endpoint.to_owned(), client: Client::new(credentials), anonymous: Client::default() }
    }

    async fn call(
        &self,
        method: Method,
        key: &str,
        query: &str,
        form: Option<String>,
    ) -> Result<(String, Response<Bytes>), KeysError> {
        let first = format!("{}/keys{}{query}", self.endpoint, utf8_percent_encode(key, PATH));
        let home = address(&first)?;
        let mut target = home.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = Request::builder().method(method.clone()).uri(target.clone());
            if form.is_some() {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            }
            let body = full_body(form.clone().unwrap_or_default());
            let request = request.body(body).map_err(|_| KeysError::Address { url: target.to_string() })?;
            let client = if target.authority() == home.authority() { &self.client } else { &self.anonymous };
            let response = client.fetch(request).await?;
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match (response.status(), location) {
                (StatusCode::TEMPORARY_REDIRECT | StatusCode::MOVED_PERMANENTLY, Some(location)) => {
                    target = resolved(&target, location)?;
                }
                _ => return Ok((target.to_string(), response.map(|body| body.to_vec()))),
            }
        }
        Err(KeysError::Redirects { url: first })
    }
}

fn address(url: &str) -> Result<Uri, KeysError> {
    let uri: Uri = url.parse().map_err(|_| KeysError::Address { url: url.to_owned() })?;
    if uri.scheme_str() == Some("http") && uri.authority().is_some() {
        Ok(uri)
    } else {
        Err(KeysError::Address { url: url.to_owned() })
    }
}

/// A `Location` is absolute, or a path on the same address.
fn resolved(base: &Uri, location: &str) -> Result<Uri, KeysError> {
    match base.authority() {
        Some(authority) if location.starts_with('/') && !location.starts_with("//") => {
            address(&format!("http://{authority}{location}"))
        }
        _ => address(location),
    }
}

#[async_trait]
impl Keys for V2 {
    async fn list(&self, path: &str) -> Result<Vec<Entry>, KeysError> {
        let (url, response) = self.call(Method::GET, path, "?recursive=true", None).await?;
        let document: Result<Value, _> = serde_json::from_slice(response.body());
        match (response.status(), document) {
            (StatusCode::OK, Ok(document)) => {
                let mut entries = Vec::new();
                if let Some(node) = document.get("node") {
                    collect(node, true, DEPTH_MAX, &mut entries);
                }
                Ok(entries)
            }
            (StatusCode::OK, Err(source)) => Err(KeysError::Json { url, source }),
            // A server without the v2 API answers 404 as well, with other words.
            (StatusCode::NOT_FOUND, Ok(error)) if error["errorCode"] == KEY_NOT_FOUND => Ok(Vec::new()),
            _ => Err(refused(url, &response)),
        }
    }

    async fn change(&self, changes: &[KeyChange]) -> Vec<Result<(), KeysError>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(self.change_one(change).await);
        }
        outcomes
    }
}

impl V2 {
    async fn change_one(&self, change: &KeyChange) -> Result<(), KeysError> {
        let (url, response) = match change {
            KeyChange::Put { key, value } => {
                let form = form_urlencoded::Serializer::new(String::new()).append_pair("value", value).finish();
                self.call(Method::PUT, key, "", Some(form)).await?
            }
            KeyChange::Delete { key } => self.call(Method::DELETE, key, "", None).await?,
        };
        let is_gone = || {
            let error: Result<Value, _> = serde_json::from_slice(response.body());
            error.is_ok_and(|error| error["errorCode"] == KEY_NOT_FOUND)
        };
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => Ok(()),
            StatusCode::NOT_FOUND if matches!(change, KeyChange::Delete { .. }) && is_gone() => Ok(()),
            _ => Err(refused(url, &response)),
        }
    }
}

/// The leaves of a tree of nodes.
fn collect(node: &Value, is_root: bool, depth_left: usize, entries: &mut Vec<Entry>) {
    let children = node["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    if let (true, Some(key), Some(value)) = (!is_root, node["key"].as_str(), node["value"].as_str()) {
        entries.push(Entry { key: key.to_owned(), value: Some(value.to_owned()) });
    } else if let (true, true, Some(key)) = (!is_root, children.is_empty(), node["key"].as_str()) {
        entries.push(Entry { key: key.to_owned(), value: None });
    }
    if depth_left > 0 {
        children.iter().for_each(|child| collect(child, false, depth_left - 1, entries));
    }
}

fn refused(url: String, response: &Response<Bytes>) -> KeysError {
    let body = String::from_utf8_lossy(response.body()).trim().to_owned();
    KeysError::Status { url, status: response.status(), body }
}

#[cfg(test)]
mod tests;
