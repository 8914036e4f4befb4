//! A failed call in the words of a person at a terminal: what the API said, and what can be done about it.

use http::StatusCode;
use identity::AuthorityError;
use serde_json::Value;
use std::error::Error;
use std::io;
use std::path::Path;
use web::ClientError;

/// `name` is what was called: a URL, or the path of a socket.
pub fn explain(error: ClientError, name: &str) -> anyhow::Error {
    match &error {
        ClientError::Status { status, body, .. } => match refused(*status, body, name) {
            Some(message) => anyhow::Error::msg(message),
            None => anyhow::Error::new(error).context("ask the platform"),
        },
        ClientError::Call { source, .. } if source.is_connect() => match io_cause(source).map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => owner_only(name),
            Some(cause) => anyhow::anyhow!("nothing answers at {name} ({cause}); is `roadstead up` running there?"),
            None => anyhow::Error::new(error).context("ask the platform"),
        },
        _ => anyhow::Error::new(error).context("ask the platform"),
    }
}

/// A data directory whose authority cannot be read.
pub fn unreadable(error: AuthorityError, data: &Path) -> anyhow::Error {
    match io_cause(&error).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => owner_only(&data.display().to_string()),
        _ => error.into(),
    }
}

fn owner_only(name: &str) -> anyhow::Error {
    anyhow::anyhow!("{name} is for the platform's owner only: use sudo, or name the platform with --server and --token")
}

fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// `None` when the body is not of the API's form.
fn refused(status: StatusCode, body: &str, name: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let message = body["message"].as_str()?;
    let locks: Vec<&str> =
        body["deployments"].as_array().into_iter().flatten().filter_map(|d| d["id"].as_str()).collect();
    Some(match status {
        StatusCode::CONFLICT if !locks.is_empty() => {
            format!(
                "the app is locked by deployment {}; wait for its end, or override it with --force",
                locks.join(", ")
            )
        }
        StatusCode::UNAUTHORIZED => {
            format!("{name} wants a token: give one with --token or ROADSTEAD_TOKEN (`roadstead token show` prints it)")
        }
        _ => format!("{message}{}", details(&body["details"])),
    })
}

/// Marathon's `details`: a line per field.
fn details(details: &Value) -> String {
    let mut text = String::new();
    for detail in details.as_array().into_iter().flatten() {
        let path = detail["path"].as_str().unwrap_or_default();
        for error in detail["errors"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n  {path}: {}", error.as_str().unwrap_or_default()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_app_names_its_deployment_and_the_way_over_it() {
        let body = r#"{"message":"App is locked by one or more deployments.","deployments":[{"id":"d-1"}]}"#;
        let message = refused(StatusCode::CONFLICT, body, "x").unwrap();
        assert!(message.contains("deployment d-1") && message.contains("--force"), "{message}");
    }

    #[test]
    fn each_wrong_field_has_a_line() {
        let body =
            r#"{"message":"Object is not valid","details":[{"path":"/cpus","errors":["too few","not a number"]}]}"#;
        let message = refused(StatusCode::UNPROCESSABLE_ENTITY, body, "x").unwrap();
        assert_eq!(message, "Object is not valid\n  /cpus: too few\n  /cpus: not a number");
    }

    #[test]
    fn a_stranger_s_answer_is_shown_as_it_is() {
        assert_eq!(refused(StatusCode::BAD_GATEWAY, "<html>", "x"), None);
        assert_eq!(refused(StatusCode::BAD_GATEWAY, "{}", "x"), None);
    }
}
