//! `roadstead app …`, over Marathon's API.

mod definition;
mod wait;

use super::connection::{Api, Connection};
use super::output::{Output, text};
use anyhow::Context;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use model::AppId;
use serde_json::{Value, json};
use std::io::Write;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Run an app (or bring a running one to this definition) and wait until it is deployed
    Run(definition::Run),
    /// List apps
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one app: its tasks, where it is served, what its runtime lacks, why a task is not placed
    Show {
        id: AppId,
        #[command(flatten)]
        common: Common,
    },
    /// Change the number of instances
    Scale {
        id: AppId,
        instances: u32,
        #[command(flatten)]
        change: Change,
    },
    /// Replace every task, keeping the app served
    Restart {
        id: AppId,
        #[command(flatten)]
        change: Change,
    },
    /// Stop every task and forget the app
    Remove {
        id: AppId,
        #[command(flatten)]
        change: Change,
    },
    /// Print what a task wrote
    Logs {
        id: AppId,
        /// A task's id; default: the youngest
        #[arg(long)]
        task: Option<String>,
        /// Standard error instead of standard output
        #[arg(long)]
        stderr: bool,
        /// Go on as more is written
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the kept versions of an app
    Versions {
        id: AppId,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args, Clone)]
pub struct Common {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(clap::Args, Clone)]
pub struct Change {
    #[command(flatten)]
    pub common: Common,
    /// Override a deployment that is running
    #[arg(long)]
    pub force: bool,
    /// Return at once instead of waiting for the deployment to end
    #[arg(long)]
    pub no_wait: bool,
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(run) => definition::run(run).await,
        Command::List { common } => list(&common).await,
        Command::Show { id, common } => show(&id, &common).await,
        Command::Scale { id, instances, change } => {
            put(&change, Method::PUT, &id, "", &json!({ "instances": instances })).await
        }
        Command::Restart { id, change } => put(&change, Method::POST, &id, "/restart", &json!({})).await,
        Command::Remove { id, change } => put(&change, Method::DELETE, &id, "", &json!({})).await,
        Command::Logs { id, task, stderr, follow, common } => {
            let stream = if stderr { "stderr" } else { "stdout" };
            logs(&common.connection.api()?, &id, task, stream, follow).await
        }
        Command::Versions { id, common } => versions(&id, &common).await,
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.api()?.get("/v2/apps").await?;
    let apps = answer["apps"].as_array().cloned().unwrap_or_default();
    let rows = apps.iter().map(|app| {
        vec![
            text(&app["id"]),
            format!("{} / {}", text(&app["tasksRunning"]), text(&app["instances"])),
            text(&app["tasksHealthy"]),
            text(&app["cpus"]),
            text(&app["mem"]),
            status(app).to_owned(),
        ]
    });
    common.output.print(&["id", "tasks", "healthy", "cpus", "mem", "status"], rows.collect(), &apps)
}

fn status(app: &Value) -> &'static str {
    if app["deployments"].as_array().is_some_and(|deployments| !deployments.is_empty()) {
        "Deploying"
    } else if app["instances"] == 0 {
        "Suspended"
    } else {
        "Running"
    }
}

async fn show(id: &AppId, common: &Common) -> anyhow::Result<()> {
    let api = common.connection.api()?;
    let mut app: Value = api.get(&format!("/v2/apps{id}")).await?;
    let mut app = app["app"].take();
    let explained: Value = api.get(&format!("/v1/apps{id}/explain")).await?;
    app["explain"] = explained.clone();
    let tasks = app["tasks"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}", text(&app["id"]), status(&app)),
        format!("  version    {}", text(&app["version"])),
        format!("  instances  {} of {} running", text(&app["tasksRunning"]), text(&app["instances"])),
        format!("  each       {} cpus, {} MiB", text(&app["cpus"]), text(&app["mem"])),
    ];
    for (name, value) in explained.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) => lines.extend(items.iter().map(|item| format!("  {name:<10} {}", text(item)))),
            Value::Null => {}
            other => lines.push(format!("  {name:<10} {}", text(other))),
        }
    }
    for task in &tasks {
        let ports = task["ports"].as_array().cloned().unwrap_or_default();
        let port = ports.first().map(text).unwrap_or_default();
        lines.push(format!("  task       {}  {}:{port}  {}", text(&task["id"]), text(&task["host"]), health(task)));
    }
    common.output.say(&lines.join("\n"), &app)
}

fn health(task: &Value) -> &'static str {
    match task["healthCheckResults"].as_array() {
        Some(results) if !results.is_empty() => {
            if results.iter().all(|result| result["alive"] == true) {
                "healthy"
            } else {
                "not healthy"
            }
        }
        _ if task["startedAt"].is_string() => "started",
        _ => "staged",
    }
}

async fn put(change: &Change, method: Method, id: &AppId, child: &str, body: &Value) -> anyhow::Result<()> {
    let api = change.common.connection.api()?;
    let path = format!("/v2/apps{id}{child}?force={}", change.force);
    let answer: Value = api.send(method, &path, body).await?;
    wait::finish(&api, change, id, &answer).await
}

async fn logs(api: &Api, id: &AppId, task: Option<String>, stream: &str, follow: bool) -> anyhow::Result<()> {
    let task = match task {
        Some(task) => task,
        None => youngest_task(api, id).await?,
    };
    let uri = api.url(&format!("/v1/apps{id}/tasks/{task}/logs?stream={stream}&follow={follow}"));
    let request = http::Request::get(&uri).body(web::empty_body())?;
    let response = api.client.send(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut output = std::io::stdout().lock();
    let mut refusal = Vec::new();
    while let Some(frame) = body.frame().await {
        let data: Bytes = frame.context("read the log")?.into_data().unwrap_or_default();
        if status.is_success() {
            output.write_all(&data)?;
            output.flush()?;
        } else {
            refusal.extend_from_slice(&data);
        }
    }
    anyhow::ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&refusal));
    Ok(())
}

async fn youngest_task(api: &Api, id: &AppId) -> anyhow::Result<String> {
    let app: Value = api.get(&format!("/v2/apps{id}")).await?;
    let tasks = app["app"]["tasks"].as_array().cloned().unwrap_or_default();
    let youngest = tasks.iter().max_by_key(|task| text(&task["stagedAt"]));
    youngest.map(|task| text(&task["id"])).with_context(|| format!("{id} has no task"))
}

async fn versions(id: &AppId, common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.api()?.get(&format!("/v2/apps{id}/versions")).await?;
    let versions = answer["versions"].as_array().cloned().unwrap_or_default();
    let rows = versions.iter().map(|version| vec![text(version)]).collect();
    common.output.print(&["version"], rows, &versions)
}
