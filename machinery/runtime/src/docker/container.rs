//! From a specification to the body of Docker's create call. Pure.

use crate::{Command, ContainerSpec, Error};
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, PortMap};
use std::collections::HashMap;
use std::net::IpAddr;

/// On everything we make; only what carries the node's is ours.
pub(super) const LABEL_TASK: &str = "roadstead.task";
pub(super) const LABEL_NODE: &str = "roadstead.node";
/// Docker's own unit: 1 cpu weighs 1024 (Mesos says the same).
const SHARES_PER_CPU: u64 = 1024;
const SHARES_MIN: u64 = 2;
/// Bounds of a log the daemon keeps, both streams together.
const LOG_FILE_SIZE: &str = "4m";
const LOG_FILES: &str = "2";
/// docker-init is tini: with this it passes signals to the whole group of its child, so that a shell in between does not
/// keep them (tini's README, "Process group killing").
const INIT_GROUP_VARIABLE: &str = "TINI_KILL_PROCESS_GROUP=1";
/// `docker run`'s parameters that an app may set.
const PARAMETERS: [&str; 5] = ["hostname", "workdir", "cap-add", "cap-drop", "add-host"];

/// What containers are made in.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) node: String,
    pub(super) listen: IpAddr,
    /// Without a bridge containers share the host's network.
    pub(super) bridge: bool,
}

pub(super) fn name(id: &str) -> String {
    format!("roadstead-{id}")
}

/// Refuses what only other runtimes can do.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), Error> {
    if spec.image.is_none() {
        return Err(Error::Spec { what: "docker runs images only; this app has none".to_owned() });
    }
    match spec.docker_parameters.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
        Some(unknown) => {
            let known = PARAMETERS.join(", ");
            Err(Error::Spec { what: format!("docker parameter {unknown:?} is not supported; {known} are") })
        }
        None => Ok(()),
    }
}

/// A shell that is pid 1 ignores SIGTERM; under an init it does not. A plain program is started as it is, so that one that
/// cannot be executed is an error of the start.
pub(super) fn wants_init(spec: &ContainerSpec) -> bool {
    matches!(spec.command, Command::Shell(_))
}

pub(super) fn body(spec: &ContainerSpec, surroundings: &Surroundings, init: bool) -> ContainerCreateBody {
    let bridged = surroundings.bridge && !spec.host_network;
    let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if init {
        env.push(INIT_GROUP_VARIABLE.to_owned());
    }
    let (entrypoint, cmd) = match &spec.command {
        Command::Image => (None, None),
        Command::Arguments(arguments) => (None, Some(arguments.clone())),
        Command::Shell(line) => (Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]), Some(vec![line.clone()])),
    };
    let ports = spec.ports.iter().filter(|_| bridged);
    let exposed: Vec<String> = ports.map(|port| format!("{}/{}", port.container_port, port.protocol)).collect();
    let parameter = |name: &str| spec.docker_parameters.get(name).cloned();
    let labels = [(LABEL_TASK, spec.id.clone()), (LABEL_NODE, surroundings.node.clone())];
    ContainerCreateBody {
        hostname: Some(parameter("hostname").unwrap_or_else(|| spec.host_name.clone())),
        user: spec.user.clone(),
        image: spec.image.clone(),
        env: Some(env),
        entrypoint,
        cmd,
        working_dir: parameter("workdir"),
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
        host_config: Some(host_config(spec, surroundings, bridged, init)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, surroundings: &Surroundings, bridged: bool, init: bool) -> HostConfig {
    let shares = (spec.cpus_milli * SHARES_PER_CPU / 1000).max(SHARES_MIN);
    let mut bindings = PortMap::new();
    for port in spec.ports.iter().filter(|_| bridged) {
        let binding =
            PortBinding { host_ip: Some(surroundings.listen.to_string()), host_port: Some(port.host_port.to_string()) };
        let key = format!("{}/{}", port.container_port, port.protocol);
        bindings.entry(key).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(binding);
    }
    let bind = |volume: &crate::Volume| {
        let mode = if volume.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", volume.host_path.display(), volume.container_path.display())
    };
    let log_options = HashMap::from([
        ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
        ("max-file".to_owned(), LOG_FILES.to_owned()),
    ]);
    let list = |name: &str| spec.docker_parameters.get(name).map(|value| vec![value.clone()]);
    HostConfig {
        cpu_shares: Some(i64::try_from(shares).unwrap_or(i64::MAX)),
        memory: (spec.memory_bytes > 0).then(|| i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX)),
        network_mode: Some(if bridged { "bridge" } else { "host" }.to_owned()),
        port_bindings: (!bindings.is_empty()).then_some(bindings),
        binds: (!spec.volumes.is_empty()).then(|| spec.volumes.iter().map(bind).collect()),
        privileged: Some(spec.privileged),
        init: Some(init),
        cap_add: list("cap-add"),
        cap_drop: list("cap-drop"),
        extra_hosts: list("add-host"),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log_options) }),
        ..HostConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortForward;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: "s3pics.1".to_owned(),
            image: Some("s3pics:2.0".to_owned()),
            command: Command::Shell("./s3pics".to_owned()),
            host_name: "s3pics-1".to_owned(),
            cpus_milli: 500,
            memory_bytes: 64 << 20,
            ports: vec![PortForward { host_port: 31000, container_port: 8080, protocol: "tcp".to_owned() }],
            ..ContainerSpec::default()
        }
    }

    fn surroundings(bridge: bool) -> Surroundings {
        Surroundings { node: "node-1".to_owned(), listen: IpAddr::from([127, 0, 0, 1]), bridge }
    }

    #[test]
    fn everything_made_carries_both_labels() {
        let labels = body(&spec(), &surroundings(true), true).labels.unwrap();
        assert_eq!(labels[LABEL_TASK], "s3pics.1");
        assert_eq!(labels[LABEL_NODE], "node-1");
    }

    #[test]
    fn ports_are_bound_on_a_bridge_only() {
        let host = body(&spec(), &surroundings(true), true).host_config.unwrap();
        let binding = host.port_bindings.unwrap()["8080/tcp"].clone().unwrap().remove(0);
        assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some("127.0.0.1"), Some("31000")));
        assert_eq!((host.cpu_shares, host.memory), (Some(512), Some(64 << 20)));
        let host = body(&spec(), &surroundings(false), true).host_config.unwrap();
        assert_eq!((host.network_mode.as_deref(), host.port_bindings), (Some("host"), None));
    }

    #[test]
    fn unknown_parameters_and_bare_commands_are_refused() {
        let mut bad = spec();
        bad.docker_parameters.insert("pid".to_owned(), "host".to_owned());
        assert!(check(&bad).unwrap_err().to_string().contains("\"pid\""));
        assert!(check(&ContainerSpec { image: None, ..spec() }).is_err());
        check(&spec()).unwrap();
    }
}
