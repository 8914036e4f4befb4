//! Two or three nodes that share a floating address, ours and keepalived's, and a client that notices when it is gone.

#![allow(dead_code, reason = "each test target uses its part")]

use netlab::{INTERFACE, Lab, Node};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

pub const FLOATING: &str = "10.99.0.100";
pub const FLOATING_V6: [&str; 2] = ["fe80::100", "fd99::100"];
const PROBE_PORT: u16 = 7007;
/// 500 Hz.
const PROBE_INTERVAL: Duration = Duration::from_millis(2);
const POLL: Duration = Duration::from_millis(5);

/// The lab of a test: nodes a, b, c … have 10.99.0.11, 12, 13 …
pub struct Ring {
    pub lab: Lab,
    pub nodes: Vec<Node>,
    pub directory: tempfile::TempDir,
}

impl Ring {
    pub async fn new(count: u8) -> Self {
        let lab = Lab::new("vip").await.expect("the tests run as root, with iproute2");
        let mut nodes = Vec::new();
        for number in 0..count {
            let name = char::from(b'a' + number).to_string();
            nodes.push(lab.node(&name, (Ipv4Addr::new(10, 99, 0, 11 + number).into(), 24)).await.unwrap());
        }
        Self { lab, nodes, directory: tempfile::tempdir().unwrap() }
    }

    /// Another node of the same network that takes no part.
    pub async fn bystander(&self, name: &str, last: u8) -> Node {
        self.lab.node(name, (Ipv4Addr::new(10, 99, 0, last).into(), 24)).await.unwrap()
    }

    /// The nodes that have the address now.
    pub async fn holders(&self, address: &str) -> Vec<usize> {
        let address: IpAddr = address.parse().unwrap();
        let mut holders = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.addresses().await.unwrap().contains(&address) {
                holders.push(number);
            }
        }
        holders
    }

    pub async fn held_only_by(&self, number: usize, address: &str, within: Duration) {
        let what = format!("{address} is held by node {number} alone");
        until(&what, within, async || self.holders(address).await == [number]).await;
    }

    /// Watches for a while: the holders must stay these.
    pub async fn stays_with(&self, number: usize, address: &str, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            assert_eq!(self.holders(address).await, [number]);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Watches for a while: this one must hold all the time, and another beside it no longer than that.
    pub async fn keeps(&self, number: usize, address: &str, duration: Duration, both_max: Duration) {
        let end = Instant::now() + duration;
        let mut both_since = None;
        while Instant::now() < end {
            let holders = self.holders(address).await;
            assert!(holders.contains(&number), "held by {holders:?}");
            both_since = (holders.len() > 1).then(|| both_since.unwrap_or_else(Instant::now));
            let both = both_since.map_or(Duration::ZERO, |since| since.elapsed());
            assert!(both <= both_max, "held by {holders:?} for {both:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn ours(&self, number: usize, options: Value) -> Running {
        self.ours_on(&self.nodes[number], options).await
    }

    /// Starts our service; `options` are the harness's, over the defaults.
    pub async fn ours_on(&self, node: &Node, options: Value) -> Running {
        let mut arguments = json!({ "node": node.name(), "addresses": [[FLOATING, 24]] });
        for (name, value) in options.as_object().expect("options are an object") {
            arguments[name] = value.clone();
        }
        let mut command = node.command(harness());
        command.arg(arguments.to_string()).env("ROADSTEAD_LOG", "info,vip=debug");
        Running::start(command, &self.directory.path().join(format!("ours-{}.log", node.name())))
    }

    /// Starts Debian's keepalived.
    pub async fn keepalived(&self, number: usize, setup: Setup) -> Running {
        let node = &self.nodes[number];
        let file = |suffix: &str| self.directory.path().join(format!("keepalived-{}.{suffix}", node.name()));
        std::fs::write(file("conf"), setup.text()).unwrap();
        let mut command = node.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(file("conf"));
        command.arg("--pid").arg(file("pid")).arg("--vrrp_pid").arg(file("vrrp.pid"));
        Running::start(command, &file("log"))
    }

    /// Answers of a node's API, while it has one.
    pub async fn status(&self, number: usize) -> Value {
        let answer = self.nodes[number].run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { web::Client::default().get_json("http://127.0.0.1:8183/status").await.ok() })
        });
        answer.await.unwrap().unwrap_or_default()
    }

    pub async fn state(&self, number: usize) -> String {
        self.status(number).await["routers"][0]["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

/// keepalived's configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    pub vrid: u8,
    pub priority: u8,
    pub version: u8,
    pub advert_seconds: f32,
    pub peers: Vec<IpAddr>,
    pub preempt: bool,
    pub addresses: Vec<String>,
    pub extra: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            vrid: 51,
            priority: 100,
            version: 3,
            advert_seconds: 0.1,
            peers: Vec::new(),
            preempt: true,
            addresses: vec![format!("{FLOATING}/24")],
            extra: String::new(),
        }
    }
}

impl Setup {
    fn text(&self) -> String {
        let Self { vrid, priority, version, advert_seconds, peers, preempt, addresses, extra } = self;
        let no_preempt = if *preempt { "" } else { "nopreempt" };
        let peers = match peers.is_empty() {
            true => String::new(),
            false => {
                let lines: Vec<String> = peers.iter().map(IpAddr::to_string).collect();
                format!("unicast_peer {{\n{}\n}}", lines.join("\n"))
            }
        };
        format!(
            "global_defs {{\n vrrp_version {version}\n}}\n\
             vrrp_instance one {{\n state BACKUP\n interface {INTERFACE}\n virtual_router_id {vrid}\n priority {priority}\n \
             advert_int {advert_seconds}\n version {version}\n {no_preempt}\n {peers}\n {extra}\n \
             virtual_ipaddress {{\n{}\n}}\n}}\n",
            addresses.join("\n")
        )
    }
}

/// A process inside a node; killed when dropped.
pub struct Running {
    pub child: Child,
    log: PathBuf,
}

impl Running {
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let errors = file.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
        Self { child: command.spawn().expect("start a peer (Debian: keepalived, etcd-server)"), log: log.to_owned() }
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self) {
        let id = self.child.id().expect("it was not waited for") as i32;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.expect("it ends").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// The harness was built beside this program (`target/debug/…/{deps,examples}/this`).
fn harness() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let harness = this.parent().and_then(Path::parent).unwrap().join("vip-harness");
    assert!(harness.exists(), "{} is missing: cargo build -p vip --features real --bin vip-harness", harness.display());
    harness
}

pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A client that asks the address 500 times a second, and what answers on the nodes.
pub struct Probe {
    stop: Arc<AtomicBool>,
    running: Option<tokio::task::JoinHandle<Vec<Answer>>>,
}

/// When an answer came, and from which node.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub at: Instant,
    pub node: u8,
}

impl Probe {
    pub async fn start(ring: &Ring, client: &Node) -> Self {
        let stop = Arc::<AtomicBool>::default();
        for (number, node) in ring.nodes.iter().enumerate() {
            let (node, stop) = (node.clone(), stop.clone());
            tokio::spawn(async move { node.run(move || answer(number as u8, &stop)).await });
        }
        let (client, ending) = (client.clone(), stop.clone());
        let running = tokio::spawn(async move { client.run(move || ask(&ending)).await.unwrap() });
        Self { stop, running: Some(running) }
    }

    pub async fn end(mut self) -> Vec<Answer> {
        self.stop.store(true, Relaxed);
        self.running.take().expect("it is taken once, here").await.unwrap()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn answer(number: u8, stop: &AtomicBool) {
    let socket = UdpSocket::bind(("0.0.0.0", PROBE_PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 16];
    while !stop.load(Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&[number], from);
        }
    }
}

fn ask(stop: &AtomicBool) -> Vec<Answer> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    let to: SocketAddr = format!("{FLOATING}:{PROBE_PORT}").parse().unwrap();
    let (mut answers, mut next, mut buffer) = (Vec::new(), Instant::now(), [0; 16]);
    while !stop.load(Relaxed) {
        let now = Instant::now();
        if now >= next {
            // Unreachable while nobody holds the address.
            let _ = socket.send_to(b"?", to);
            next = now + PROBE_INTERVAL;
            continue;
        }
        socket.set_read_timeout(Some(next - now)).unwrap();
        if socket.recv_from(&mut buffer).is_ok() {
            answers.push(Answer { at: Instant::now(), node: buffer[0] });
        }
    }
    answers
}

/// The longest time without an answer from `since` on.
pub fn longest_gap(answers: &[Answer], since: Instant) -> Duration {
    let times = answers.windows(2).filter(|pair| pair[1].at >= since);
    times.map(|pair| pair[1].at - pair[0].at).max().unwrap_or(Duration::MAX)
}
