//! `roadstead app run`: flags, or a Marathon app definition, into one request.

use super::{Change, wait};
use crate::config::ConfigError;
use anyhow::Context;
use http::Method;
use model::AppId;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Run {
    /// The app's id, e.g. s3pics or /shop/cart (with --file it may be left out)
    id: Option<AppId>,
    /// A Marathon app definition (JSON); flags go over it
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// Image, e.g. localhost:5000/s3pics:2.0; without one the command runs on the node's own files
    #[arg(long)]
    image: Option<String>,
    /// Command, run by /bin/sh -c; default: the image's own
    #[arg(long)]
    cmd: Option<String>,
    #[arg(long)]
    instances: Option<u32>,
    /// CPU shares, 1 is one core
    #[arg(long)]
    cpus: Option<f64>,
    /// Memory in MiB
    #[arg(long)]
    mem: Option<f64>,
    /// Port the program listens on inside (repeatable)
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// NAME=VALUE (repeatable)
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// NAME=VALUE (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Path of an HTTP health check on the first port
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    #[command(flatten)]
    change: Change,
}

pub async fn run(run: Run) -> anyhow::Result<()> {
    let api = run.change.common.connection.api()?;
    let definition = definition(&run)?;
    let id = definition["id"].as_str().context("--file has no \"id\", and no ID was given")?;
    let id: AppId = id.parse().map_err(|error| ConfigError::Usage(format!("id `{id}`: {error}")))?;
    let path = format!("/v2/apps{id}?force={}", run.change.force);
    let answer: Value = api.send(Method::PUT, &path, &definition).await?;
    wait::finish(&api, &run.change, &id, &answer).await
}

fn definition(run: &Run) -> anyhow::Result<Value> {
    let mut definition = match &run.file {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?
        }
        None => json!({}),
    };
    let Value::Object(fields) = &mut definition else {
        return Err(ConfigError::Usage("--file must hold one app definition (a JSON object)".into()).into());
    };
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set("id", run.id.as_ref().map(|id| json!(id)));
    set("cmd", run.cmd.as_ref().map(|cmd| json!(cmd)));
    set("instances", run.instances.map(|instances| json!(instances)));
    set("cpus", run.cpus.map(|cpus| json!(cpus)));
    set("mem", run.mem.map(|mem| json!(mem)));
    set("env", pairs("--env", &run.env)?);
    set("labels", pairs("--label", &run.labels)?);
    set("container", container(run));
    set("portDefinitions", (run.image.is_none() && !run.ports.is_empty()).then(|| port_definitions(&run.ports)));
    set("healthChecks", run.health.as_ref().map(|path| json!([{ "protocol": "HTTP", "path": path, "portIndex": 0 }])));
    Ok(definition)
}

fn container(run: &Run) -> Option<Value> {
    let image = run.image.as_ref()?;
    let mappings: Vec<Value> =
        run.ports.iter().map(|port| json!({ "containerPort": port, "hostPort": 0, "protocol": "tcp" })).collect();
    Some(json!({ "type": "DOCKER", "docker": { "image": image, "network": "BRIDGE", "portMappings": mappings } }))
}

fn port_definitions(ports: &[u16]) -> Value {
    ports.iter().map(|port| json!({ "port": port, "protocol": "tcp" })).collect()
}

fn pairs(flag: &str, pairs: &[String]) -> Result<Option<Value>, ConfigError> {
    let mut object = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(ConfigError::Usage(format!("{flag} {pair}: expected NAME=VALUE")));
        };
        object.insert(name.to_owned(), json!(value));
    }
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}
