//! `roadstead node …`.

mod change;
mod token;

use super::app::Common;
use super::output::text;
use crate::up::parse_time;
use serde_json::Value;
use std::time::Duration;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List machines: how they stand, what they offer, what is used
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Make the token with which another machine joins (`roadstead join TOKEN --address A`), list them, take one back
    #[command(after_help = token::EXAMPLES)]
    Token(token::Arguments),
    /// Move every task and the floating address away from a machine, so that it can be stopped
    #[command(after_help = "Example: roadstead node drain node-2 && ssh node-2 systemctl restart roadstead")]
    Drain {
        /// The machine's name
        node: String,
        /// Return at once instead of waiting until it is empty
        #[arg(long)]
        no_wait: bool,
        /// Wait no longer than this; the draining goes on, the exit status is 1
        #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "no_wait")]
        timeout: Option<Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// Let a drained machine take tasks again
    Restore {
        /// The machine's name
        node: String,
        #[command(flatten)]
        common: Common,
    },
    /// Forget a machine: it leaves the state's cluster, its tasks are started elsewhere, its certificate is refused
    Remove {
        /// The machine's name
        node: String,
        /// Although it is alive and has tasks
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(command: Command) -> anyhow::Result<std::process::ExitCode> {
    match command {
        Command::List { common } => list(&common).await?,
        Command::Token(arguments) => token::run(arguments).await?,
        Command::Drain { node, no_wait, timeout, common } => {
            return change::drain(&common, &node, !no_wait, timeout).await;
        }
        Command::Restore { node, common } => change::restore(&common, &node).await?,
        Command::Remove { node, force, common } => change::remove(&common, &node, force).await?,
    }
    Ok(std::process::ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let nodes: Value = common.connection.api()?.get("/v1/nodes").await?;
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    let used = |node: &Value, name: &str| format!("{} / {}", text(&node["used"][name]), text(&node["resources"][name]));
    let rows = nodes.iter().map(|node| {
        vec![
            text(&node["hostname"]),
            text(&node["address"]),
            standing(node),
            part(node),
            text(&node["runtime"]),
            used(node, "cpus"),
            used(node, "mem"),
            text(&node["tasks"]),
            text(&node["id"]),
        ]
    });
    let headings = ["hostname", "address", "state", "part", "runtime", "cpus", "mem", "tasks", "id"];
    common.output.print(&headings, rows.collect(), &nodes)
}

/// The worst that is to say of it.
fn standing(node: &Value) -> String {
    let is = |name: &str| node[name] == true;
    match (is("lost"), is("suspected"), is("draining")) {
        (true, ..) => "lost".to_owned(),
        (_, true, _) => "suspected".to_owned(),
        (.., true) => format!("{}, draining", text(&node["state"])),
        _ => text(&node["state"]),
    }
}

/// A machine's part in the cluster's state.
fn part(node: &Value) -> String {
    match (node["leader"].as_bool(), node["etcd"].as_str()) {
        (Some(true), _) => "leads".to_owned(),
        (_, Some("")) | (_, None) => "-".to_owned(),
        (_, Some(role)) => role.to_owned(),
    }
}
