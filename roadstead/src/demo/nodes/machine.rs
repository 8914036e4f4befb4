//! A node and the processes of `roadstead up` on it.

use super::super::RESOURCES;
use super::inside::Inside;
use crate::cli;
use crate::up::Addresses;
use anyhow::{Context, bail};
use identity::Authority;
use netlab::{Lab, Node};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use web::{Client, Credentials};

/// A platform that was asked to stop has stopped after this time: its processes drain for 20 s at most, one after another.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a log a failure shows.
const LOG_TAIL_BYTES: u64 = 2000;
/// Ours alone: nothing of it leaves the lab.
const NETWORK: [u8; 3] = [10, 77, 0];
const PREFIX_LENGTH: u8 = 24;
const CLIENT_HOST: u8 = 50;
/// The floating address.
pub const ADDRESS: IpAddr = address(100);
/// Time between two advertisements of it.
const ADVERT: &str = "100ms";

const fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(NETWORK[0], NETWORK[1], NETWORK[2], host))
}

/// What all nodes have in common.
pub struct Settings {
    data: PathBuf,
    binary: PathBuf,
    etcd_binary: PathBuf,
}

impl Settings {
    pub fn new(data: &Path, etcd_binary: &Path) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("find this binary")?;
        Ok(Self { data: data.to_owned(), binary, etcd_binary: etcd_binary.to_owned() })
    }
}

/// The node of the people who use the platform: it runs nothing.
pub async fn client(lab: &Lab) -> anyhow::Result<Node> {
    Ok(lab.node("client", (address(CLIENT_HOST), PREFIX_LENGTH)).await?)
}

pub struct Machine {
    node: Node,
    inside: Inside,
    data: PathBuf,
    log: PathBuf,
    binary: PathBuf,
    etcd_binary: PathBuf,
    supervisor: Option<Child>,
    /// Marathon's API by the root-only socket.
    api: Client,
}

impl Machine {
    /// An empty node; `number` counts from 1.
    pub async fn new(lab: &Lab, number: u8, settings: &Settings) -> anyhow::Result<Self> {
        let name = format!("node{number}");
        let node = lab.node(&name, (address(number), PREFIX_LENGTH)).await?;
        let data = settings.data.join(&name);
        std::fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        Ok(Self {
            inside: Inside::of(&node, 1).await?,
            node,
            log: settings.data.join(format!("{name}.log")),
            binary: settings.binary.clone(),
            etcd_binary: settings.etcd_binary.clone(),
            supervisor: None,
            api: Client::unix(cli::socket_path(&data), Credentials::None),
            data,
        })
    }

    pub fn name(&self) -> &str {
        self.node.name()
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    pub fn api(&self) -> &Client {
        &self.api
    }

    /// Where its parts listen and what they ask for; there once the node is a member.
    pub fn interfaces(&self) -> anyhow::Result<(Addresses, Authority)> {
        Ok((Addresses::read(&self.data)?, Authority::load(&self.data)?))
    }

    /// The first node of the cluster.
    pub fn found(&mut self) -> anyhow::Result<()> {
        let vip = format!("{ADDRESS}/{PREFIX_LENGTH}");
        let address = self.node.address().to_string();
        self.start("up", &["--address", &address, "--vip", &vip, "--vip-advert", ADVERT])
    }

    /// Every other node.
    pub fn join(&mut self, token: &str) -> anyhow::Result<()> {
        let address = self.node.address().to_string();
        self.start("join", &[token, "--address", &address])
    }

    /// A node that is a member already.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.start("up", &[])
    }

    /// The next start runs a copy of the binary, as an upgrade would.
    pub async fn replace_binary(&mut self) -> anyhow::Result<()> {
        let copy = self.data.join("roadstead-next");
        tokio::fs::copy(&self.binary, &copy).await.with_context(|| format!("copy the binary to {}", copy.display()))?;
        self.binary = copy;
        Ok(())
    }

    /// The supervisor is asked to stop, as by `systemctl stop`; tasks outlive it.
    pub fn ask_to_stop(&self) -> anyhow::Result<()> {
        match self.supervisor.as_ref().and_then(Child::id) {
            Some(id) => kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM).context("ask the supervisor to stop"),
            None => Ok(()),
        }
    }

    /// Asks, and waits until it has stopped.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.ask_to_stop()?;
        self.stopped().await
    }

    /// After [`Machine::ask_to_stop`].
    pub async fn stopped(&mut self) -> anyhow::Result<()> {
        let Some(mut supervisor) = self.supervisor.take() else { return Ok(()) };
        match tokio::time::timeout(STOP_TIMEOUT, supervisor.wait()).await {
            Ok(status) => status.map(drop).context("wait for the supervisor"),
            Err(_) => bail!("{} did not stop within {STOP_TIMEOUT:?}: {}", self.name(), self.log_tail()),
        }
    }

    /// SIGKILL to everything on the node, at once.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.node.kill().await?;
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.wait().await.context("collect the killed supervisor")?;
        }
        Ok(())
    }

    /// Fails when the supervisor has ended by itself, with what it said last.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let ended = match &mut self.supervisor {
            Some(supervisor) => supervisor.try_wait().context("look at the supervisor")?,
            None => None,
        };
        match ended {
            Some(status) => bail!("{} ended by itself ({status}): {}", self.name(), self.log_tail()),
            None => Ok(()),
        }
    }

    fn start(&mut self, verb: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        let mut command: Command = self.node.command(&self.binary);
        command.arg(verb).args(arguments).args(["--name", self.name(), "--runtime", "process"]);
        command.args(["--resources", RESOURCES]);
        command.arg("--data").arg(&self.data).arg("--etcd-binary").arg(&self.etcd_binary);
        // What is meant for a platform of this machine is not meant for the lab's.
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROADSTEAD_")) {
            if variable != lifecycle::logs::FILTER_VARIABLE {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // A signal from the terminal is for the demo, which ends the nodes in order.
        command.process_group(0);
        self.supervisor = Some(command.spawn().with_context(|| format!("start {}", self.name()))?);
        Ok(())
    }

    fn log_tail(&self) -> String {
        let tail = || {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        tail().unwrap_or_else(|error| format!("no log: {error}"))
    }
}
