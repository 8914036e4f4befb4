//! Which runtime a node uses.

use crate::{DockerConfig, DockerRuntime, Error, ImageSource, ProcessConfig, ProcessRuntime, Runtime};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Docker where `DOCKER_HOST` or the standard socket answers, else process.
    #[default]
    Auto,
    Docker,
    Process,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown runtime {0:?}: auto, docker and process are known")]
pub struct ChoiceError(String);

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "docker" => Ok(Self::Docker),
            "process" => Ok(Self::Process),
            other => Err(ChoiceError(other.to_owned())),
        }
    }
}

/// All that any runtime needs to know.
#[derive(Clone, Debug)]
pub struct Detect {
    pub choice: Choice,
    /// What a runtime keeps on disk goes below.
    pub data: PathBuf,
    /// Where forwarded host ports listen.
    pub listen: IpAddr,
    /// The binary that becomes a task's shim.
    pub shim: PathBuf,
    /// The node's id: containers of a shared daemon are told apart by it.
    pub node: String,
    /// For references that name no registry.
    pub registry: Option<String>,
    pub registry_credentials: web::Credentials,
}

/// Opens the runtime that was asked for. `images` is for runtimes that pull by themselves; Docker's daemon pulls its own.
pub async fn detect(detect: Detect, images: Arc<dyn ImageSource>) -> Result<Arc<dyn Runtime>, Error> {
    match detect.choice {
        Choice::Docker => docker(&detect).await,
        Choice::Process => process(detect, images).await,
        Choice::Auto if DockerRuntime::host(None).is_none() => process(detect, images).await,
        Choice::Auto => match docker(&detect).await {
            Ok(docker) => Ok(docker),
            Err(error) => {
                tracing::info!(error = %lifecycle::ErrorChain(&error), "no docker: tasks run as processes");
                process(detect, images).await
            }
        },
    }
}

async fn docker(detect: &Detect) -> Result<Arc<dyn Runtime>, Error> {
    let config = DockerConfig {
        host: None,
        node: detect.node.clone(),
        listen: detect.listen,
        registry: detect.registry.clone(),
        registry_credentials: detect.registry_credentials.clone(),
    };
    Ok(Arc::new(DockerRuntime::connect(config).await?))
}

async fn process(detect: Detect, images: Arc<dyn ImageSource>) -> Result<Arc<dyn Runtime>, Error> {
    let Detect { data, listen, shim, .. } = detect;
    Ok(Arc::new(ProcessRuntime::open(ProcessConfig { data, listen, shim }, images).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_and_a_wrong_one_named() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("process".parse(), Ok(Choice::Process));
        assert!("podman".parse::<Choice>().unwrap_err().to_string().contains("\"podman\""));
    }
}
