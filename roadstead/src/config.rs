//! The configuration file of `roadstead up`: one TOML file, every key optional, unknown keys refused with the nearest
//! name. A flag or an environment variable of the same name goes over it.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where `up` keeps everything unless told otherwise.
pub const DATA_DEFAULT: &str = "/var/lib/roadstead";

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub data: PathBuf,
    /// Apps are served as `<app>.<domain>`, S3 as `s3.<domain>`.
    pub domain: String,
    /// Use without credentials, on loopback only.
    pub open: bool,
    /// What the roles log, in the syntax of `tracing`'s filters; `ROADSTEAD_LOG` goes over it.
    pub log: String,
    pub store: Listener,
    pub controller: Controller,
    pub console: Listener,
    pub edge: Edge,
    pub objects: Objects,
    pub registry: Listener,
    pub agent: Agent,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Controller {
    /// Marathon's API.
    pub listen: SocketAddr,
    /// Where agents and edges open their sessions.
    pub sessions: SocketAddr,
    /// Wait for the edges to let go of a task before it is stopped. Only a test turns it off.
    pub drain: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    pub listen: SocketAddr,
    pub api: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// `auto`, `docker` or `process`.
    pub runtime: String,
    /// `cpus:N;mem:N;ports:[31000-32000]`, mem in MiB; what is not named is what the machine has.
    pub resources: String,
    /// What the edge dials for a task's host ports.
    pub address: String,
    /// Running tasks stay when the platform stops, and the next start takes them back.
    pub tasks_outlive: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read the configuration file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Invalid { path: PathBuf, message: String },
    #[error("{0}")]
    Usage(String),
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Config {
    /// The field's usual ports: etcd's 2379, Marathon's 8080, vulcand's 8181 and 8182, MinIO's 9000, a registry's 5000.
    fn default() -> Self {
        Self {
            data: DATA_DEFAULT.into(),
            domain: "localhost".into(),
            open: false,
            log: "info".into(),
            store: Listener { listen: loopback(2379) },
            controller: Controller::default(),
            console: Listener { listen: loopback(8088) },
            edge: Edge::default(),
            objects: Objects::default(),
            registry: Listener { listen: loopback(5000) },
            agent: Agent::default(),
        }
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self { listen: loopback(8080), sessions: loopback(8081), drain: true }
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self { listen: everywhere(8181), api: loopback(8182) }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self { listen: loopback(9000) }
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self { runtime: "auto".into(), resources: String::new(), address: "127.0.0.1".into(), tasks_outlive: true }
    }
}

impl Config {
    /// The configuration with every port chosen by the kernel, for a platform that shares its machine with others.
    pub fn on_free_ports(data: PathBuf) -> Self {
        let free = loopback(0);
        let listener = || Listener { listen: free };
        Self {
            data,
            store: listener(),
            controller: Controller { listen: free, sessions: free, drain: true },
            console: listener(),
            edge: Edge { listen: free, api: free },
            objects: Objects { listen: free },
            registry: listener(),
            ..Self::default()
        }
    }

    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| match unknown_key(error.message()) {
            Some((key, nearest)) => format!("{error}\nthere is no key `{key}`; did you mean `{nearest}`?"),
            None => error.to_string(),
        })
    }
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`" and names the nearest key.
fn unknown_key(message: &str) -> Option<(String, String)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, expected) = rest.split_once('`')?;
    let names = expected.split('`').skip(1).step_by(2);
    let nearest = names.max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)))?;
    Some((key.to_owned(), nearest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_optional() {
        let config = Config::parse("[edge]\nlisten = \"127.0.0.1:80\"\n").unwrap();
        assert_eq!(config.edge.listen, loopback(80));
        assert_eq!(config.edge.api, loopback(8182));
        assert_eq!(config.store.listen, loopback(2379));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let message = Config::parse("[edge]\nlissen = \"127.0.0.1:80\"\n").unwrap_err();
        assert!(message.contains("there is no key `lissen`; did you mean `listen`?"), "{message}");
        let message = Config::parse("domian = \"x\"\n").unwrap_err();
        assert!(message.contains("did you mean `domain`?"), "{message}");
    }
}
