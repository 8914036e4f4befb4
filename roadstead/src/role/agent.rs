//! `roadstead agent`.

use super::{Services, credentials, only};
use crate::config::ConfigError;
use ::agent::TasksOnStop;
use anyhow::Context;
use lifecycle::Stop;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// A controller: its API or where it takes sessions alone (repeatable)
    #[arg(long = "controller", value_name = "URL", required_unless_present = "others")]
    controllers: Vec<String>,
    /// Where tasks, images and logs are kept
    #[arg(long)]
    data: PathBuf,
    /// How tasks run: auto (docker where it answers), docker or process
    #[arg(long, default_value = "auto")]
    runtime: ::agent::RuntimeKind,
    /// What this node offers: "cpus:N;mem:N;ports:[31000-32000]" (mem in MiB); default: what the machine has
    #[arg(long)]
    resources: Option<String>,
    /// What the edge dials for a task's host ports
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// HOST:PORT of the registry that images without one come from; it alone is shown the token
    #[arg(long)]
    registry: Option<String>,
    /// End running tasks when the agent is told to stop; by default they stay and are taken back
    #[arg(long)]
    end_tasks: bool,
    /// This node's name; default: the host's
    #[arg(long)]
    hostname: Option<String>,
    /// Where status and metrics are served
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("agent")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let resources = match &arguments.resources {
        Some(text) => ::agent::parse_resources(text).map_err(|error| ConfigError::Usage(error.to_string()))?,
        None => ::agent::default_resources(),
    };
    let registry_credentials = match &known.token {
        Some(token) => web::Credentials::Basic { user: "agent".into(), password: token.reveal().to_owned() },
        None => web::Credentials::None,
    };
    let config = ::agent::Config {
        controllers: arguments.credentials.controllers(arguments.controllers)?,
        tls: known.tls.clone(),
        data: arguments.data,
        runtime: arguments.runtime,
        hostname: arguments.hostname.or(arguments.credentials.node.clone()).unwrap_or_else(super::host_name),
        node_id: arguments.credentials.node,
        address: arguments.address,
        resources,
        attributes: BTreeMap::new(),
        registry: arguments.registry,
        registry_credentials,
        credentials: known.client(),
        verifier: known.verifier,
        listen: Some(arguments.listen),
        tasks_on_stop: if arguments.end_tasks { TasksOnStop::End } else { TasksOnStop::Keep },
        shim: std::env::current_exe().context("find this binary")?,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    Ok(only("agent", ::agent::start(config, stop).await?))
}
