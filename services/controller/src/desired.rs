//! What a node should run, in the words of its session.

use crate::environment::environment;
use model::{App, HealthProtocol, Intent, Network, NodeId, Task};
use protocol::{Check, PortBinding, TaskSpec, Volume};
use scheduler::World;
use std::time::Duration;

/// All tasks of a node, in the order of their ids. A task whose version is not known any more can only be stopped.
pub(crate) fn desired(world: &World, node: &NodeId) -> Vec<TaskSpec> {
    let of_node = world.tasks.values().filter(|record| record.task.node == *node);
    of_node
        .map(|record| match world.app_of(&record.task) {
            Some(app) => spec(app, &record.task),
            None => TaskSpec { stop: true, ..identity(&record.task) },
        })
        .collect()
}

fn identity(task: &Task) -> TaskSpec {
    TaskSpec {
        task_id: task.id.to_string(),
        app_id: task.app.to_string(),
        app_version: task.version.to_string(),
        stop: matches!(task.intent, Intent::Stop { .. }),
        container_name: task.container_name.clone(),
        ..TaskSpec::default()
    }
}

fn spec(app: &App, task: &Task) -> TaskSpec {
    let image = app.image.as_ref();
    TaskSpec {
        kill_grace_ms: milliseconds(app.kill_grace),
        image: image.map(|image| image.reference.clone()).unwrap_or_default(),
        force_pull: image.is_some_and(|image| image.force_pull),
        cmd: app.cmd.clone(),
        args: app.args.clone().unwrap_or_default(),
        user: app.user.clone().unwrap_or_default(),
        env: environment(app, task).into_iter().collect(),
        cpus_milli: app.cpus_milli,
        mem_bytes: app.mem_bytes,
        ports: ports(app, task),
        host_network: app.network == Network::Host,
        checks: checks(app, task),
        privileged: image.is_some_and(|image| image.privileged),
        volumes: app
            .volumes
            .iter()
            .map(|volume| Volume {
                container_path: volume.container_path.clone(),
                host_path: volume.host_path.clone(),
                read_only: volume.read_only,
            })
            .collect(),
        docker_parameters: image.map(|image| image.parameters.iter().cloned().collect()).unwrap_or_default(),
        ..identity(task)
    }
}

fn ports(app: &App, task: &Task) -> Vec<PortBinding> {
    let binding = |(port, mapping): (&u16, &model::PortMapping)| PortBinding {
        host_port: u32::from(*port),
        container_port: u32::from(if mapping.container_port == 0 { *port } else { mapping.container_port }),
        protocol: mapping.protocol.clone(),
        name: mapping.name.clone().unwrap_or_default(),
    };
    task.ports.iter().zip(&app.ports).map(binding).collect()
}

fn checks(app: &App, task: &Task) -> Vec<Check> {
    let check = |check: &model::HealthCheck| Check {
        protocol: match check.protocol {
            HealthProtocol::Http => "HTTP",
            HealthProtocol::Tcp => "TCP",
            HealthProtocol::Command => "COMMAND",
        }
        .to_owned(),
        path: check.path.clone(),
        host_port: task.ports.get(check.port_index).copied().map_or(0, u32::from),
        command: check.command.clone().unwrap_or_default(),
        grace_ms: milliseconds(check.grace),
        interval_ms: milliseconds(check.interval),
        timeout_ms: milliseconds(check.timeout),
        max_consecutive_failures: check.consecutive_failures_max,
    };
    app.health_checks.iter().map(check).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
