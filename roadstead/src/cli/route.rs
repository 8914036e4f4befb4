//! `roadstead route …`, over the edge's API.

use super::app::Common;
use super::output::text;
use serde_json::Value;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the routes the edge serves
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Say which route a request takes, which lost and why, and which server would be picked
    Explain {
        /// GET, PUT, …
        method: String,
        /// http://host/path
        url: String,
        /// NAME: VALUE (repeatable)
        #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
        headers: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { common } => list(&common).await,
        Command::Explain { method, url, headers, common } => explain(&method, &url, &headers, &common).await,
    }
}

async fn ask(common: &Common, path: &str) -> anyhow::Result<Value> {
    let api = common.connection.addresses()?.edge_api;
    Ok(common.connection.admin_client()?.get_json(&format!("http://{api}{path}")).await?)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let answer = ask(common, "/routes").await?;
    let routes = answer["routes"].as_array().or(answer.as_array()).cloned().unwrap_or_default();
    let rows = routes.iter().map(|route| {
        let servers = route["servers"].as_array().map_or(0, Vec::len);
        vec![text(&route["id"]), text(&route["rule"]), servers.to_string(), text(&route["source"])]
    });
    common.output.print(&["id", "rule", "servers", "source"], rows.collect(), &routes)
}

async fn explain(method: &str, url: &str, headers: &[String], common: &Common) -> anyhow::Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("method", method).append_pair("url", url);
    for header in headers {
        query.append_pair("header", header);
    }
    let answer = ask(common, &format!("/explain?{}", query.finish())).await?;
    let lines = match answer["lines"].as_array() {
        Some(lines) => lines.iter().map(text).collect::<Vec<_>>().join("\n"),
        None => serde_json::to_string_pretty(&answer)?,
    };
    common.output.say(&lines, &answer)
}
