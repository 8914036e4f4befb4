//! Waits for a deployment to end, with progress; Ctrl-C ends the waiting, not the deployment.

use super::Change;
use crate::cli::connection::Api;
use crate::cli::output::text;
use indicatif::{ProgressBar, ProgressStyle};
use model::AppId;
use serde_json::Value;
use std::time::Duration;

/// How often a deployment is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// `answer` is Marathon's deploymentResult (or the app itself, which lists its deployments).
pub async fn finish(api: &Api, change: &Change, id: &AppId, answer: &Value) -> anyhow::Result<()> {
    let deployment = match &answer["deploymentId"] {
        Value::String(deployment) => Some(deployment.clone()),
        _ => answer["deployments"][0]["id"].as_str().map(str::to_owned),
    };
    let Some(deployment) = deployment else {
        return change.common.output.say(&format!("{id}: nothing to deploy"), answer);
    };
    if change.no_wait {
        return change.common.output.say(&format!("{id}: deployment {deployment} has begun"), answer);
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    while let Some(progress) = progress(api, id, &deployment).await? {
        bar.set_message(progress);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    bar.finish_and_clear();
    change.common.output.say(&format!("{id}: deployed"), answer)
}

/// In words how far a deployment is; `None` once it has ended.
async fn progress(api: &Api, id: &AppId, deployment: &str) -> anyhow::Result<Option<String>> {
    let deployments: Value = api.get("/v2/deployments").await?;
    let mut running = deployments.as_array().into_iter().flatten();
    let Some(running) = running.find(|running| running["id"] == deployment) else { return Ok(None) };
    let step = format!("{id}: step {} of {}", text(&running["currentStep"]), text(&running["totalSteps"]));
    let explained: Value = api.get(&format!("/v1/apps{id}/explain")).await.unwrap_or_default();
    let reasons = explained["reasons"].as_array().cloned().unwrap_or_default();
    Ok(Some(match reasons.first() {
        Some(reason) => format!("{step}; {}", text(reason)),
        None => step,
    }))
}
