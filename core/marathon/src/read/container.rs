//! The container: image and volumes. A given container replaces the whole of the one before. (Its network and port
//! mappings are read in `network`.)

use super::fields::Object;
use crate::rejection::Faults;
use model::{App, Image, Volume};
use serde_json::Value;

pub fn fill(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    let Some(container) = object.object("container", faults) else { return };
    let kind = container.text("type", faults).unwrap_or_else(|| "DOCKER".into());
    if kind != "DOCKER" && kind != "MESOS" {
        faults.value(container.path("type"), "must be DOCKER or MESOS");
    }
    let docker = container.object("docker", faults);
    if kind == "DOCKER" && docker.is_none() {
        faults.value(container.path("docker"), "not defined");
    }
    app.image = docker.and_then(|docker| image(&docker, faults));
    let volumes = container.objects("volumes", faults).unwrap_or_default();
    app.volumes = volumes.iter().filter_map(|entry| volume(entry, faults)).collect();
}

fn image(docker: &Object<'_>, faults: &mut Faults) -> Option<Image> {
    let reference = docker.text("image", faults).filter(|reference| !reference.is_empty());
    if reference.is_none() {
        faults.value(docker.path("image"), "must not be empty");
    }
    let force_pull = docker.boolean("forcePullImage", faults).unwrap_or(false);
    let privileged = docker.boolean("privileged", faults).unwrap_or(false);
    let parameters = parameters(docker, faults);
    Some(Image { reference: reference?, force_pull, privileged, parameters })
}

/// `{"name": "value"}` in 0.7.6, `[{"key", "value"}]` since 0.8.
fn parameters(docker: &Object<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    if docker.get("parameters").is_some_and(|item| matches!(item.value, Value::Object(_))) {
        return docker.text_map("parameters", faults).unwrap_or_default().into_iter().collect();
    }
    let mut list = Vec::new();
    for entry in docker.objects("parameters", faults).unwrap_or_default() {
        match (entry.text("key", faults), entry.text("value", faults)) {
            (Some(key), Some(value)) if !key.is_empty() => list.push((key, value)),
            _ => faults.value(entry.own_path(), "needs a key and a value"),
        }
    }
    list
}

fn volume(entry: &Object<'_>, faults: &mut Faults) -> Option<Volume> {
    if entry.has("persistent") || entry.has("external") || entry.has("secret") {
        faults.value(entry.own_path(), "only volumes of the host are supported (containerPath, hostPath, mode)");
        return None;
    }
    let mut path = |name| {
        let path = entry.text(name, faults).filter(|path| !path.is_empty());
        if path.is_none() {
            faults.value(entry.path(name), "must not be empty");
        }
        path
    };
    let container_path = path("containerPath");
    let host_path = path("hostPath");
    let read_only = match entry.text("mode", faults).as_deref() {
        None | Some("RO") => true,
        Some("RW") => false,
        Some(_) => {
            faults.value(entry.path("mode"), "must be RO or RW");
            return None;
        }
    };
    Some(Volume { container_path: container_path?, host_path: host_path?, read_only })
}
