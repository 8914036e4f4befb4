//! Any Marathon, from 0.7 on: its list, and one app.

use crate::plan::{Endpoint, Reading, Task};
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use web::Client;

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub struct Marathon {
    /// `http://IP:8080/v2/apps`
    endpoint: String,
    pub client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum MarathonError {
    #[error("Marathon")]
    Call(#[from] web::ClientError),
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} answered something that is not Marathon's JSON: {what}")]
    Garbage { url: String, what: &'static str },
}

impl Marathon {
    pub fn new(endpoint: &str, client: Client) -> Self {
        Self { endpoint: endpoint.to_owned(), client }
    }

    /// `/v2/events` beside the apps.
    pub fn events_url(&self) -> String {
        let base = self.endpoint.strip_suffix("/apps").unwrap_or(&self.endpoint);
        format!("{base}/events")
    }

    /// The ids of all apps, without their leading slash, in Marathon's order.
    pub async fn list(&self) -> Result<Vec<String>, MarathonError> {
        let url = format!("{}/", self.endpoint);
        let response = self.client.get(&url).await?;
        if response.status() != StatusCode::OK {
            return Err(MarathonError::Status { url, status: response.status() });
        }
        let document: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let ids = list_of(&document);
        ids.ok_or(MarathonError::Garbage { url, what: "no list of apps, each with its id" })
    }

    pub async fn app(&self, app: &str) -> Result<Reading, MarathonError> {
        let url = format!("{}/{}", self.endpoint, utf8_percent_encode(app, PATH));
        let response = self.client.get(&url).await?;
        let document: Option<Value> = serde_json::from_slice(response.body()).ok();
        match (response.status(), document) {
            (StatusCode::OK, Some(document)) => {
                app_of(&document, app).ok_or(MarathonError::Garbage { url, what: "no app with its tasks" })
            }
            (StatusCode::NOT_FOUND, Some(document)) if document["message"].is_string() => Ok(Reading::Absent),
            (StatusCode::OK | StatusCode::NOT_FOUND, _) => Err(MarathonError::Garbage { url, what: "not JSON" }),
            (status, _) => Err(MarathonError::Status { url, status }),
        }
    }
}

fn list_of(document: &Value) -> Option<Vec<String>> {
    let id = |app: &Value| Some(app["id"].as_str()?.trim_matches('/').to_owned());
    document["apps"].as_array()?.iter().map(id).collect()
}

/// `None` unless everything that is looked at is there and of its type.
fn app_of(document: &Value, id: &str) -> Option<Reading> {
    let app = document.get("app")?;
    if app["id"].as_str()?.trim_matches('/') != id {
        return None;
    }
    let instances = app["instances"].as_u64()?;
    let checks = app["healthChecks"].as_array().map_or(0, Vec::len);
    let tasks = app["tasks"].as_array()?.iter().map(|task| task_of(task, checks)).collect::<Option<_>>()?;
    Some(Reading::App { instances, tasks })
}

fn task_of(task: &Value, checks: usize) -> Option<Task> {
    let host = task["host"].as_str()?;
    let port = match &task["ports"] {
        Value::Null => None,
        Value::Array(ports) => match ports.first() {
            Some(port) => Some(u16::try_from(port.as_u64()?).ok()?),
            None => None,
        },
        _ => return None,
    };
    // Marathon has named the state since 1.x; before, a task that runs has a start.
    let is_running = match &task["state"] {
        Value::String(state) => state == "TASK_RUNNING",
        _ => task["startedAt"].is_string(),
    };
    let results = task["healthCheckResults"].as_array().map_or(&[][..], Vec::as_slice);
    let is_healthy = results.len() >= checks && results.iter().all(|result| result["alive"] == true);
    Some(Task { endpoint: port.and_then(|port| Endpoint::new(host, port)), is_ready: is_running && is_healthy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(task: Value) -> Value {
        json!({ "app": { "id": "/s3pics", "instances": 1, "healthChecks": [{}], "tasks": [task] } })
    }

    fn ready(task: Value) -> Option<bool> {
        match app_of(&app(task), "s3pics")? {
            Reading::App { tasks, .. } => Some(tasks[0].is_ready && tasks[0].endpoint.is_some()),
            _ => None,
        }
    }

    #[test]
    fn only_running_healthy_tasks_with_a_port_are_ready() {
        let alive = json!([{ "alive": true }]);
        let started = "2015-01-11T12:44:48.000Z";
        let task = |results: &Value| json!({ "host": "h", "ports": [31000], "startedAt": started, "healthCheckResults": results });
        assert_eq!(ready(task(&alive)), Some(true));
        assert_eq!(ready(task(&json!([{ "alive": false }]))), Some(false));
        assert_eq!(ready(task(&json!([null]))), Some(false), "0.7 has null until the first result");
        assert_eq!(ready(task(&Value::Null)), Some(false));
        let staged = json!({ "host": "h", "ports": [31000], "startedAt": null, "healthCheckResults": alive });
        assert_eq!(ready(staged), Some(false));
        let killing = json!({ "host": "h", "ports": [1], "startedAt": started, "state": "TASK_KILLING", "healthCheckResults": alive });
        assert_eq!(ready(killing), Some(false));
        let portless = json!({ "host": "h", "ports": [], "startedAt": started, "healthCheckResults": alive });
        assert_eq!(ready(portless), Some(false));
    }

    #[test]
    fn what_is_not_an_app_is_not_read_as_one() {
        for document in [
            json!({}),
            json!({ "message": "boom" }),
            json!({ "app": { "id": "/s3pics" } }),
            json!({ "app": { "id": "/s3pics", "instances": 1 } }),
            json!({ "app": { "id": "/other", "instances": 1, "tasks": [] } }),
            json!({ "app": { "id": "/s3pics", "instances": 1, "tasks": [{}] } }),
            app(json!({ "host": "h", "ports": ["31000"] })),
            app(json!({ "host": "h", "ports": [70000] })),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(app_of(&document, "s3pics"), None, "{document}");
        }
        assert_eq!(list_of(&json!({ "apps": [{ "id": "/a/b" }] })), Some(vec!["a/b".to_owned()]));
        assert_eq!(list_of(&json!({ "apps": [{ "id": "/a" }, {}] })), None);
        assert_eq!(list_of(&json!({ "message": "boom" })), None);
    }
}
