//! `roadstead app logs`: what a task wrote, byte for byte.

use super::Connection;
use crate::cli::connection::Api;
use crate::cli::output::{text, write};
use anyhow::Context;
use http_body_util::BodyExt;
use model::AppId;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Arguments {
    /// The app's id
    id: AppId,
    /// A task's id; default: the youngest, or when none runs the one that failed last
    #[arg(long)]
    task: Option<String>,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Go on as more is written, until the task ends
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { id, task, stderr, follow, connection } = arguments;
    let api = connection.api()?;
    let task = match task {
        Some(task) => task,
        None => youngest_task(&api, &id).await?,
    };
    let stream = if stderr { "stderr" } else { "stdout" };
    let path = format!("/v1/apps{id}/tasks/{task}/logs?stream={stream}&follow={follow}");
    let mut body = api.open(&path, "text/plain").await?;
    while let Some(frame) = body.frame().await {
        write(&frame.context("read the log")?.into_data().unwrap_or_default())?;
    }
    Ok(())
}

async fn youngest_task(api: &Api, id: &AppId) -> anyhow::Result<String> {
    let mut answer: Value = api.get(&format!("/v2/apps{id}")).await?;
    let app = answer["app"].take();
    let tasks = app["tasks"].as_array().into_iter().flatten();
    if let Some(youngest) = tasks.max_by_key(|task| text(&task["stagedAt"])) {
        return Ok(text(&youngest["id"]));
    }
    // Its node still keeps the end of what it wrote.
    let failed = text(&app["lastTaskFailure"]["taskId"]);
    anyhow::ensure!(!failed.is_empty(), "{id} has no task");
    Ok(failed)
}
