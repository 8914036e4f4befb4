//! `roadstead node …`.

use super::app::Common;
use super::output::text;
use serde_json::Value;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List nodes: what they offer, what is used
    List {
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::List { common } = command;
    let nodes: Value = common.connection.api()?.get("/v1/nodes").await?;
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    let used = |node: &Value, name: &str| format!("{} / {}", text(&node["used"][name]), text(&node["resources"][name]));
    let rows = nodes.iter().map(|node| {
        vec![
            text(&node["hostname"]),
            text(&node["address"]),
            text(&node["state"]),
            text(&node["runtime"]),
            used(node, "cpus"),
            used(node, "mem"),
            text(&node["tasks"]),
            text(&node["id"]),
        ]
    });
    let headings = ["hostname", "address", "state", "runtime", "cpus", "mem", "tasks", "id"];
    common.output.print(&headings, rows.collect(), &nodes)
}
