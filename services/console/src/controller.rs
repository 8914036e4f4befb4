//! The controller's Marathon API, as far as the pages need it.

mod certificates;
mod documents;
mod machines;

pub use certificates::{Certificate, Certificates, CertifiedName};
pub use documents::{Action, App, Delay, Deployment, Details, HealthCheckResult, QueueItem, Step, Task, TaskFailure};
pub use machines::{Cluster, Etcd, EtcdMember, Node};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use web::{Client, ClientError, Credentials};

/// Characters of a refusal that are shown.
const REFUSAL_CHARACTERS_MAX: usize = 4000;

/// Reads with the console's token; acts with the caller's.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Without a trailing slash.
    base: String,
    reader: Client,
    /// Shows nothing by itself: each action brings its caller's token.
    actor: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("the controller did not answer")]
    Unreachable { source: ClientError },
    /// The controller's own words.
    #[error("{message}")]
    Refused { status: StatusCode, message: String, deployments: Vec<String> },
    #[error("the controller's answer to {path} is not what the Marathon API promises")]
    Malformed { path: String, source: serde_json::Error },
    #[error("build the call of {path}")]
    Request { path: String, source: http::Error },
}

/// A call that changes something.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: Method,
    /// Below the base, percent-encoded, with its query.
    pub path: String,
    pub body: Option<Value>,
}

#[derive(Deserialize)]
struct Apps {
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct Queue {
    queue: Vec<QueueItem>,
}

#[derive(Deserialize)]
struct Versions {
    versions: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Reasons {
    reasons: Vec<String>,
}

impl Controller {
    pub fn new(base: &str, credentials: Credentials) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { base, reader: Client::new(credentials), actor: Client::default() }
    }

    pub async fn apps(&self) -> Result<Vec<App>, ControllerError> {
        let Apps { apps } = self.read("/v2/apps").await?;
        Ok(apps)
    }

    /// An app, and the same as the controller wrote it.
    pub async fn app(&self, id: &str) -> Result<(App, Value), ControllerError> {
        let path = app_path(id);
        let mut answer: Value = self.read(&path).await?;
        let document = answer.get_mut("app").map(Value::take).unwrap_or_default();
        let app = App::deserialize(&document).map_err(|source| ControllerError::Malformed { path, source })?;
        Ok((app, document))
    }

    /// What Marathon has no word for; empty where the controller is Marathon itself.
    pub async fn details(&self, id: &str) -> Result<Details, ControllerError> {
        let path = app_path(id).replacen("/v2/", "/v1/", 1);
        let details: Option<Details> = none_if_not_found(self.read(&path).await)?;
        let reasons: Option<Reasons> = none_if_not_found(self.read(&format!("{path}/explain")).await)?;
        Ok(Details { reasons: reasons.unwrap_or_default().reasons, ..details.unwrap_or_default() })
    }

    pub async fn versions(&self, id: &str) -> Result<Vec<String>, ControllerError> {
        let Versions { versions } = self.read(&format!("{}/versions", app_path(id))).await?;
        Ok(versions)
    }

    /// The app as it was at a version.
    pub async fn version(&self, id: &str, version: &str) -> Result<Value, ControllerError> {
        self.read(&format!("{}/versions/{}", app_path(id), encoded(version))).await
    }

    pub async fn deployments(&self) -> Result<Vec<Deployment>, ControllerError> {
        self.read("/v2/deployments").await
    }

    /// What waits to be launched; empty where the controller keeps no queue.
    pub async fn queue(&self) -> Result<Vec<QueueItem>, ControllerError> {
        let queue = none_if_not_found(self.read("/v2/queue").await)?;
        Ok(queue.map_or(Vec::new(), |Queue { queue }| queue))
    }

    /// The nodes; `None` where the controller does not tell, as Marathon itself does not.
    pub async fn nodes(&self) -> Result<Option<Vec<Node>>, ControllerError> {
        none_if_not_found(self.read("/v1/nodes").await)
    }

    /// The cluster; `None` on a machine alone.
    pub async fn cluster(&self) -> Result<Option<Cluster>, ControllerError> {
        none_if_not_found(self.read("/v1/cluster").await)
    }

    /// Certificates for apps' names; `None` where the controller does not tell.
    pub async fn certificates(&self) -> Result<Option<Certificates>, ControllerError> {
        none_if_not_found(self.read("/v1/certificates").await)
    }

    /// Makes a call in the name of whoever holds `token`.
    pub async fn act(&self, call: Call, token: Option<&str>) -> Result<(), ControllerError> {
        let Call { method, path, body } = call;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value =
                value.map_err(|source| ControllerError::Request { path: path.clone(), source: source.into() })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = match body {
            None => web::empty_body(),
            Some(body) => {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
                web::full_body(body.to_string())
            }
        };
        let request = request.body(body).map_err(|source| ControllerError::Request { path, source })?;
        let answer = self.actor.fetch(request).await.map_err(|source| ControllerError::Unreachable { source })?;
        if answer.status().is_success() { Ok(()) } else { Err(refusal(&answer)) }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControllerError> {
        let answer = self.reader.get(&format!("{}{path}", self.base)).await;
        let answer = answer.map_err(|source| ControllerError::Unreachable { source })?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        let malformed = |source| ControllerError::Malformed { path: path.to_owned(), source };
        serde_json::from_slice(answer.body()).map_err(malformed)
    }
}

impl Call {
    pub fn scale(id: &str, instances: u32, force: bool) -> Self {
        Self::put(id, force, json!({ "instances": instances }))
    }

    pub fn roll_back(id: &str, version: &str, force: bool) -> Self {
        Self::put(id, force, json!({ "version": version }))
    }

    pub fn restart(id: &str, force: bool) -> Self {
        let path = format!("{}/restart?force={force}", app_path(id));
        Self { method: Method::POST, path, body: None }
    }

    pub fn destroy(id: &str, force: bool) -> Self {
        Self { method: Method::DELETE, path: format!("{}?force={force}", app_path(id)), body: None }
    }

    /// Undoes a deployment, or with `force` leaves everything as it is now.
    pub fn cancel_deployment(id: &str, force: bool) -> Self {
        Self { method: Method::DELETE, path: format!("/v2/deployments/{}?force={force}", encoded(id)), body: None }
    }

    /// Empties a node, and takes it back.
    pub fn drain(node: &str) -> Self {
        Self { method: Method::POST, path: format!("/v1/nodes/{}/drain", encoded(node)), body: None }
    }

    pub fn restore(node: &str) -> Self {
        Self { method: Method::POST, path: format!("/v1/nodes/{}/restore", encoded(node)), body: None }
    }

    fn put(id: &str, force: bool, change: Value) -> Self {
        Self { method: Method::PUT, path: format!("{}?force={force}", app_path(id)), body: Some(change) }
    }
}

/// `/v2/apps/a/b` for the app `/a/b`.
fn app_path(id: &str) -> String {
    let segments: Vec<String> = id.split('/').filter(|segment| !segment.is_empty()).map(encoded).collect();
    format!("/v2/apps/{}", segments.join("/"))
}

/// One path segment.
pub fn encoded(segment: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    /// RFC 3986's unreserved characters stay.
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(segment, SEGMENT).to_string()
}

fn none_if_not_found<T>(answer: Result<T, ControllerError>) -> Result<Option<T>, ControllerError> {
    match answer {
        Err(ControllerError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

fn refusal(answer: &Response<Bytes>) -> ControllerError {
    let status = answer.status();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let message = match body.get("message") {
        Some(Value::String(message)) => message.clone(),
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(answer.body()).into_owned(),
    };
    let message = if message.trim().is_empty() { format!("the controller answered {status}") } else { message };
    let ids = body.get("deployments").and_then(Value::as_array).into_iter().flatten();
    let deployments = ids.filter_map(|entry| entry.get("id")?.as_str().map(str::to_owned)).collect();
    ControllerError::Refused { status, message: message.chars().take(REFUSAL_CHARACTERS_MAX).collect(), deployments }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_paths_without_a_way_out() {
        assert_eq!(app_path("/s3pics"), "/v2/apps/s3pics");
        assert_eq!(app_path("a//b/"), "/v2/apps/a/b");
        assert_eq!(app_path("/a?force=true#x"), "/v2/apps/a%3Fforce%3Dtrue%23x");
        assert_eq!(Call::cancel_deployment("a/b", true).path, "/v2/deployments/a%2Fb?force=true");
    }

    #[test]
    fn a_refusal_keeps_the_controllers_words() {
        let answer =
            |status, body: &str| Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        let locked = refusal(&answer(409, r#"{"message":"App is locked","deployments":[{"id":"d1"}]}"#));
        assert_eq!(locked.to_string(), "App is locked");
        assert!(matches!(locked, ControllerError::Refused { deployments, .. } if deployments == ["d1"]));
        assert_eq!(refusal(&answer(500, "boom")).to_string(), "boom");
        assert_eq!(refusal(&answer(503, "")).to_string(), "the controller answered 503 Service Unavailable");
        assert_eq!(refusal(&answer(422, r#"{"message":{"a":1}}"#)).to_string(), r#"{"a":1}"#);
    }
}
