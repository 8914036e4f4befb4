//! Waits for a deployment to end, with progress on a terminal; Ctrl-C ends the waiting, not the deployment.

use super::{Change, show};
use crate::cli::connection::Api;
use crate::cli::output::text;
use indicatif::{ProgressBar, ProgressStyle};
use model::AppId;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How often a deployment is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// A controller that is started again while we wait is back before this.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How often the spinner turns.
const TICK_INTERVAL: Duration = Duration::from_millis(100);
/// As a shell has it for a process ended by SIGINT: 128 and the signal's number.
const EXIT_INTERRUPTED: u8 = 130;

/// What a deployment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Run,
    Restart,
    Remove,
}

/// `answer` is Marathon's deploymentResult (or the app itself, which lists its deployments).
pub async fn finish(
    api: &Api,
    change: &Change,
    id: &AppId,
    answer: &Value,
    purpose: Purpose,
) -> anyhow::Result<ExitCode> {
    let output = &change.common.output;
    let deployment = [&answer["deploymentId"], &answer["deployments"][0]["id"]].into_iter().find_map(Value::as_str);
    let mut result =
        json!({ "id": id, "version": answer["version"], "deploymentId": deployment, "state": "deploying" });
    let Some(deployment) = deployment else {
        result["state"] = "unchanged".into();
        output.say(&format!("{id}  nothing to deploy"), &result)?;
        return Ok(ExitCode::SUCCESS);
    };
    if change.no_wait {
        output.say(&format!("{id}  deploying, as {deployment}"), &result)?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = tokio::select! {
        ended = until_ended(api, id, deployment, change.patience()) => ended?,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            eprintln!("the deployment {deployment} goes on; look at it with: roadstead app show {id}");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    };
    if let Err(reasons) = ended {
        let seconds = change.timeout.unwrap_or_default();
        anyhow::bail!("{id} is not deployed after {seconds} s; the deployment {deployment} goes on{reasons}");
    }
    let details: Option<Value> = api.find(&format!("/v1/apps{id}")).await?;
    let Some(details) = details else {
        anyhow::ensure!(purpose == Purpose::Remove, "{id} was removed while it was being deployed");
        result["state"] = "removed".into();
        output.say(&format!("{id}  removed"), &result)?;
        return Ok(ExitCode::SUCCESS);
    };
    let app = &details["app"];
    anyhow::ensure!(purpose != Purpose::Remove, "{id} is still there: its removal was overridden");
    let version = text(&app["version"]);
    anyhow::ensure!(app["version"] == answer["version"], "{id} has another version by now: {version}");
    result["state"] = "deployed".into();
    result["url"] = details["url"].clone();
    let done = if purpose == Purpose::Restart { "restarted" } else { "deployed" };
    let count = format!("{} of {} running", text(&app["tasksRunning"]), text(&app["instances"]));
    let url = details["url"].as_str().filter(|_| app["instances"] != 0);
    let url = url.map(|url| format!("  {url}")).unwrap_or_default();
    output.say(&format!("{id}  {done}, {count}{url}"), &result)?;
    if app["lastTaskFailure"]["version"] == answer["version"] {
        eprintln!("a task failed: {}", show::last_failure(app, jiff::Timestamp::now()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The error tells, a line each, what the app still waits for when patience ends.
async fn until_ended(
    api: &Api,
    id: &AppId,
    deployment: &str,
    patience: Option<Duration>,
) -> anyhow::Result<Result<(), String>> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK_INTERVAL);
    let mut answered = Instant::now();
    let ended = loop {
        let reasons = match look(api, id, deployment).await {
            Ok(None) => break Ok(()),
            Ok(Some((step, reasons))) => {
                answered = Instant::now();
                let separator = if reasons.is_empty() { "" } else { ": " };
                bar.set_message(format!("{id}  {step}{separator}{}", reasons.join("; ")));
                reasons
            }
            Err(error) if answered.elapsed() > SILENCE_MAX => {
                return Err(error.context(format!("wait for the deployment {deployment}, which goes on")));
            }
            Err(error) => vec![error.to_string()],
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break Err(reasons.iter().map(|reason| format!("\n  {reason}")).collect());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    bar.finish_and_clear();
    Ok(ended)
}

/// How far a deployment is and what the app waits for; `None` once it has ended.
async fn look(api: &Api, id: &AppId, deployment: &str) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let Some(step) = step(api, deployment).await? else { return Ok(None) };
    Ok(Some((step, reasons(api, id).await?)))
}

async fn step(api: &Api, deployment: &str) -> anyhow::Result<Option<String>> {
    let deployments: Value = api.get("/v2/deployments").await?;
    let running = deployments.as_array().into_iter().flatten().find(|running| running["id"] == deployment);
    Ok(running.map(|running| format!("step {} of {}", text(&running["currentStep"]), text(&running["totalSteps"]))))
}

/// What the app waits for, besides the deployment itself.
async fn reasons(api: &Api, id: &AppId) -> anyhow::Result<Vec<String>> {
    let explained: Option<Value> = api.find(&format!("/v1/apps{id}/explain")).await?;
    let reasons = explained.as_ref().and_then(|explained| explained["reasons"].as_array());
    Ok(reasons.into_iter().flatten().map(text).filter(|reason| !reason.starts_with("deployment ")).collect())
}
