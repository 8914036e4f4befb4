//! What a tripped breaker answers, and whom it tells.
//!
//! `{"Type": "response", "Action": {"StatusCode", "ContentType", "Body"}}`, `{"Type": "redirect", "Action": {"URL",
//! "PreservePath"}}`, `{"Type": "webhook", "Action": {"URL", "Method", "Headers", "Form", "Body"}}`; each may also be a
//! string that holds such an object. A body is base64 if it can be read so, else the text itself, or an object as JSON.

use crate::answer::Answer;
use crate::effect::Webhook;
use crate::headers::{is_name, is_value};
use crate::spec::{Fields, SpecError};
use crate::url::check_absolute;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Bytes of a body, and of everything in a webhook.
const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub enum Fallback {
    Response(Answer),
    Redirect { url: String, preserve_path: bool },
}

impl Fallback {
    pub fn read(fields: &mut Fields) -> Result<Self, SpecError> {
        let Some((kind, mut action)) = read_action(fields, "Fallback")? else {
            return Err(fields.error("Fallback", "is missing"));
        };
        match kind.as_str() {
            "response" => {
                let status = action.bounded("StatusCode", 200, 599)?;
                let status = status.ok_or_else(|| action.error("StatusCode", "is missing"))? as u16;
                let content_type = action.text("ContentType")?;
                if !is_value(&content_type) {
                    return Err(action.error("ContentType", "cannot be a header's value"));
                }
                let body = read_body(&mut action)?;
                let answer = Answer { status, body, ..Answer::default() };
                let plain = if content_type.is_empty() { "text/plain; charset=utf-8" } else { &content_type };
                Ok(Self::Response(answer.with("Content-Type", plain)))
            }
            "redirect" => {
                let url = action.required_text("URL")?;
                check_absolute("Fallback.Action.URL", &url)?;
                Ok(Self::Redirect { url, preserve_path: action.flag("PreservePath")? })
            }
            other => {
                let message = format!("expected response or redirect, found {other:?}");
                Err(fields.error("Fallback.Type", message))
            }
        }
    }

    pub fn answer(&self, target: &str) -> Answer {
        match self {
            Self::Response(answer) => answer.clone(),
            Self::Redirect { url, preserve_path: false } => Answer::redirect(302, url.clone()),
            Self::Redirect { url, preserve_path: true } => {
                let path = target.split('?').next().unwrap_or_default();
                Answer::redirect(302, format!("{}{path}", url.trim_end_matches('/')))
            }
        }
    }
}

pub fn read_webhook(fields: &mut Fields, name: &'static str) -> Result<Option<Webhook>, SpecError> {
    let Some((kind, mut action)) = read_action(fields, name)? else { return Ok(None) };
    if kind != "webhook" {
        return Err(fields.error(name, format!("expected the type webhook, found {kind:?}")));
    }
    let url = action.required_text("URL")?;
    check_absolute(&format!("{name}.Action.URL"), &url)?;
    let method = action.required_text("Method")?;
    if !is_name(&method) {
        return Err(action.error("Method", format!("{method:?} is no method")));
    }
    let mut headers = Vec::new();
    for (header, value) in read_lists(&mut action, "Headers")? {
        if !is_name(&header) || !is_value(&value) {
            return Err(action.error("Headers", format!("{header:?}: {value:?} is no header")));
        }
        headers.push((header, value));
    }
    let form = read_lists(&mut action, "Form")?;
    let mut body = read_body(&mut action)?;
    if !form.is_empty() {
        body = encode_form(&form).into_bytes();
        headers.retain(|(header, _)| !header.eq_ignore_ascii_case("Content-Type"));
        headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
    }
    Ok(Some(Webhook { method, url, headers, body }))
}

/// The type of an action, and its fields; none when nothing or an empty string is there.
fn read_action(fields: &mut Fields, name: &'static str) -> Result<Option<(String, Fields)>, SpecError> {
    let value = match fields.take(name) {
        None => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(&text)
            .map_err(|wrong| fields.error(name, format!("no JSON in the string: {wrong}")))?,
        Some(value) => value,
    };
    let path = format!("{name}.");
    let mut outer = Fields::of(&value, &path)?;
    let kind = outer.required_text("Type")?;
    let action = outer.object("Action")?.ok_or_else(|| outer.error("Action", "is missing"))?;
    Ok(Some((kind, action)))
}

fn read_body(action: &mut Fields) -> Result<Vec<u8>, SpecError> {
    let body = match action.take("Body") {
        None => Vec::new(),
        Some(Value::String(text)) => STANDARD.decode(&text).unwrap_or(text.into_bytes()),
        Some(object @ Value::Object(_)) => object.to_string().into_bytes(),
        Some(other) => return Err(action.error("Body", format!("expected a string or an object, found {other}"))),
    };
    if body.len() > BODY_BYTES_MAX {
        return Err(action.error("Body", format!("more than {BODY_BYTES_MAX} bytes")));
    }
    Ok(body)
}

/// Go's `map[string][]string`, one pair for each value.
fn read_lists(action: &mut Fields, name: &'static str) -> Result<Vec<(String, String)>, SpecError> {
    let mut pairs = Vec::new();
    for (key, values) in action.map(name)? {
        let values = values.as_array().ok_or_else(|| action.error(name, format!("{key}: expected a list")))?;
        for value in values {
            let value = value.as_str().ok_or_else(|| action.error(name, format!("{key}: expected strings")))?;
            pairs.push((key.clone(), value.to_owned()));
        }
    }
    Ok(pairs)
}

/// application/x-www-form-urlencoded, as Go's `url.Values.Encode`: sorted by key.
fn encode_form(pairs: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let encoded = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let byte = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pair = |(key, value): &&(String, String)| format!("{}={}", encoded(key), encoded(value));
    sorted.iter().map(pair).collect::<Vec<_>>().join("&")
}
