//! What to run, checked before anything is done with it.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The most bytes of a container id: it becomes a directory's name and a label.
const ID_BYTES_MAX: usize = 200;
/// The kernel's limit is 64 (`__NEW_UTS_LEN`); DNS labels stop at 63.
const HOST_NAME_BYTES_MAX: usize = 63;
/// The most bytes of arguments and environment together; the kernel takes 2 MiB with the default stack limit (execve(2)).
const COMMAND_BYTES_MAX: usize = 1 << 20;
/// `MAX_ARG_STRLEN`: one argument or variable, its final NUL included (execve(2)).
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
const PORTS_MAX: usize = 128;
const VOLUMES_MAX: usize = 64;
/// `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4096;
/// Less than this and not even a shell starts.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// One container. Idempotency, labels and directories all go by `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub id: String,
    /// A reference; `None` runs the command on the host's own files (process runtime only).
    pub image: Option<String>,
    /// Ask the registry again although the reference is known here.
    pub force_pull: bool,
    pub command: Command,
    /// `name`, `uid`, `name:group` or `uid:gid`; `None` is the image's own.
    pub user: Option<String>,
    /// Over the image's environment.
    pub env: BTreeMap<String, String>,
    /// Shares, not a limit.
    pub cpus_milli: u64,
    /// A hard limit where the kernel lets us; 0 is none.
    pub memory_bytes: u64,
    pub ports: Vec<PortForward>,
    /// Shares the host's network namespace; `ports` are then the task's own affair.
    pub host_network: bool,
    /// Inside the container.
    pub host_name: String,
    pub privileged: bool,
    pub volumes: Vec<Volume>,
    /// Only Docker knows these.
    pub docker_parameters: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The image's entrypoint and command.
    #[default]
    Image,
    /// By `/bin/sh -c`, in place of the image's entrypoint.
    Shell(String),
    /// In place of the image's command, after its entrypoint.
    Arguments(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    pub host_port: u16,
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub container_path: PathBuf,
    pub host_path: PathBuf,
    pub read_only: bool,
}

impl ContainerSpec {
    /// Refuses what no runtime could run, before a file is made or a byte is sent.
    pub fn check(&self) -> Result<(), Error> {
        check_id(&self.id)?;
        check_host_name(&self.host_name)?;
        self.check_command()?;
        if self.memory_bytes != 0 && self.memory_bytes < MEMORY_BYTES_MIN {
            return Err(bad(format!("{} bytes of memory are too few", self.memory_bytes)));
        }
        if self.ports.len() > PORTS_MAX {
            return Err(bad(format!("more than {PORTS_MAX} ports")));
        }
        for port in &self.ports {
            if port.host_port == 0 || (port.container_port == 0 && !self.host_network) {
                return Err(bad("port 0 cannot be forwarded"));
            }
            if !matches!(port.protocol.as_str(), "tcp" | "udp") {
                return Err(bad(format!("port {}: unknown protocol {:?}", port.host_port, port.protocol)));
            }
        }
        if self.volumes.len() > VOLUMES_MAX {
            return Err(bad(format!("more than {VOLUMES_MAX} volumes")));
        }
        for volume in &self.volumes {
            check_path(&volume.container_path)?;
            check_path(&volume.host_path)?;
        }
        Ok(())
    }

    fn check_command(&self) -> Result<(), Error> {
        let arguments: Vec<&str> = match &self.command {
            Command::Image if self.image.is_none() => {
                return Err(bad("neither an image nor a command"));
            }
            Command::Image => Vec::new(),
            Command::Shell(line) => vec![line],
            Command::Arguments(arguments) if arguments.is_empty() && self.image.is_none() => {
                return Err(bad("neither an image nor a command"));
            }
            Command::Arguments(arguments) => arguments.iter().map(String::as_str).collect(),
        };
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(bad(format!("environment variable {name:?} has no name a process can have")));
            }
            if value.contains('\0') {
                return Err(bad(format!("environment variable {name} contains a NUL byte")));
            }
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("the command contains a NUL byte"));
        }
        let variables = self.env.iter().map(|(name, value)| name.len() + value.len() + 2);
        let sizes: Vec<usize> = arguments.iter().map(|argument| argument.len() + 1).chain(variables).collect();
        if sizes.iter().any(|size| *size > ARGUMENT_BYTES_MAX) || sizes.iter().sum::<usize>() > COMMAND_BYTES_MAX {
            return Err(bad("arguments and environment are larger than the kernel takes"));
        }
        Ok(())
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::Spec { what: what.into() }
}

/// An id is a file name that cannot climb and a value every label takes.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let well_formed = id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.chars().all(safe);
    if well_formed && id.len() <= ID_BYTES_MAX {
        Ok(())
    } else {
        Err(bad(format!("id {id:?} is not 1 to {ID_BYTES_MAX} letters, digits, dots, dashes, underscores")))
    }
}

fn check_host_name(name: &str) -> Result<(), Error> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(safe);
    if well_formed && name.len() <= HOST_NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(bad(format!("host name {name:?} is not 1 to {HOST_NAME_BYTES_MAX} letters, digits, dots, dashes")))
    }
}

fn check_path(path: &Path) -> Result<(), Error> {
    let text = path.as_os_str().as_encoded_bytes();
    let climbs = path.components().any(|component| component == Component::ParentDir);
    let short = text.len() < PATH_BYTES_MAX;
    if path.is_absolute() && path != Path::new("/") && !climbs && short && !text.contains(&0) {
        Ok(())
    } else {
        Err(bad(format!("volume path {path:?} is not absolute, or climbs")))
    }
}

#[cfg(test)]
mod tests;
