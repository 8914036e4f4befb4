//! `roadstead vip …`: who holds the floating addresses, and why.

use super::app::Common;
use super::output::text;
use serde_json::Value;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Show each floating address as this machine sees it: state, since when, why, and how fast it would move
    Status {
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::Status { common } = command;
    let status: Value = common.connection.vip_api()?.get("/status").await?;
    let routers = status["routers"].as_array().cloned().unwrap_or_default();
    let rows = routers.iter().map(|router| {
        let addresses: Vec<String> =
            router["addresses"].as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default();
        vec![
            addresses.join(" "),
            text(&router["state"]),
            text(&router["since"]),
            text(&router["priority"]),
            text(&router["holder"]),
            text(&router["expected_failover"]["died_worst_ms"]),
            text(&router["cause"]),
        ]
    });
    let headings = ["address", "state", "since", "priority", "holder", "failover ms", "why"];
    common.output.print(&headings, rows.collect(), &status)
}
