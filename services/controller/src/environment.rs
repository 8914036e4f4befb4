//! The environment of a task: the app's own, then Marathon's variables, which override it.

use model::{App, Task, resources};
use std::collections::BTreeMap;

/// Where a task finds its sandbox (Mesos' path inside Docker).
const SANDBOX: &str = "/mnt/mesos/sandbox";
/// Labels with longer values get no variable (Marathon's bound).
const LABEL_VALUE_CHARS_MAX: usize = 512;

pub(crate) fn environment(app: &App, task: &Task) -> BTreeMap<String, String> {
    let mut variables = app.env.clone();
    let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    set("MARATHON_APP_RESOURCE_CPUS", decimal(resources::milli_to_cpus(app.cpus_milli)));
    set("MARATHON_APP_RESOURCE_MEM", decimal(resources::bytes_to_mib(app.mem_bytes)));
    set("MARATHON_APP_RESOURCE_DISK", decimal(resources::bytes_to_mib(app.disk_bytes)));
    set("MARATHON_APP_RESOURCE_GPUS", "0".to_owned());
    if let Some(image) = &app.image {
        set("MARATHON_APP_DOCKER_IMAGE", image.reference.clone());
    }
    set("MESOS_TASK_ID", task.id.to_string());
    set("MESOS_SANDBOX", SANDBOX.to_owned());
    set("HOST", task.host.clone());

    let short = |(_, value): &(&String, &String)| value.chars().count() <= LABEL_VALUE_CHARS_MAX;
    let labels: Vec<(&String, &String)> = app.labels.iter().filter(short).collect();
    let names: Vec<String> = labels.iter().map(|(name, _)| sanitised(name)).collect();
    set("MARATHON_APP_LABELS", names.join(" "));
    for (name, (_, value)) in names.iter().zip(&labels) {
        set(&format!("MARATHON_APP_LABEL_{name}"), (*value).clone());
    }

    for (index, port) in task.ports.iter().enumerate() {
        set(&format!("PORT{index}"), port.to_string());
        let Some(mapping) = app.ports.get(index) else { continue };
        match (mapping.container_port, mapping.service_port) {
            (0, 0) => {}
            (0, declared) => set(&format!("PORT_{declared}"), port.to_string()),
            (container_port, _) => set(&format!("PORT_{container_port}"), port.to_string()),
        }
        if let Some(name) = &mapping.name {
            set(&format!("PORT_{}", sanitised(name)), port.to_string());
        }
    }
    if let Some(first) = task.ports.first() {
        set("PORT", first.to_string());
        let all: Vec<String> = task.ports.iter().map(u16::to_string).collect();
        set("PORTS", all.join(","));
    }
    variables
}

/// As Marathon prints doubles: `0.1`, `64.0`.
fn decimal(value: f64) -> String {
    format!("{value:?}")
}

/// Letters, digits and underscores, upper-case.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;

    #[test]
    fn marathons_variables_override_the_apps_own() {
        let mut app = test_world::app("a/b", 1);
        app.env = BTreeMap::from([("HOST".into(), "mine".into()), ("COLOUR".into(), "blue".into())]);
        app.labels = BTreeMap::from([("a-b.c".into(), "1".into()), ("long".into(), "x".repeat(513))]);
        app.ports[0].name = Some("http-api".into());
        let task = test_world::task(&app, "node", 31000);
        let variables = environment(&app, &task);
        let expected = [
            ("COLOUR", "blue"),
            ("HOST", "node.example"),
            ("MARATHON_APP_ID", "/a/b"),
            ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
            ("MARATHON_APP_RESOURCE_MEM", "64.0"),
            ("MARATHON_APP_DOCKER_IMAGE", "s3pics:2.0"),
            ("MARATHON_APP_LABELS", "A_B_C"),
            ("MARATHON_APP_LABEL_A_B_C", "1"),
            ("MESOS_TASK_ID", task.id.as_str()),
            ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
            ("PORT", "31000"),
            ("PORT0", "31000"),
            ("PORTS", "31000"),
            ("PORT_8080", "31000"),
            ("PORT_HTTP_API", "31000"),
        ];
        for (name, value) in expected {
            assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(variables["MARATHON_APP_VERSION"], app.version.to_string());
    }
}
