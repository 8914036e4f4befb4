//! What a service hands back once it listens.

use crate::BoxError;
use futures::future::{BoxFuture, FutureExt};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listener of a service: its part (empty for the main one) and its address.
#[derive(Clone, Debug)]
pub struct Listening {
    pub part: &'static str,
    pub address: Address,
}

/// A service that has bound its listeners and is at work.
pub struct Started {
    pub listeners: Vec<Listening>,
    done: BoxFuture<'static, Result<(), BoxError>>,
}

impl Started {
    /// `work` is the service: it is spawned at once (a service may need one that was started before it) and ends after
    /// its stop was requested, or because it failed. Needs a tokio runtime.
    pub fn new(work: impl Future<Output = Result<(), BoxError>> + Send + 'static) -> Self {
        let task = tokio::spawn(work);
        let done = async move { task.await.unwrap_or_else(|panic| Err(panic.into())) };
        Self { listeners: Vec::new(), done: done.boxed() }
    }

    pub fn listening(mut self, part: &'static str, address: SocketAddr) -> Self {
        self.listeners.push(Listening { part, address: Address::Tcp(address) });
        self
    }

    pub fn listening_unix(mut self, part: &'static str, path: PathBuf) -> Self {
        self.listeners.push(Listening { part, address: Address::Unix(path) });
        self
    }

    /// The TCP address of a part (`""` is the main listener).
    pub fn address(&self, part: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listening| listening.part == part).and_then(|listening| match listening.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        })
    }

    /// The lines a role prints on standard output, one per listener.
    pub fn ready_lines(&self, role: &str) -> Vec<String> {
        let line = |listening: &Listening| match listening.part {
            "" => format!("ready {role} {}", listening.address),
            part => format!("ready {role}.{part} {}", listening.address),
        };
        self.listeners.iter().map(line).collect()
    }

    pub async fn finished(self) -> Result<(), BoxError> {
        self.done.await
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_lines_name_the_role_and_its_parts() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8181));
        let started = Started::new(async { Ok(()) }).listening("", address).listening_unix("socket", "/run/x".into());
        assert_eq!(started.ready_lines("edge"), ["ready edge 127.0.0.1:8181", "ready edge.socket unix:/run/x"]);
        assert_eq!(started.address(""), Some(address));
        assert_eq!(started.address("socket"), None);
    }

    #[tokio::test]
    async fn a_service_works_before_anyone_waits_for_its_end() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let started = Started::new(async move { sender.send(()).map_err(|()| "nobody listens".into()) });
        receiver.await.unwrap();
        started.finished().await.unwrap();
    }
}
