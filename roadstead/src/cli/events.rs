//! `roadstead events`: Marathon's event stream, a line each.

use super::app::Common;
use super::output::text;
use anyhow::Context;
use http::header::ACCEPT;
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
    let uri = api.url(&format!("/v2/events?{}", query.finish()));
    let request = http::Request::get(&uri).header(ACCEPT, "text/event-stream").body(web::empty_body())?;
    let response = api.client.send(request).await?;
    anyhow::ensure!(response.status().is_success(), "{uri} answered {}", response.status());
    let mut body = response.into_body();
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
    let mut words = vec![text(&event["timestamp"]), text(&event["eventType"])];
    for name in ["appId", "taskId", "taskStatus", "id", "alive", "message"] {
        if !event[name].is_null() && event[name] != "" {
            words.push(text(&event[name]));
        }
    }
    common.output.say(&words.join("  "), &event)
}
