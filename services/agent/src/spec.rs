//! From the protocol's task to the runtime's container.

use protocol::TaskSpec;
use runtime::{Command, ContainerSpec, Error, PortForward, Volume};

/// Refuses what no runtime could run; the message is what the app's owner reads.
pub(crate) fn container(task: &TaskSpec) -> Result<ContainerSpec, Error> {
    let command = match &task.cmd {
        Some(line) => Command::Shell(line.clone()),
        None if !task.args.is_empty() => Command::Arguments(task.args.clone()),
        None => Command::Image,
    };
    let mut ports = Vec::new();
    for binding in &task.ports {
        // Marathon writes "udp,tcp" for a port that is both; an absent protocol is TCP.
        let protocols = if binding.protocol.is_empty() { "tcp" } else { &binding.protocol };
        for protocol in protocols.split(',') {
            ports.push(PortForward {
                host_port: port(binding.host_port)?,
                container_port: port(binding.container_port)?,
                protocol: protocol.trim().to_ascii_lowercase(),
            });
        }
    }
    let volume = |volume: &protocol::Volume| Volume {
        container_path: volume.container_path.clone().into(),
        host_path: volume.host_path.clone().into(),
        read_only: volume.read_only,
    };
    let container = ContainerSpec {
        id: task.task_id.clone(),
        image: (!task.image.is_empty()).then(|| task.image.clone()),
        force_pull: task.force_pull,
        command,
        user: (!task.user.is_empty()).then(|| task.user.clone()),
        env: task.env.clone().into_iter().collect(),
        cpus_milli: task.cpus_milli,
        memory_bytes: task.mem_bytes,
        ports,
        host_network: task.host_network,
        host_name: task.container_name.clone(),
        privileged: task.privileged,
        volumes: task.volumes.iter().map(volume).collect(),
        docker_parameters: task.docker_parameters.clone().into_iter().collect(),
    };
    container.check()?;
    Ok(container)
}

fn port(number: u32) -> Result<u16, Error> {
    u16::try_from(number).map_err(|_| Error::Spec { what: format!("{number} is no port") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::PortBinding;

    fn task() -> TaskSpec {
        TaskSpec {
            task_id: "t.1".to_owned(),
            container_name: "t".to_owned(),
            cmd: Some("true".to_owned()),
            ..TaskSpec::default()
        }
    }

    #[test]
    fn a_command_goes_before_arguments_and_both_before_the_image() {
        let mut task = TaskSpec { image: "s3pics:2.0".to_owned(), args: vec!["a".to_owned()], ..task() };
        assert_eq!(container(&task).unwrap().command, Command::Shell("true".to_owned()));
        task.cmd = None;
        assert_eq!(container(&task).unwrap().command, Command::Arguments(vec!["a".to_owned()]));
        task.args.clear();
        assert_eq!(container(&task).unwrap().command, Command::Image);
    }

    #[test]
    fn hostile_tasks_are_refused() {
        let binding = |host_port, protocol: &str| PortBinding {
            host_port,
            container_port: 80,
            protocol: protocol.to_owned(),
            name: String::new(),
        };
        let both = TaskSpec { ports: vec![binding(31000, "UDP, tcp")], ..task() };
        assert_eq!(container(&both).unwrap().ports.len(), 2);
        for bad in [
            TaskSpec { task_id: "../x".to_owned(), ..task() },
            TaskSpec { container_name: "a b".to_owned(), ..task() },
            TaskSpec { ports: vec![binding(70000, "")], ..task() },
            TaskSpec { cmd: None, ..task() },
        ] {
            assert!(container(&bad).is_err(), "{bad:?}");
        }
    }
}
