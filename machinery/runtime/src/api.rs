//! The trait every way to run a container implements, and what it speaks of.

use crate::ContainerSpec;
use async_trait::async_trait;
use bytes::Bytes;
use lifecycle::BoxError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Runs containers. Every method may be called again after a crash of the caller: `start` starts at most once per id,
/// `stop` and `remove` of what is not there succeed.
#[async_trait]
pub trait Runtime: Send + Sync {
    fn kind(&self) -> Kind;

    /// What this runtime lacks on this machine, in words, for people.
    fn limits(&self) -> Vec<String>;

    /// Makes the image of `spec` ready on this node, so that a start needs nothing from the network.
    async fn prepare(&self, spec: &ContainerSpec) -> Result<(), Error>;

    /// Starts the container and returns once its process runs. A container of this id that was started before, running
    /// or ended, is left as it is.
    async fn start(&self, spec: &ContainerSpec) -> Result<(), Error>;

    /// Everything of ours that is there: running, ended and not yet removed, or found dead.
    async fn list(&self) -> Result<Vec<Found>, Error>;

    /// One of [`Runtime::list`].
    async fn find(&self, id: &str) -> Result<Option<Status>, Error>;

    /// Resolves once the container has ended. Cancel safe.
    async fn wait(&self, id: &str) -> Result<Exit, Error>;

    /// SIGTERM, and SIGKILL after `grace`; resolves once the container has ended. A second stop may shorten the grace.
    async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error>;

    /// Runs `command` by `/bin/sh -c` inside a running container, for health checks.
    async fn exec(&self, id: &str, command: &str, timeout: Duration) -> Result<Executed, Error>;

    /// At most `length` bytes of a log from `offset`; `None` asks for the last `length` bytes. Logs are bounded: of what
    /// is no longer kept the slice begins with the oldest byte kept.
    async fn logs(&self, id: &str, stream: Stream, offset: Option<u64>, length: usize) -> Result<LogSlice, Error>;

    /// Kills what still runs and deletes all that is left of the container, its logs included.
    async fn remove(&self, id: &str) -> Result<(), Error>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Process,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Process => "process",
        })
    }
}

/// A container that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Running {
        /// Unix time.
        started_at_ms: i64,
    },
    Ended(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub how: How,
    /// Why, in words; empty when `how` says it all.
    #[serde(default)]
    pub message: String,
    /// Unix time; 0 when it never ran.
    #[serde(default)]
    pub started_at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Code(i32),
    Signal(i32),
    /// Its process never ran.
    NeverStarted,
    /// It ran, is gone, and nobody saw how.
    Lost,
}

impl Exit {
    /// The status a shell would show: 128 + signal for a signal.
    pub fn code(&self) -> i32 {
        match self.how {
            How::Code(code) => code,
            How::Signal(signal) => 128 + signal,
            How::NeverStarted | How::Lost => -1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Code(code) => write!(f, "exited with status {code}")?,
            How::Signal(signal) => write!(f, "ended by signal {signal}")?,
            How::NeverStarted => write!(f, "never started")?,
            How::Lost => write!(f, "gone, nobody saw how")?,
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr].into_iter().find(|stream| stream.name() == name)
    }
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSlice {
    /// Of the first byte of `data` in the stream.
    pub offset: u64,
    pub data: Bytes,
}

/// What a command inside a container came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed {
    /// Its exit status, 128 + signal for a signal.
    Status(i32),
    TimedOut,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container can never start as described.
    #[error("bad container: {what}")]
    Spec { what: String },
    #[error("image {reference}")]
    Image { reference: String, source: BoxError },
    #[error("start {id}: {why}")]
    Start { id: String, why: String },
    #[error("no container {id}")]
    Unknown { id: String },
    #[error("container {id} is not running")]
    NotRunning { id: String },
    #[error("the {kind} runtime does not work here: {why}")]
    Unsupported { kind: Kind, why: String },
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error("{what}")]
    Docker { what: String, source: Box<bollard::errors::Error> },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
