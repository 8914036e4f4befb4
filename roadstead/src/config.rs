//! The configuration file of `roadstead up`: one TOML file, every key optional, unknown keys refused with the nearest
//! name. A flag or an environment variable of the same name goes over it.

mod edge;
mod observation;
mod vips;

use crate::acme::Acme;
use identity::Token;
use observation::Observation;
use routing::Order;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where `up` keeps everything unless told otherwise.
pub const DATA_DEFAULT: &str = "/var/lib/roadstead";
/// A label of DNS (RFC 1035, section 2.3.4).
const NODE_NAME_CHARS_MAX: usize = 63;
/// Two heartbeats of an agent.
const SUSPECT_AFTER_MS_MIN: u64 = 500;

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
    /// Certificates for apps' own names.
    pub acme: Acme,
    pub cluster: Cluster,
}

/// Many machines. Without an address the platform is of this machine alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// This machine's address on the network it shares with the others.
    pub address: Option<IpAddr>,
    /// This machine's name in the cluster; by default the host's.
    pub name: String,
    /// The etcd program that keeps the state.
    pub etcd_binary: PathBuf,
    /// An etcd of yours that keeps the state instead: its URLs, and what it asks for.
    pub etcd: Vec<String>,
    pub etcd_user: Option<Token>,
    pub etcd_ca: Option<PathBuf>,
    pub etcd_certificate: Option<PathBuf>,
    pub etcd_key: Option<PathBuf>,
    /// Machines that keep the state and may lead: 3 or 5.
    pub state_nodes: usize,
    /// Addresses that move between the machines, with their prefix (`10.0.0.100/24`).
    pub vips: Vec<IpNetwork>,
    /// Time between two advertisements of a floating address.
    pub vip_advert_ms: u64,
    /// How long a machine waits before it asks for one when others hold more of them; 0: it never does.
    pub vip_spread_after_ms: u64,
    /// The first one's virtual router id; those of the others count up.
    pub vip_vrid: u8,
    /// Of VRRP: 2 or 3.
    pub vip_vrrp: u8,
    /// The machines to speak to instead of the multicast group: each of them, on every machine.
    pub vip_peers: Vec<IpAddr>,
    /// A machine this silent gets no more requests.
    pub suspect_after_ms: u64,
    /// A machine this silent is lost: its tasks are started elsewhere.
    pub lost_after_ms: u64,
    /// Ports on the machine's address.
    pub peers_port: u16,
    pub etcd_port: u16,
    pub etcd_peer_port: u16,
    pub tunnel_port: u16,
    /// The status of the floating addresses.
    pub vip_api: SocketAddr,
}

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    pub address: IpAddr,
    pub prefix: u8,
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
    /// Over TLS, under the certificates of the state.
    pub https: Option<SocketAddr>,
    /// Where browsers reach that, for redirects; by default its port.
    pub https_port: Option<u16>,
    pub api: SocketAddr,
    /// Proxies before the edge, as addresses or blocks: their connections begin with a PROXY header.
    pub accept_proxy: Vec<String>,
    /// `FROM=TO`: vulcand's `-aliases`.
    pub aliases: Vec<String>,
    /// Which of two routes of the same priority goes first.
    pub route_order: Order,
    /// How long, after an upgrade, the edge before it keeps clients of HTTP/1 that idle, and how much longer WebSockets, TCP
    /// connections and long transfers.
    pub drain_ms: u64,
    pub drain_tunnels_ms: u64,
    pub observation: Observation,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    pub listen: SocketAddr,
    /// An S3 elsewhere keeps the objects instead: `http://HOST:PORT`, and a pair of its keys for the registry.
    pub elsewhere: Option<String>,
    pub access_key: String,
    pub secret_key: Token,
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

/// Times of the file are in whole milliseconds.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
            acme: Acme::default(),
            cluster: Cluster::default(),
        }
    }
}

impl Default for Cluster {
    /// etcd's usual ports; the others lie beside the ports of one machine.
    fn default() -> Self {
        Self {
            address: None,
            name: String::new(),
            etcd_binary: "etcd".into(),
            etcd: Vec::new(),
            etcd_user: None,
            etcd_ca: None,
            etcd_certificate: None,
            etcd_key: None,
            state_nodes: 3,
            vips: Vec::new(),
            vip_advert_ms: 100,
            vip_spread_after_ms: 10_000,
            vip_vrid: vip::VRID_FIRST,
            vip_vrrp: 3,
            vip_peers: Vec::new(),
            suspect_after_ms: 1500,
            lost_after_ms: 5000,
            peers_port: 8081,
            etcd_port: 2379,
            etcd_peer_port: 2380,
            tunnel_port: 9001,
            vip_api: loopback(8183),
        }
    }
}

impl FromStr for IpNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected ADDRESS/PREFIX, as in 10.0.0.100/24, not `{text}`");
        let (address, prefix) = text.split_once('/').ok_or_else(expected)?;
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| (1..=prefix_max).contains(prefix)).ok_or_else(expected)?;
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for IpNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self { listen: loopback(8080), sessions: loopback(8081), drain: true }
    }
}

impl Default for Edge {
    fn default() -> Self {
        let drain = ::edge::Drain::default();
        Self {
            listen: everywhere(8181),
            https: None,
            https_port: None,
            api: loopback(8182),
            accept_proxy: Vec::new(),
            aliases: Vec::new(),
            route_order: Order::default(),
            drain_ms: milliseconds(drain.idle),
            drain_tunnels_ms: milliseconds(drain.tunnels),
            observation: Observation::default(),
        }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self { listen: loopback(9000), elsewhere: None, access_key: String::new(), secret_key: Token::from_text("") }
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
            edge: Edge { listen: free, api: free, ..Edge::default() },
            objects: Objects { listen: free, ..Objects::default() },
            registry: listener(),
            ..Self::default()
        }
    }

    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    /// What the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let cluster = &self.cluster;
        let refuse = |message: String| Err(ConfigError::Usage(message));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if !cluster.name.is_empty() && (cluster.name.len() > NODE_NAME_CHARS_MAX || !cluster.name.chars().all(is_name))
        {
            return refuse(format!(
                "the machine's name `{}` is not made of at most {NODE_NAME_CHARS_MAX} letters, digits, dots and dashes",
                cluster.name
            ));
        }
        if let Some(address) = cluster.address
            && (address.is_unspecified() || address.is_multicast())
        {
            return refuse(format!("--address {address}: the others must be able to reach this machine by it"));
        }
        self.edge.check()?;
        if let Some(url) = &self.objects.elsewhere {
            let target = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
            let is_target = |target: &str| target.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if !target.is_some_and(is_target) {
                return refuse(format!("--s3 {url}: expected http://HOST:PORT"));
            }
            if self.objects.access_key.is_empty() || self.objects.secret_key.reveal().is_empty() {
                return refuse("--s3: its keys are needed, ROADSTEAD_S3_ACCESS_KEY and ROADSTEAD_S3_SECRET_KEY".into());
            }
        }
        self.acme.check()?;
        if self.acme.is_on() && self.edge.https.is_none() {
            return refuse("--acme-email: say where HTTPS is served, as in --https 0.0.0.0:443".into());
        }
        if let Some(user) = &cluster.etcd_user {
            crate::cluster::etcd_user(user.reveal())?;
        }
        if !matches!(cluster.state_nodes, 3 | 5) {
            return refuse(format!("cluster.state_nodes is 3 or 5, not {}", cluster.state_nodes));
        }
        vips::check(cluster)?;
        if cluster.suspect_after_ms < SUSPECT_AFTER_MS_MIN || cluster.lost_after_ms <= cluster.suspect_after_ms {
            return refuse(format!(
                "a machine is suspected after at least {SUSPECT_AFTER_MS_MIN} ms and lost later than that, not after {} \
                 ms and {} ms",
                cluster.suspect_after_ms, cluster.lost_after_ms
            ));
        }
        Ok(())
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
    fn what_the_types_cannot_say_is_checked() {
        let check = |text: &str| Config::parse(text).unwrap().check();
        assert!(check("[cluster]\naddress = \"10.0.0.1\"\nname = \"node-1\"\n").is_ok());
        for (wrong, told) in [
            ("address = \"0.0.0.0\"", "reach this machine"),
            ("[objects]\nelsewhere = \"https://s3.lan\"", "expected http://HOST:PORT"),
            ("[objects]\nelsewhere = \"http://s3.lan:9000\"", "its keys are needed"),
            ("etcd_user = \"root\"", "expected USER:PASSWORD"),
            ("name = \"a/b\"", "letters, digits, dots and dashes"),
            ("state_nodes = 4", "3 or 5"),
            ("suspect_after_ms = 100", "at least 500 ms"),
            ("lost_after_ms = 1000", "lost later"),
        ] {
            let error = check(&format!("[cluster]\n{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let text = "[objects]\naccess_key = \"who\"\nsecret_key = \"hush-1\"\n[cluster]\netcd_user = \"root:hush-2\"\n\
                    [acme]\neab_hmac = \"hush-3\"\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.objects.secret_key.reveal(), "hush-1");
        let printed = format!("{config:?} {:?}", crate::cluster::found::outside(&config));
        assert!(printed.contains("who") && !printed.contains("hush"), "{printed}");
    }

    #[test]
    fn a_floating_address_has_its_networks_prefix() {
        let config = Config::parse("[cluster]\nvips = [\"10.0.0.100/24\", \"fd99::100/64\"]\n").unwrap();
        assert_eq!(config.cluster.vips[1].to_string(), "fd99::100/64");
        for wrong in ["10.0.0.100", "10.0.0.100/33", "10.0.0/24", "10.0.0.1/0", "x/1", "/", "fd99::1/129"] {
            assert!(wrong.parse::<IpNetwork>().unwrap_err().contains("10.0.0.100/24"), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let message = Config::parse("[edge]\nlissen = \"127.0.0.1:80\"\n").unwrap_err();
        assert!(message.contains("there is no key `lissen`; did you mean `listen`?"), "{message}");
        let message = Config::parse("domian = \"x\"\n").unwrap_err();
        assert!(message.contains("did you mean `domain`?"), "{message}");
    }
}
