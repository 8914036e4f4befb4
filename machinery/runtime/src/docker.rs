//! The docker runtime: Docker Engine's API, from version 1.41 (dockerd 20.10).
//!
//! Everything made carries two labels, the task and the node; only what carries this node's is ever looked at or removed.
//! The daemon keeps containers, exit statuses and logs, so there is nothing of ours to lose: after a restart containers
//! are found by label.

mod container;
mod state;

use crate::spec::check_id;
use crate::{ContainerSpec, Error, Executed, Exit, Found, Kind, LogSlice, Runtime, Status, Stream};
use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, KillContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use container::{LABEL_NODE, LABEL_TASK, Surroundings};
use futures::{StreamExt, TryStreamExt};
use oci::Reference;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use web::Credentials;

/// A local daemon answers a ping within this time, or is not there.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// When the daemon says that a container still runs although waiting for it ended, it is asked again after this time.
const WAIT_AGAIN: Duration = Duration::from_millis(100);
const STANDARD_SOCKET: &str = "/var/run/docker.sock";
/// The most bytes of a log that are kept while its last bytes are looked for.
const LOG_TAIL_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// `unix://…` or `tcp://…`; `None` is `DOCKER_HOST` or the standard socket.
    pub host: Option<String>,
    /// The node's id.
    pub node: String,
    /// Where forwarded host ports listen.
    pub listen: IpAddr,
    /// For references that name no registry; the only one that is shown the credentials.
    pub registry: Option<String>,
    pub registry_credentials: Credentials,
}

pub struct DockerRuntime {
    docker: bollard::Docker,
    config: DockerConfig,
    surroundings: Surroundings,
}

impl DockerRuntime {
    /// Where a daemon would be found: what the configuration or `DOCKER_HOST` says, else the standard socket if it exists.
    pub fn host(configured: Option<&str>) -> Option<String> {
        let named = configured.map(str::to_owned).or_else(|| std::env::var("DOCKER_HOST").ok());
        let standard = || PathBuf::from(STANDARD_SOCKET).exists().then(|| format!("unix://{STANDARD_SOCKET}"));
        named.filter(|host| !host.is_empty()).or_else(standard)
    }

    /// Connects to a daemon that answers.
    pub async fn connect(config: DockerConfig) -> Result<Self, Error> {
        let unsupported = |why: String| Error::Unsupported { kind: Kind::Docker, why };
        let host = Self::host(config.host.as_deref());
        let host = host.ok_or_else(|| unsupported(format!("no DOCKER_HOST and no {STANDARD_SOCKET}")))?;
        let docker = bollard::Docker::connect_with_host(&host).map_err(docker_error(format!("connect to {host}")))?;
        let ping = tokio::time::timeout(PING_TIMEOUT, docker.ping()).await;
        let ping = ping.map_err(|_| unsupported(format!("{host} does not answer within {PING_TIMEOUT:?}")))?;
        ping.map_err(docker_error(format!("ping {host}")))?;
        let docker = docker.negotiate_version().await.map_err(docker_error("ask for the daemon's version"))?;
        let bridge = match docker.inspect_network("bridge", None).await {
            Ok(_) => true,
            Err(error) if is_not_found(&error) => false,
            Err(error) => return Err(docker_error("look for the bridge network")(error)),
        };
        let surroundings = Surroundings { node: config.node.clone(), listen: config.listen, bridge };
        Ok(Self { docker, config, surroundings })
    }

    /// A reference the daemon understands, with the registry it is to ask.
    fn reference(&self, text: &str) -> Result<Reference, Error> {
        let reference: Reference =
            text.parse().map_err(|source| Error::Image { reference: text.to_owned(), source: Box::new(source) })?;
        Ok(match &self.config.registry {
            Some(registry) => reference.or_registry(registry),
            None => reference,
        })
    }

    fn credentials(&self, reference: &Reference) -> Option<DockerCredentials> {
        if reference.registry.is_none() || reference.registry != self.config.registry {
            return None;
        }
        let (username, password) = match &self.config.registry_credentials {
            Credentials::None => return None,
            // Registries of ours take a token as the password of any user.
            Credentials::Bearer(token) => ("token".to_owned(), token.clone()),
            Credentials::Basic { user, password } => (user.clone(), password.clone()),
        };
        let serveraddress = reference.registry.clone();
        Some(DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        })
    }

    async fn pull(&self, reference: &Reference) -> Result<(), Error> {
        let options = CreateImageOptionsBuilder::default().from_image(&reference.to_string()).build();
        let credentials = self.credentials(reference);
        let pulled =
            self.docker.create_image(Some(options), None, credentials).try_for_each(|_| async { Ok(()) }).await;
        pulled.map_err(|source| Error::Image { reference: reference.to_string(), source: Box::new(source) })
    }

    /// `None` when there is no such container, or one that is not ours.
    async fn inspect(&self, id: &str) -> Result<Option<Status>, Error> {
        check_id(id)?;
        let name = container::name(id);
        let found = match self.docker.inspect_container(&name, None).await {
            Ok(found) => found,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(error) => return Err(docker_error(format!("inspect {name}"))(error)),
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let ours = labels.get(LABEL_TASK).is_some_and(|task| task == id)
            && labels.get(LABEL_NODE).is_some_and(|node| *node == self.config.node);
        if !ours {
            return Err(Error::Start {
                id: id.to_owned(),
                why: format!("a container {name} of somebody else's is there"),
            });
        }
        Ok(Some(state::status(&found.state.unwrap_or_default())))
    }

    async fn create_and_start(&self, spec: &ContainerSpec, init: bool) -> Result<(), bollard::errors::Error> {
        let name = container::name(&spec.id);
        let mut body = container::body(spec, &self.surroundings, init);
        if let Some(text) = &spec.image
            && let Ok(reference) = self.reference(text)
        {
            body.image = Some(reference.to_string());
        }
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        self.docker.create_container(Some(options), body).await?;
        self.docker.start_container(&name, None).await
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.docker.kill_container(&container::name(id), Some(options)).await {
            // 404: not there; 409: not running.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            killed => killed.map_err(docker_error(format!("send {signal} to {id}"))),
        }
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn kind(&self) -> Kind {
        Kind::Docker
    }

    fn limits(&self) -> Vec<String> {
        let mut limits =
            vec!["log offsets count from the oldest line the daemon keeps: they shift when it rotates".to_owned()];
        if !self.surroundings.bridge {
            limits.push("the daemon has no bridge: tasks share the host's network, ports are not forwarded".to_owned());
        }
        limits
    }

    async fn prepare(&self, spec: &ContainerSpec) -> Result<(), Error> {
        spec.check()?;
        container::check(spec)?;
        let reference = self.reference(spec.image.as_deref().unwrap_or_default())?;
        if !spec.force_pull && self.docker.inspect_image(&reference.to_string()).await.is_ok() {
            return Ok(());
        }
        self.pull(&reference).await
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<(), Error> {
        spec.check()?;
        container::check(spec)?;
        match self.inspect(&spec.id).await? {
            // Created, and then we were interrupted.
            Some(Status::Ended(Exit { how: crate::How::NeverStarted, .. })) => self.remove(&spec.id).await?,
            Some(_) => return Ok(()),
            None => {}
        }
        self.prepare(&ContainerSpec { force_pull: false, ..spec.clone() }).await?;
        let with_init = container::wants_init(spec);
        let mut started = self.create_and_start(spec, with_init).await;
        if with_init && started.as_ref().is_err_and(|error| error.to_string().contains("docker-init")) {
            // This daemon came without its init: the shell is pid 1 then.
            self.remove(&spec.id).await?;
            started = self.create_and_start(spec, false).await;
        }
        started.map_err(|error| Error::Start { id: spec.id.clone(), why: message(&error) })
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        let ours = HashMap::from([("label", vec![format!("{LABEL_NODE}={}", self.config.node)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
        let listed = self.docker.list_containers(Some(options)).await.map_err(docker_error("list containers"))?;
        let mut found = Vec::new();
        for summary in listed {
            let Some(id) = summary.labels.and_then(|mut labels| labels.remove(LABEL_TASK)) else { continue };
            // Removed since it was listed: not there.
            if let Ok(Some(status)) = self.inspect(&id).await {
                found.push(Found { id, status });
            }
        }
        Ok(found)
    }

    async fn find(&self, id: &str) -> Result<Option<Status>, Error> {
        self.inspect(id).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, Error> {
        loop {
            match self.inspect(id).await? {
                None => return Err(Error::Unknown { id: id.to_owned() }),
                Some(Status::Ended(exit)) => return Ok(exit),
                Some(Status::Running { .. }) => {
                    let options = Some(WaitContainerOptions { condition: "not-running".to_owned() });
                    let mut waiting = Box::pin(self.docker.wait_container(&container::name(id), options));
                    // A failure may be an exit status other than 0, or the daemon going away: the next look tells.
                    if let Some(Err(error)) = waiting.next().await
                        && !matches!(error, bollard::errors::Error::DockerContainerWaitError { .. })
                    {
                        tracing::debug!(id, %error, "wait");
                        tokio::time::sleep(WAIT_AGAIN).await;
                    }
                }
            }
        }
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        if !matches!(self.inspect(id).await?, Some(Status::Running { .. })) {
            return Ok(());
        }
        self.kill(id, "SIGTERM").await?;
        let mut ended = tokio::time::timeout(grace, self.wait(id)).await;
        if ended.is_err() {
            self.kill(id, "SIGKILL").await?;
            ended = Ok(self.wait(id).await);
        }
        match ended {
            Ok(Err(error)) if !matches!(error, Error::Unknown { .. }) => Err(error),
            // It ended; that somebody was quick to remove it changes nothing.
            _ => Ok(()),
        }
    }

    async fn exec(&self, id: &str, command: &str, timeout: Duration) -> Result<Executed, Error> {
        if !matches!(self.inspect(id).await?, Some(Status::Running { .. })) {
            return Err(Error::NotRunning { id: id.to_owned() });
        }
        let context = || format!("run a command in {id}");
        let options = CreateExecOptions {
            cmd: Some(vec!["/bin/sh", "-c", command]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let made = self.docker.create_exec(&container::name(id), options).await.map_err(docker_error(context()))?;
        let run = async {
            if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&made.id, None).await? {
                while output.try_next().await?.is_some() {}
            }
            self.docker.inspect_exec(&made.id).await
        };
        match tokio::time::timeout(timeout, run).await {
            Err(_) => Ok(Executed::TimedOut),
            Ok(Ok(done)) => Ok(Executed::Status(done.exit_code.and_then(|code| code.try_into().ok()).unwrap_or(-1))),
            Ok(Err(error)) => Err(docker_error(context())(error)),
        }
    }

    async fn logs(&self, id: &str, stream: Stream, offset: Option<u64>, length: usize) -> Result<LogSlice, Error> {
        if self.inspect(id).await?.is_none() {
            return Err(Error::Unknown { id: id.to_owned() });
        }
        let (stdout, stderr) = (stream == Stream::Stdout, stream == Stream::Stderr);
        let options = LogsOptionsBuilder::default().stdout(stdout).stderr(stderr).tail("all").build();
        let mut pieces = Box::pin(self.docker.logs(&container::name(id), Some(options)));
        let mut window = Window::new(offset, length.min(LOG_TAIL_BYTES_MAX));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(docker_error(format!("read the log of {id}")))?;
            let (LogOutput::StdOut { message } | LogOutput::StdErr { message }) = piece else { continue };
            if !window.take(&message) {
                break;
            }
        }
        Ok(window.slice())
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        if self.inspect(id).await?.is_none() {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(&container::name(id), Some(options)).await {
            Err(error) if is_not_found(&error) => Ok(()),
            removed => removed.map_err(docker_error(format!("remove {id}"))),
        }
    }
}

/// A piece of a log that can only be read from its beginning.
struct Window {
    /// `None`: the last bytes.
    from: Option<u64>,
    length: usize,
    /// Bytes seen.
    seen: u64,
    kept: Vec<u8>,
}

impl Window {
    fn new(from: Option<u64>, length: usize) -> Self {
        Self { from, length, seen: 0, kept: Vec::new() }
    }

    /// Whether more is wanted.
    fn take(&mut self, piece: &[u8]) -> bool {
        let begin = self.seen;
        self.seen += piece.len() as u64;
        match self.from {
            None => {
                self.kept.extend_from_slice(piece);
                self.kept.drain(..self.kept.len().saturating_sub(self.length));
                true
            }
            Some(from) => {
                let skip = usize::try_from(from.saturating_sub(begin)).unwrap_or(usize::MAX).min(piece.len());
                let room = self.length - self.kept.len();
                self.kept.extend(piece[skip..].iter().take(room));
                self.kept.len() < self.length
            }
        }
    }

    fn slice(self) -> LogSlice {
        let offset = match self.from {
            None => self.seen - self.kept.len() as u64,
            Some(from) => from.min(self.seen),
        };
        LogSlice { offset, data: self.kept.into() }
    }
}

fn is_not_found(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

/// The daemon's own words, without the client's.
fn message(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn docker_error(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Error {
    let what = what.into();
    move |source| Error::Docker { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(from: Option<u64>, length: usize) -> (u64, Vec<u8>) {
        let mut window = Window::new(from, length);
        for piece in [&b"0123"[..], b"45", b"6789"] {
            if !window.take(piece) {
                break;
            }
        }
        let slice = window.slice();
        (slice.offset, slice.data.to_vec())
    }

    #[test]
    fn a_log_is_read_from_anywhere() {
        assert_eq!(slice(Some(0), 3), (0, b"012".to_vec()));
        assert_eq!(slice(Some(3), 4), (3, b"3456".to_vec()));
        assert_eq!(slice(Some(8), 100), (8, b"89".to_vec()));
        assert_eq!(slice(Some(99), 4), (10, Vec::new()));
        assert_eq!(slice(None, 3), (7, b"789".to_vec()));
        assert_eq!(slice(None, 100), (0, b"0123456789".to_vec()));
        assert_eq!(slice(Some(2), 0), (2, Vec::new()));
    }
}
