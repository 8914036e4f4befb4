//! `roadstead events`: Marathon's event stream, a line each.

use super::app::Common;
use super::output::text;
use anyhow::Context;
use http_body_util::BodyExt;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Arguments {
    /// Only this kind, e.g. status_update_event (repeatable)
    #[arg(long = "type", value_name = "EVENT")]
    types: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// The longest event a line may hold.
const EVENT_BYTES_MAX: usize = 16 << 20;

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let api = arguments.common.connection.api()?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for kind in &arguments.types {
        query.append_pair("event_type", kind);
    }
    let mut body = api.open(&format!("/v2/events?{}", query.finish()), "text/event-stream").await?;
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        pending.extend_from_slice(&frame.context("read the events")?.into_data().unwrap_or_default());
        anyhow::ensure!(pending.len() <= EVENT_BYTES_MAX, "an event is longer than {EVENT_BYTES_MAX} bytes");
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(data) = line.trim_end().strip_prefix("data:") {
                tell(&arguments.common, data.trim_start())?;
            }
        }
    }
    Ok(())
}

fn tell(common: &Common, data: &str) -> anyhow::Result<()> {
    let event: Value = serde_json::from_str(data).context("an event is not JSON")?;
    common.output.tell(&line(&event), &event)
}

/// When, what, and of whom; then what is said of it.
fn line(event: &Value) -> String {
    let mut words = vec![text(&event["timestamp"]), format!("{:<28}", text(&event["eventType"]))];
    let app = if event["appId"].is_null() { &event["appDefinition"]["id"] } else { &event["appId"] };
    words.extend([app, &event["taskId"], &event["taskStatus"]].map(text));
    words.push(text(if event["plan"]["id"].is_null() { &event["id"] } else { &event["plan"]["id"] }));
    let actions = event["currentStep"]["actions"].as_array().into_iter().flatten();
    words.extend(actions.map(|action| format!("{} {}", text(&action["action"]), text(&action["app"]))));
    match &event["alive"] {
        Value::Bool(true) => words.push("healthy".into()),
        Value::Bool(false) => words.push("not healthy".into()),
        _ => {}
    }
    words.push(text(&event["message"]));
    words.retain(|word| !word.is_empty());
    words.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line() {
        let event = json!({
            "eventType": "status_update_event", "timestamp": "T", "appId": "/web", "taskId": "web.1",
            "taskStatus": "TASK_FAILED", "message": "exited with status 3",
        });
        assert_eq!(line(&event), "T  status_update_event           /web  web.1  TASK_FAILED  exited with status 3");
        let step = json!({ "actions": [{ "action": "ScaleApplication", "app": "/web" }] });
        let event =
            json!({ "eventType": "deployment_info", "timestamp": "T", "plan": { "id": "d" }, "currentStep": step });
        assert_eq!(line(&event), "T  deployment_info               d  ScaleApplication /web");
        let event = json!({ "eventType": "event_stream_attached", "timestamp": "T" });
        assert_eq!(line(&event), "T  event_stream_attached");
    }
}
