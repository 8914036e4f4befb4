//! `roadstead app …`, over Marathon's API.

mod definition;
mod logs;
mod show;
mod wait;

use super::connection::Connection;
use super::output::{Output, text};
use http::Method;
use model::AppId;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use wait::Purpose;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Run an app, or bring a running one to this definition, and wait until it is deployed
    #[command(after_help = definition::EXAMPLES)]
    Run(Box<definition::Run>),
    /// List apps
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one app: its tasks, where it is served, what its runtime lacks, why a task is not placed
    #[command(after_help = "Example: roadstead app show /shop/cart")]
    Show {
        /// The app's id
        id: AppId,
        #[command(flatten)]
        common: Common,
    },
    /// Change the number of instances; 0 suspends the app
    #[command(after_help = "Example: roadstead app scale s3pics 20")]
    Scale {
        /// The app's id
        id: AppId,
        /// How many tasks should run
        instances: u32,
        #[command(flatten)]
        change: Change,
    },
    /// Replace every task, keeping the app served
    #[command(after_help = "Example: roadstead app restart s3pics")]
    Restart {
        /// The app's id
        id: AppId,
        #[command(flatten)]
        change: Change,
    },
    /// Stop every task and forget the app
    #[command(after_help = "Example: roadstead app remove s3pics")]
    Remove {
        /// The app's id
        id: AppId,
        #[command(flatten)]
        change: Change,
    },
    /// Print what a task wrote
    #[command(after_help = "Example: roadstead app logs s3pics --follow")]
    Logs(logs::Arguments),
    /// List the kept versions of an app, newest first
    #[command(after_help = "Example: roadstead app versions s3pics")]
    Versions {
        /// The app's id
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
    /// Wait no longer than this; the deployment goes on, the exit status is 1
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    pub timeout: Option<u64>,
}

impl Change {
    fn patience(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(run) => return definition::run(*run).await,
        Command::Scale { id, instances, change } => return scale(&id, instances, &change).await,
        Command::Restart { id, change } => {
            return submit(&change, Method::POST, &id, "/restart", &json!({}), Purpose::Restart).await;
        }
        Command::Remove { id, change } => {
            return submit(&change, Method::DELETE, &id, "", &json!({}), Purpose::Remove).await;
        }
        Command::List { common } => list(&common).await,
        Command::Show { id, common } => show::run(&id, &common).await,
        Command::Logs(arguments) => logs::run(arguments).await,
        Command::Versions { id, common } => versions(&id, &common).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.api()?.get("/v2/apps").await?;
    let apps = answer["apps"].as_array().cloned().unwrap_or_default();
    let rows = apps.iter().map(|app| {
        let has_checks = app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty());
        vec![
            text(&app["id"]),
            format!("{} / {}", text(&app["tasksRunning"]), text(&app["instances"])),
            if has_checks { text(&app["tasksHealthy"]) } else { "-".to_owned() },
            text(&app["cpus"]),
            text(&app["mem"]),
            show::status(app).to_owned(),
        ]
    });
    common.output.print(&["id", "tasks", "healthy", "cpus", "mem", "status"], rows.collect(), &apps)
}

async fn versions(id: &AppId, common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.api()?.get(&format!("/v2/apps{id}/versions")).await?;
    let versions = answer["versions"].as_array().cloned().unwrap_or_default();
    let rows = versions.iter().map(|version| vec![text(version)]).collect();
    common.output.print(&["version"], rows, &versions)
}

async fn scale(id: &AppId, instances: u32, change: &Change) -> anyhow::Result<ExitCode> {
    // PATCH: unlike PUT it makes no app that is not there.
    submit(change, Method::PATCH, id, "", &json!({ "instances": instances }), Purpose::Run).await
}

async fn submit(
    change: &Change,
    method: Method,
    id: &AppId,
    child: &str,
    body: &Value,
    purpose: Purpose,
) -> anyhow::Result<ExitCode> {
    let api = change.common.connection.api()?;
    let answer: Value = api.send(method, &format!("/v2/apps{id}{child}?force={}", change.force), body).await?;
    wait::finish(&api, change, id, &answer, purpose).await
}
