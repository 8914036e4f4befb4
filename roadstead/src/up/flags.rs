//! The command lines of `up` and `join`.

use crate::acme::{Acme, secret};
use crate::config::{Config, ConfigError, DATA_DEFAULT, IpNetwork, milliseconds};
use identity::Token;
use std::ffi::OsString;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    machine: Machine,
    /// Apps are served as <app>.<domain>, S3 as s3.<domain>
    #[arg(long, env = "ROADSTEAD_DOMAIN")]
    domain: Option<String>,
    /// Choose every port freely instead of the field's usual ones
    #[arg(long, conflicts_with = "address")]
    free_ports: bool,
    /// Use without credentials, on loopback only
    #[arg(long, conflicts_with = "address")]
    open: bool,
    /// Begin a cluster: this machine's address on the network it shares with the others
    #[arg(long, env = "ROADSTEAD_ADDRESS", help_heading = "Many machines")]
    address: Option<IpAddr>,
    /// An address that moves between the machines, with its prefix: 10.0.0.100/24 (repeatable)
    #[arg(long = "vip", value_name = "ADDRESS/PREFIX", help_heading = "Many machines", requires = "address")]
    vips: Vec<IpNetwork>,
    /// Time between two advertisements of a floating address, 10ms to 40s
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Many machines")]
    vip_advert: Option<Duration>,
    /// How long a machine waits before it asks for a floating address when others hold more of them; 0s: never
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Many machines")]
    vip_spread_after: Option<Duration>,
    /// The virtual router id of the first floating address, 1 to 255; those of the others count up, in the order of the
    /// addresses [default: 100]
    #[arg(long, value_name = "NUMBER", help_heading = "Many machines")]
    vip_vrid: Option<u8>,
    /// VRRP's version, 2 (IPv4, and --vip-advert in whole seconds) or 3 [default: 3]
    #[arg(long, value_name = "VERSION", help_heading = "Many machines")]
    vip_vrrp: Option<u8>,
    /// A machine that may hold a floating address, to speak to it and not to the multicast group: name every one
    /// (repeatable)
    #[arg(long = "vip-peer", value_name = "ADDRESS", help_heading = "Many machines")]
    vip_peers: Vec<IpAddr>,
    /// A machine this silent gets no more requests
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Many machines")]
    suspect_after: Option<Duration>,
    /// A machine this silent is lost: its tasks are started elsewhere
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Many machines")]
    lost_after: Option<Duration>,
    /// Machines that keep the state and may lead: 3 or 5
    #[arg(long, value_name = "NUMBER", value_parser = ["3", "5"], help_heading = "Many machines")]
    state_nodes: Option<String>,
    /// Say whether this binary would start with these arguments, their configuration and data, and end
    #[arg(long)]
    pub check: bool,
}

#[derive(clap::Args)]
pub struct JoinArguments {
    /// What `roadstead node token` printed on a machine of the cluster; `-`: a line of standard input, which the machine's
    /// other users do not see
    #[arg(env = "ROADSTEAD_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// This machine's address on the network it shares with the others
    #[arg(long, env = "ROADSTEAD_ADDRESS")]
    address: IpAddr,
    #[command(flatten)]
    machine: Machine,
}

/// What is a machine's own, in a cluster and alone.
#[derive(clap::Args)]
struct Machine {
    /// Configuration file (TOML); flags and environment go over it
    #[arg(long, env = "ROADSTEAD_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, env = "ROADSTEAD_DATA")]
    data: Option<PathBuf>,
    /// This machine's name in its cluster; default: the host's
    #[arg(long, env = "ROADSTEAD_NAME")]
    name: Option<String>,
    /// The edge's listener
    #[arg(long, env = "ROADSTEAD_LISTEN")]
    listen: Option<SocketAddr>,
    /// The edge's listener over TLS, under the certificates of the state; default: none
    #[arg(long, env = "ROADSTEAD_HTTPS", value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// After an upgrade: how long the edge before it keeps clients of HTTP/1 that idle [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    drain: Option<Duration>,
    /// How much longer it keeps WebSockets, TCP connections and long transfers [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    drain_tunnels: Option<Duration>,
    /// Write a line for each request that the edge serves to this file; more in the configuration's [edge.observation]
    #[arg(long, env = "ROADSTEAD_ACCESS_LOG", value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Send the edge's traces to this OpenTelemetry collector: http://HOST:4318
    #[arg(long, env = "ROADSTEAD_OTLP", value_name = "URL")]
    otlp: Option<String>,
    /// How tasks run: auto, docker or process
    #[arg(long, env = "ROADSTEAD_RUNTIME")]
    runtime: Option<String>,
    /// What this node offers: "cpus:N;mem:N;ports:[31000-32000]" (mem in MiB); default: what the machine has
    #[arg(long, env = "ROADSTEAD_RESOURCES")]
    resources: Option<String>,
    /// Keep the objects on an S3 elsewhere: http://HOST:PORT; its keys in ROADSTEAD_S3_ACCESS_KEY and ROADSTEAD_S3_SECRET_KEY
    #[arg(long, env = "ROADSTEAD_S3", value_name = "URL")]
    s3: Option<String>,
    #[arg(long, env = "ROADSTEAD_S3_ACCESS_KEY", hide = true, hide_env_values = true)]
    s3_access_key: Option<String>,
    #[arg(long, env = "ROADSTEAD_S3_SECRET_KEY", hide = true, hide_env_values = true, value_parser = secret)]
    s3_secret_key: Option<Token>,
    /// The etcd program that keeps a cluster's state
    #[arg(long, env = "ROADSTEAD_ETCD_BINARY", value_name = "PROGRAM", help_heading = "Many machines")]
    etcd_binary: Option<PathBuf>,
    /// Keep the state in an etcd of yours instead: its URLs (repeatable)
    #[arg(long, value_name = "URL", requires = "address", help_heading = "Many machines")]
    etcd: Vec<String>,
    /// What that etcd asks for: USER:PASSWORD, or with https:// these PEM files
    #[arg(
        long,
        env = "ROADSTEAD_ETCD_USER",
        hide_env_values = true,
        requires = "etcd",
        value_parser = secret,
        help_heading = "Many machines"
    )]
    etcd_user: Option<Token>,
    #[arg(long, value_name = "FILE", requires = "etcd", help_heading = "Many machines")]
    etcd_ca: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires_all = ["etcd_ca", "etcd_key"], help_heading = "Many machines")]
    etcd_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "etcd_cert", help_heading = "Many machines")]
    etcd_key: Option<PathBuf>,
    #[command(flatten)]
    acme: Acme,
}

impl Arguments {
    pub fn config(self) -> Result<Config, ConfigError> {
        let base = match (&self.machine.config, self.free_ports) {
            (Some(_), true) => return Err(ConfigError::Usage("--free-ports does not go with --config".into())),
            (None, true) => Some(Config::on_free_ports(DATA_DEFAULT.into())),
            (_, false) => None,
        };
        let mut config = self.machine.over(base)?;
        over(&mut config.domain, self.domain);
        config.open |= self.open;
        let cluster = &mut config.cluster;
        cluster.address = self.address.or(cluster.address);
        if !self.vips.is_empty() {
            cluster.vips = self.vips;
        }
        over(&mut cluster.vip_advert_ms, self.vip_advert.map(milliseconds));
        over(&mut cluster.vip_spread_after_ms, self.vip_spread_after.map(milliseconds));
        over(&mut cluster.vip_vrid, self.vip_vrid);
        over(&mut cluster.vip_vrrp, self.vip_vrrp);
        if !self.vip_peers.is_empty() {
            cluster.vip_peers = self.vip_peers;
        }
        over(&mut cluster.suspect_after_ms, self.suspect_after.map(milliseconds));
        over(&mut cluster.lost_after_ms, self.lost_after.map(milliseconds));
        over(&mut cluster.state_nodes, self.state_nodes.and_then(|number| number.parse().ok()));
        config.check()?;
        Ok(config)
    }
}

impl JoinArguments {
    /// What `up` takes of the arguments behind `join`: the machine has joined.
    pub fn of_the_next_start(&self, arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
        let others = arguments.filter(|argument| *argument != *self.token);
        iter::once("up".into()).chain(others).collect()
    }

    pub fn token_and_config(self) -> Result<(identity::JoinToken, Config), ConfigError> {
        let mut token = self.token;
        if token == "-" {
            token.clear();
            let read = std::io::stdin().read_line(&mut token);
            read.map_err(|error| ConfigError::Usage(format!("the join token cannot be read: {error}")))?;
        }
        let token = token.parse();
        let token = token.map_err(|error| ConfigError::Usage(format!("the join token cannot be read: {error}")))?;
        let mut config = self.machine.over(None)?;
        config.cluster.address = Some(self.address);
        config.check()?;
        Ok((token, config))
    }
}

impl Machine {
    /// The configuration file (or `base`, or the defaults) with these flags over it.
    fn over(self, base: Option<Config>) -> Result<Config, ConfigError> {
        let mut config = match (&self.config, base) {
            (_, Some(base)) => base,
            (Some(path), None) => Config::read(path)?,
            (None, None) => Config::default(),
        };
        over(&mut config.data, self.data);
        over(&mut config.cluster.name, self.name);
        over(&mut config.edge.listen, self.listen);
        config.edge.https = self.https.or(config.edge.https);
        over(&mut config.edge.drain_ms, self.drain.map(milliseconds));
        over(&mut config.edge.drain_tunnels_ms, self.drain_tunnels.map(milliseconds));
        let observation = &mut config.edge.observation;
        observation.access_log = self.access_log.or(observation.access_log.take());
        observation.otlp = self.otlp.or(observation.otlp.take());
        config.objects.elsewhere = self.s3.or(config.objects.elsewhere.take());
        over(&mut config.objects.access_key, self.s3_access_key);
        over(&mut config.objects.secret_key, self.s3_secret_key);
        over(&mut config.agent.runtime, self.runtime);
        over(&mut config.agent.resources, self.resources);
        over(&mut config.cluster.etcd_binary, self.etcd_binary);
        config.acme = self.acme.over(std::mem::take(&mut config.acme));
        let cluster = &mut config.cluster;
        if !self.etcd.is_empty() {
            cluster.etcd = self.etcd;
        }
        cluster.etcd_user = self.etcd_user.or(cluster.etcd_user.take());
        cluster.etcd_ca = self.etcd_ca.or(cluster.etcd_ca.take());
        cluster.etcd_certificate = self.etcd_cert.or(cluster.etcd_certificate.take());
        cluster.etcd_key = self.etcd_key.or(cluster.etcd_key.take());
        if config.cluster.name.is_empty() {
            config.cluster.name = crate::role::host_name();
        }
        Ok(config)
    }
}

fn over<T>(value: &mut T, flag: Option<T>) {
    if let Some(flag) = flag {
        *value = flag;
    }
}

/// `1500ms`, `2s`, `1m`, `24h`, `7d`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a number and its unit, as in 500ms, 2s, 5m, 24h or 7d, not `{text}`");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    enum Line {
        Up(Arguments),
        Join(JoinArguments),
    }

    #[test]
    fn how_long_the_edge_drains_is_said_by_the_file_and_over_it_by_flags_of_up_and_join() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[edge]\ndrain_ms = 1000\ndrain_tunnels_ms = 2000\n").unwrap();
        let file = file.path().display().to_string();
        let edge = |line: &[&str]| match Line::try_parse_from([&[""], line].concat()).unwrap() {
            Line::Up(arguments) => arguments.config().unwrap().edge,
            Line::Join(arguments) => arguments.machine.over(None).unwrap().edge,
        };
        let times = |line: &[&str]| {
            let edge = edge(line);
            (edge.drain_ms, edge.drain_tunnels_ms)
        };
        assert_eq!(times(&["up"]), (10_000, 600_000));
        assert_eq!(times(&["up", "--config", &file]), (1000, 2000));
        assert_eq!(times(&["up", "--config", &file, "--drain-tunnels", "1h"]), (1000, 3_600_000));
        assert_eq!(times(&["join", "token", "--address", "10.0.0.2", "--drain", "0s"]), (0, 600_000));
        let said = edge(&["up", "--drain", "500ms", "--drain-tunnels", "2m"]).arguments();
        assert_eq!(said.join(" "), "--drain 500ms --drain-tunnels 120000ms");
        assert!(Line::try_parse_from(["", "up", "--drain", "10"]).is_err(), "a time has a unit");
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(parse_time("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_time("24h").unwrap(), Duration::from_secs(86_400));
        for wrong in ["", "5", "s", "5 s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d", "5y"] {
            assert!(parse_time(wrong).unwrap_err().contains("expected a number and its unit"), "{wrong}");
        }
    }
}
