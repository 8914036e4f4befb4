//! `roadstead node token`.

use super::super::app::Common;
use super::super::output::text;
use crate::up::parse_time;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

pub const EXAMPLES: &str = "Examples:
  roadstead node token                       a token for one hour
  roadstead node token --lifetime 24h        for a day
  roadstead node token --list
  roadstead node token --revoke ID";

/// Long enough to walk to the other machines.
const LIFETIME_DEFAULT: &str = "1h";

#[derive(clap::Args)]
pub struct Arguments {
    /// How long machines may join with it
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = LIFETIME_DEFAULT)]
    lifetime: Duration,
    /// How many machines may join with it; default: 8
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// List the tokens there are
    #[arg(long, conflicts_with_all = ["lifetime", "uses", "revoke"])]
    list: bool,
    /// Take a token back
    #[arg(long, value_name = "ID", conflicts_with_all = ["lifetime", "uses"])]
    revoke: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { common, .. } = &arguments;
    let api = common.connection.api()?;
    if let Some(id) = &arguments.revoke {
        let _: Value = api.send(Method::DELETE, &format!("/v1/join-tokens/{id}"), &json!({})).await?;
        return common.output.say(&format!("{id} is revoked"), &json!({ "id": id, "revoked": true }));
    }
    if arguments.list {
        let tokens: Value = api.get("/v1/join-tokens").await?;
        let tokens = tokens.as_array().cloned().unwrap_or_default();
        let columns = ["id", "state", "createdAt", "expiresAt", "usesLeft"];
        let row = |token: &Value| columns.iter().map(|column| text(&token[*column])).collect();
        let headings = ["id", "state", "made", "expires", "uses left"];
        return common.output.print(&headings, tokens.iter().map(row).collect(), &tokens);
    }
    let request = json!({ "ttl_seconds": arguments.lifetime.as_secs(), "uses": arguments.uses });
    let made: Value = api.send(Method::POST, "/v1/join-tokens", &request).await?;
    common.output.say(&text(&made["token"]), &made)
}
