//! Routes that people write: documents of the state.

use crate::cli::app::Common;
use crate::cli::output::text;
use crate::config::ConfigError;
use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

pub const EXAMPLES: &str = "Examples:
  roadstead route add shop --rule 'Host(`shop.example`)' --to http://10.0.0.5:8080 --to http://10.0.0.6:8080
  roadstead route set shop --file shop.json      the whole document, as docs/routes.md and docs/balancing.md have it";

#[derive(clap::Args)]
pub struct Set {
    /// Its name
    id: String,
    /// Which requests it takes
    #[arg(long, required_unless_present = "file")]
    rule: Option<String>,
    /// A server, http://HOST:PORT (repeatable)
    #[arg(long = "to", value_name = "URL", conflicts_with = "file")]
    servers: Vec<String>,
    /// Higher goes first
    #[arg(long, conflicts_with = "file", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Servers see the Host the client sent
    #[arg(long, conflicts_with = "file")]
    pass_host_header: bool,
    /// A file with the whole document in JSON
    #[arg(long, value_name = "FILE", conflicts_with = "rule")]
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Set {
    pub async fn run(self, new: bool) -> anyhow::Result<()> {
        let document = self.document()?;
        let path = format!("{}?new={new}", path(&self.id)?);
        let answer: Value = self.common.connection.api()?.send(Method::PUT, &path, &document).await?;
        let line = format!("route {} is written at revision {}", self.id, text(&answer["revision"]));
        self.common.output.say(&line, &answer)
    }

    fn document(&self) -> anyhow::Result<Value> {
        if let Some(file) = &self.file {
            let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            return serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", file.display()));
        }
        let servers = self.servers.iter().enumerate();
        let servers = servers.map(|(place, url)| json!({ "id": (place + 1).to_string(), "url": url }));
        let mut document = json!({ "v": 0, "rule": self.rule, "servers": servers.collect::<Vec<_>>() });
        if let Some(priority) = self.priority {
            document["priority"] = json!(priority);
        }
        if self.pass_host_header {
            document["pass_host_header"] = json!(true);
        }
        Ok(document)
    }
}

pub async fn remove(id: &str, common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.api()?.send(Method::DELETE, &path(id)?, &json!({})).await?;
    common.output.say(&format!("route {id} is removed at revision {}", text(&answer["revision"])), &answer)
}

fn path(id: &str) -> Result<String, ConfigError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    if id.is_empty() || !id.chars().all(is_plain) {
        return Err(ConfigError::Usage(format!("{id:?}: a route's name has letters, digits, '.', '-', '_' and '~'")));
    }
    Ok(format!("/v1/routes/documents/{id}"))
}
