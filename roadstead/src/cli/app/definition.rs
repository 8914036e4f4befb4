//! `roadstead app run`: flags, or a Marathon app definition, into one request.

use super::{Change, wait};
use crate::cli::connection::Api;
use crate::config::ConfigError;
use anyhow::Context;
use http::Method;
use model::AppId;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wait::Purpose;

pub const EXAMPLES: &str = "\
Examples:
  An image; port 8000 inside is served as http://s3pics.<domain>/:
    roadstead app run s3pics --image 127.0.0.1:5000/s3pics:2.0 --port 8000 --health / --instances 2
  A command on the node's own files, which listens on the port it is given:
    roadstead app run hello --cmd 'exec python3 -m http.server $PORT0' --health /
  The same on a name of yours, by HTTPS:
    roadstead app run s3pics --image 127.0.0.1:5000/s3pics:2.0 --port 8000 --domain pics.example --https
  A Marathon app definition, one field changed:
    roadstead app run --file s3pics.json --instances 20";

#[derive(clap::Args)]
pub struct Run {
    /// The app's id, e.g. s3pics or /shop/cart (with --file it may be left out)
    #[arg(required_unless_present = "file")]
    id: Option<AppId>,
    /// A Marathon app definition (JSON), - for standard input; flags go over it
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// Image, e.g. 127.0.0.1:5000/s3pics:2.0; without one the command runs on the node's own files
    #[arg(long)]
    image: Option<String>,
    /// Command, run by /bin/sh -c; default: the image's own
    #[arg(long)]
    cmd: Option<String>,
    /// How many tasks should run; default: as many as now, 1 for a new app
    #[arg(long)]
    instances: Option<u32>,
    /// CPU shares of each task, 1 is one core; default: 1
    #[arg(long)]
    cpus: Option<f64>,
    /// Memory of each task in MiB; default: 128
    #[arg(long)]
    mem: Option<f64>,
    /// With --image: port inside the container; without: service port (the command listens on $PORT0, $PORT1 …);
    /// repeatable
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// NAME=VALUE in the environment of each task (repeatable)
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// NAME=VALUE (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// A host name of yours that the app is served under, instead of <app>.<domain> (repeatable)
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// Serve its names by HTTPS and send plain requests on: `acme` has a certificate asked for, `given` uses one of yours
    /// (`roadstead cert add`), `off` ends it
    #[arg(long, value_name = "KIND", value_parser = ["acme", "given", "off"], num_args = 0..=1, require_equals = true,
        default_missing_value = "acme")]
    https: Option<String>,
    /// Path of an HTTP health check on the first port
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    #[command(flatten)]
    change: Change,
}

pub async fn run(run: Run) -> anyhow::Result<ExitCode> {
    let mut definition = definition(&run)?;
    let id = definition["id"].as_str().ok_or_else(|| usage("--file has no \"id\"; give one: roadstead app run ID"))?;
    let id: AppId = id.parse().map_err(|error| usage(format!("id `{id}`: {error}")))?;
    let api = run.change.common.connection.api()?;
    if definition["instances"].is_null() {
        definition["instances"] = instances_now(&api, &id).await?.into();
    }
    // The definition is the whole of it: what an older one had and this one has not is gone.
    let path = format!("/v2/apps{id}?partialUpdate=false&force={}", run.change.force);
    let answer: Value = api.send(Method::PUT, &path, &definition).await?;
    wait::finish(&api, &run.change, &id, &answer, Purpose::Run).await
}

/// A new definition does not scale an app unless it says so.
async fn instances_now(api: &Api, id: &AppId) -> anyhow::Result<u64> {
    let existing: Option<Value> = api.find(&format!("/v2/apps{id}")).await?;
    Ok(existing.and_then(|existing| existing["app"]["instances"].as_u64()).unwrap_or(1))
}

fn usage(message: impl Into<String>) -> ConfigError {
    ConfigError::Usage(message.into())
}

fn definition(run: &Run) -> anyhow::Result<Value> {
    let mut definition = match &run.file {
        Some(path) => read(path)?,
        None if run.cmd.is_none() && run.image.is_none() => {
            return Err(usage("say what to run: --cmd COMMAND, --image IMAGE, or --file FILE").into());
        }
        None => json!({}),
    };
    let Value::Object(fields) = &mut definition else {
        return Err(usage("--file must hold one app definition (a JSON object)").into());
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
    set("labels", labels(run)?);
    set("container", container(run));
    set("portDefinitions", (run.image.is_none() && !run.ports.is_empty()).then(|| port_definitions(&run.ports)));
    set("healthChecks", run.health.as_ref().map(|path| json!([{ "protocol": "HTTP", "path": path, "portIndex": 0 }])));
    Ok(definition)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text).context("read standard input")?;
    } else {
        text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    }
    Ok(serde_json::from_slice(&text).map_err(|error| usage(format!("{} is not JSON: {error}", path.display())))?)
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

fn labels(run: &Run) -> Result<Option<Value>, ConfigError> {
    let mut labels = run.labels.clone();
    if !run.domains.is_empty() {
        labels.push(format!("roadstead.host={}", run.domains.join(",")));
    }
    labels.extend(run.https.iter().map(|kind| format!("roadstead.https={kind}")));
    pairs("--label", &labels)
}

fn pairs(flag: &str, pairs: &[String]) -> Result<Option<Value>, ConfigError> {
    let mut object = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage(format!("{flag} {pair}: expected NAME=VALUE")));
        };
        object.insert(name.to_owned(), json!(value));
    }
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}
