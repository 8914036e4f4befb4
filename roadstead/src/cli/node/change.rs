//! `roadstead node drain`, `restore` and `remove`.

use super::super::app::Common;
use super::super::connection::Api;
use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// A draining machine is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub async fn drain(common: &Common, name: &str, wait: bool, timeout: Option<Duration>) -> anyhow::Result<ExitCode> {
    let api = common.connection.api()?;
    let _: Value = api.send(Method::POST, &format!("/v1/nodes/{name}/drain"), &json!({})).await?;
    if !wait {
        common.output.say(&format!("{name} is draining"), &json!({ "node": name, "draining": true }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let mut told = None;
    loop {
        let left = tasks_of(&api, name).await?;
        if left == 0 {
            common.output.say(&format!("{name} is empty"), &json!({ "node": name, "draining": true, "tasks": 0 }))?;
            return Ok(ExitCode::SUCCESS);
        }
        if told.replace(left) != Some(left) {
            eprintln!("{left} tasks are left on {name}");
        }
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            eprintln!("{left} tasks are still on {name} (why: `roadstead app show`); the draining goes on");
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

pub async fn restore(common: &Common, name: &str) -> anyhow::Result<()> {
    let _: Value =
        common.connection.api()?.send(Method::POST, &format!("/v1/nodes/{name}/restore"), &json!({})).await?;
    common.output.say(&format!("{name} takes tasks again"), &json!({ "node": name, "draining": false }))
}

pub async fn remove(common: &Common, name: &str, force: bool) -> anyhow::Result<()> {
    let path = format!("/v1/nodes/{name}?force={force}");
    let _: Value = common.connection.api()?.send(Method::DELETE, &path, &json!({})).await?;
    common.output.say(&format!("{name} is removed"), &json!({ "node": name, "removed": true }))
}

async fn tasks_of(api: &Api, name: &str) -> anyhow::Result<u64> {
    let nodes: Vec<Value> = api.get("/v1/nodes").await?;
    let node = nodes.iter().find(|node| node["id"] == *name);
    let node = node.with_context(|| format!("there is no machine `{name}` any more"))?;
    node["tasks"].as_u64().with_context(|| format!("the controller does not say how many tasks {name} has"))
}
