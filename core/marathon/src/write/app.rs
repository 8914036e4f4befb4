//! An app: every key, with `null` for what is absent and empty collections for what is empty, as Marathon wrote it.

use super::{TaskCounts, seconds};
use model::resources::{bytes_to_mib, milli_to_cpus};
use model::{
    App, AppId, Constraint, DeploymentId, HealthCheck, HealthProtocol, KillSelection, Network, PortMapping, TaskId,
    TaskState, Timestamp, Volume,
};
use serde_json::{Map, Value, json};

/// What has become of an app; each part is shown when it is known (`embed` decides).
#[derive(Clone, Debug, Default)]
pub struct AppStatus {
    pub counts: TaskCounts,
    pub deployments: Vec<DeploymentId>,
    pub tasks: Option<Vec<Value>>,
    pub last_task_failure: Option<Value>,
}

/// The definition alone.
pub fn app(app: &App) -> Value {
    Value::Object(definition(app))
}

/// The definition and what has become of it.
pub fn app_with(app: &App, status: AppStatus) -> Value {
    let mut fields = definition(app);
    let TaskCounts { staged, running, healthy, unhealthy } = status.counts;
    fields.insert("tasksStaged".into(), staged.into());
    fields.insert("tasksRunning".into(), running.into());
    fields.insert("tasksHealthy".into(), healthy.into());
    fields.insert("tasksUnhealthy".into(), unhealthy.into());
    let deployments: Vec<Value> = status.deployments.iter().map(|id| json!({ "id": id.as_str() })).collect();
    fields.insert("deployments".into(), deployments.into());
    if let Some(tasks) = status.tasks {
        fields.insert("tasks".into(), tasks.into());
    }
    if let Some(failure) = status.last_task_failure {
        fields.insert("lastTaskFailure".into(), failure);
    }
    Value::Object(fields)
}

/// The app's last failed task.
pub fn last_task_failure(
    app: &AppId,
    task: &TaskId,
    host: &str,
    state: TaskState,
    message: &str,
    version: Timestamp,
    at: Timestamp,
) -> Value {
    json!({
        "appId": app.as_str(),
        "host": host,
        "message": message,
        "state": state.mesos_name(),
        "taskId": task.as_str(),
        "timestamp": at.to_string(),
        "version": version.to_string(),
    })
}

fn definition(app: &App) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("id", app.id.as_str().into());
    put("cmd", app.cmd.clone().into());
    put("args", app.args.clone().into());
    put("user", app.user.clone().into());
    put("env", json!(app.env));
    put("instances", app.instances.into());
    put("cpus", milli_to_cpus(app.cpus_milli).into());
    put("mem", bytes_to_mib(app.mem_bytes).into());
    put("disk", bytes_to_mib(app.disk_bytes).into());
    put("executor", "".into());
    put("constraints", app.constraints.iter().map(constraint).collect());
    put("uris", json!([]));
    put("storeUrls", json!([]));
    put("ports", app.ports.iter().map(|port| Value::from(port.service_port)).collect());
    put("requirePorts", app.require_ports.into());
    put("backoffSeconds", seconds(app.backoff));
    put("backoffFactor", app.backoff_factor.into());
    put("maxLaunchDelaySeconds", seconds(app.launch_delay_max));
    put("container", container(app));
    put("healthChecks", app.health_checks.iter().map(health_check).collect());
    put("dependencies", app.dependencies.iter().map(|id| Value::from(id.as_str())).collect());
    put(
        "upgradeStrategy",
        json!({
            "minimumHealthCapacity": app.upgrade_strategy.minimum_health_capacity,
            "maximumOverCapacity": app.upgrade_strategy.maximum_over_capacity,
        }),
    );
    put("labels", json!(app.labels));
    put("acceptedResourceRoles", Value::Null);
    put("taskKillGracePeriodSeconds", seconds(app.kill_grace));
    put("killSelection", kill_selection(app.kill_selection).into());
    put("version", app.version.to_string().into());
    if app.network == Network::Host && app.ports.iter().any(says_more_than_a_number) {
        put("portDefinitions", app.ports.iter().map(port_definition).collect());
    }
    if app.image.is_none() && app.network == Network::Bridge {
        put("networks", json!([{ "mode": "container/bridge" }]));
    }
    for (name, text) in &app.extra {
        put(name, serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()));
    }
    fields
}

fn constraint(constraint: &Constraint) -> Value {
    let operator = constraint.operator.name();
    match &constraint.value {
        Some(value) => json!([constraint.field, operator, value]),
        None => json!([constraint.field, operator]),
    }
}

fn kill_selection(selection: KillSelection) -> &'static str {
    match selection {
        KillSelection::YoungestFirst => "YOUNGEST_FIRST",
        KillSelection::OldestFirst => "OLDEST_FIRST",
    }
}

/// `null` for a plain command on the host. Without an image the mappings stand where 1.5 put them.
fn container(app: &App) -> Value {
    let mappings = || match app.network {
        Network::Bridge => app.ports.iter().map(port_mapping).collect(),
        Network::Host => json!([]),
    };
    let volumes: Value = app.volumes.iter().map(volume).collect();
    let Some(image) = &app.image else {
        return match app.network {
            Network::Host if app.volumes.is_empty() => Value::Null,
            Network::Host => json!({ "type": "MESOS", "volumes": volumes }),
            Network::Bridge => json!({ "type": "MESOS", "volumes": volumes, "portMappings": mappings() }),
        };
    };
    let parameters: Value = image.parameters.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let network = match app.network {
        Network::Host => "HOST",
        Network::Bridge => "BRIDGE",
    };
    json!({
        "type": "DOCKER",
        "volumes": volumes,
        "docker": {
            "image": image.reference,
            "network": network,
            "portMappings": mappings(),
            "privileged": image.privileged,
            "parameters": parameters,
            "forcePullImage": image.force_pull,
        },
    })
}

fn volume(volume: &Volume) -> Value {
    let mode = if volume.read_only { "RO" } else { "RW" };
    json!({ "containerPath": volume.container_path, "hostPath": volume.host_path, "mode": mode })
}

fn port_mapping(port: &PortMapping) -> Value {
    let mut value = json!({
        "containerPort": port.container_port,
        "hostPort": port.host_port,
        "servicePort": port.service_port,
        "protocol": port.protocol,
    });
    name_and_labels(port, &mut value);
    value
}

fn port_definition(port: &PortMapping) -> Value {
    let mut value = json!({ "port": port.service_port, "protocol": port.protocol });
    name_and_labels(port, &mut value);
    value
}

fn name_and_labels(port: &PortMapping, value: &mut Value) {
    if let Some(name) = &port.name {
        value["name"] = name.as_str().into();
    }
    if !port.labels.is_empty() {
        value["labels"] = json!(port.labels);
    }
}

fn says_more_than_a_number(port: &PortMapping) -> bool {
    port.protocol != "tcp" || port.name.is_some() || !port.labels.is_empty()
}

fn health_check(check: &HealthCheck) -> Value {
    let mut value = json!({
        "gracePeriodSeconds": seconds(check.grace),
        "intervalSeconds": seconds(check.interval),
        "timeoutSeconds": seconds(check.timeout),
        "maxConsecutiveFailures": check.consecutive_failures_max,
        "ignoreHttp1xx": false,
    });
    match check.protocol {
        HealthProtocol::Http => {
            value["protocol"] = "HTTP".into();
            value["path"] = check.path.as_str().into();
            value["portIndex"] = check.port_index.into();
        }
        HealthProtocol::Tcp => {
            value["protocol"] = "TCP".into();
            value["portIndex"] = check.port_index.into();
        }
        HealthProtocol::Command => {
            value["protocol"] = "COMMAND".into();
            value["command"] = json!({ "value": check.command });
        }
    }
    value
}
