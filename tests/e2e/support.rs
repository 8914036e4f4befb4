//! What the end-to-end tests share: the binary, a platform to talk to, dockerd, an ordinary user.
#![allow(dead_code)] // each test file uses its part of it

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_roadstead");

/// Of the load of demos: a request that a busy machine answers late is not lost.
pub const ANSWER_WITHIN_S: &str = "10";

/// Patience with any one condition.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Held by a test that measures what a busy machine would disturb, or that hands out host ports from 31000.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed while it was alone leaves nothing half done behind the lock.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks until `condition` gives something; the panic names what was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "within {PATIENCE:?} it was not seen that {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A child that is killed when it is dropped.
pub struct Process(pub Child);

impl Process {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal and waits for the end.
    pub fn end(mut self, signal: nix::sys::signal::Signal) -> std::process::ExitStatus {
        send(self.id(), signal);
        self.0.wait().expect("a child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

pub fn send(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("the process is there");
}

/// A running `roadstead up` and what it said.
pub struct Up {
    process: Option<Process>,
    pub data: PathBuf,
    pub token: String,
    pub addresses: Value,
    binary: PathBuf,
    /// Where its log goes; none: where the test's does.
    log: Option<PathBuf>,
    arguments: Vec<String>,
}

impl Up {
    /// On free ports.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_with_config(data, &[&["--free-ports"], arguments].concat())
    }

    /// On the ports that a configuration file among the arguments names.
    pub fn start_with_config(data: &Path, arguments: &[&str]) -> Self {
        Self::begin(BINARY.into(), None, data, arguments)
    }

    /// On free ports, from a binary of its own.
    pub fn start_from(binary: &Path, log: &Path, data: &Path, arguments: &[&str]) -> Self {
        Self::begin(binary.into(), Some(log.into()), data, &[&["--free-ports"], arguments].concat())
    }

    fn begin(binary: PathBuf, log: Option<PathBuf>, data: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = spawn_up(&binary, log.as_deref(), data, &arguments);
        let token = text(&["token", "show", "--data", &data.display().to_string()]);
        let addresses = read_addresses(data);
        Self { process: Some(process), data: data.to_owned(), token, addresses, binary, log, arguments }
    }

    /// The supervisor's process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Waits until the supervisor has ended by itself.
    pub fn wait(&mut self) {
        let mut process = self.process.take().expect("it runs");
        until("the supervisor has ended", || process.0.try_wait().expect("a child can be waited for"));
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name].as_str().expect("every part has an address").parse().expect("an address")
    }

    /// Ends the supervisor by a signal; the platform goes with it.
    pub fn end(&mut self, signal: nix::sys::signal::Signal) {
        let process = self.process.take().expect("it runs");
        process.end(signal);
    }

    /// Starts it again on the same data.
    pub fn again(&mut self) {
        self.process = Some(spawn_up(&self.binary, self.log.as_deref(), &self.data, &self.arguments));
        self.addresses = read_addresses(&self.data);
    }

    /// Process ids of the supervisor's children, by role.
    pub fn children(&self) -> Vec<(String, u32)> {
        children_of(self.id())
            .into_iter()
            .filter_map(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let role = line.split(|byte| *byte == 0).nth(1)?;
                Some((String::from_utf8_lossy(role).into_owned(), pid))
            })
            .collect()
    }

    pub fn cli(&self, arguments: &[&str]) -> String {
        let data = self.data.display().to_string();
        text(&[arguments, &["--data", &data]].concat())
    }

    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let output = self.cli(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// The ids of an app's tasks.
    pub fn tasks(&self, app: &str) -> Vec<String> {
        task_ids(&self.cli_json(&["app", "show", app]))
    }

    /// What a command prints as JSON, if anyone answers: a role that was killed or has just begun may be on its way.
    pub fn json_if_told(&self, arguments: &[&str]) -> Option<Value> {
        let mut command = Command::new(BINARY);
        command.args(arguments).args(["--output", "json", "--data"]).arg(&self.data).stdin(Stdio::null());
        let output = command.output().expect("the binary starts");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("commands print JSON"))
    }

    /// The ids of an app's tasks, if anyone answers.
    pub fn tasks_if_told(&self, app: &str) -> Option<Vec<String>> {
        Some(task_ids(&self.json_if_told(&["app", "show", app])?))
    }

    /// `GET path` through the edge under a host name: status and body.
    pub fn visit(&self, host: &str, path: &str) -> Option<(u16, String)> {
        http_get(self.address("edge"), host, path)
    }
}

fn task_ids(app: &Value) -> Vec<String> {
    let tasks = app["tasks"].as_array().cloned().unwrap_or_default();
    tasks.iter().map(|task| task["id"].as_str().expect("a task has an id").to_owned()).collect()
}

fn spawn_up(binary: &Path, log: Option<&Path>, data: &Path, arguments: &[String]) -> Process {
    let log = log.map(|log| OpenOptions::new().append(true).create(true).open(log).expect("a log file"));
    let mut child = Command::new(binary)
        .args(["up", "--data"])
        .arg(data)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.map_or_else(Stdio::inherit, Stdio::from))
        .spawn()
        .expect("the binary starts");
    let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
    let process = Process(child);
    // The edge's API is the last of the lines.
    let ready = output.lines().map_while(Result::ok).any(|line| line.starts_with("ready edge.api "));
    assert!(ready, "the platform said that it is ready");
    process
}

fn read_addresses(data: &Path) -> Value {
    let text = std::fs::read(data.join("addresses.json")).expect("`up` writes its addresses");
    serde_json::from_slice(&text).expect("in JSON")
}

/// Runs the binary and returns what it printed; a failure panics with its error.
pub fn text(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("the binary starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "roadstead {}: {error}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub fn children_of(parent: u32) -> Vec<u32> {
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let is_child = |pid: &u32| status(*pid).is_some_and(|status| status.contains(&format!("PPid:\t{parent}\n")));
    pids().into_iter().filter(is_child).collect()
}

pub fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("there is a /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Processes whose environment names this task.
pub fn processes_of_task(task: &str) -> Vec<u32> {
    let mark = format!("MESOS_TASK_ID={task}");
    let is_of_task = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    pids().into_iter().filter(is_of_task).collect()
}

/// One HTTP/1.1 GET on a connection of its own.
pub fn http_get(address: SocketAddr, host: &str, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A dockerd of the test's own, on a socket and a bridge of its own. It touches no firewall: ports are forwarded by
/// docker-proxy.
pub struct Dockerd {
    // In this order they go: the daemon first, then what it used.
    _process: Process,
    _bridge: Bridge,
    directory: TempDir,
}

/// A bridge that is gone with the test.
struct Bridge {
    name: String,
}

impl Bridge {
    fn new() -> Self {
        let bridge = Self { name: format!("rs{}", std::process::id()) };
        // TEST-NET-2 (RFC 5737): nobody's addresses.
        for arguments in [
            vec!["link", "add", &bridge.name, "type", "bridge"],
            vec!["address", "add", "198.51.100.1/24", "dev", &bridge.name],
            vec!["link", "set", &bridge.name, "up"],
        ] {
            let status = Command::new("ip").args(&arguments).status().expect("iproute2 is installed");
            assert!(status.success(), "ip {}", arguments.join(" "));
        }
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _gone_already = Command::new("ip").args(["link", "delete", &self.name]).status();
    }
}

impl Dockerd {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("roadstead-dockerd-").tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let log = std::fs::File::create(path("log")).expect("a log file");
        let bridge = Bridge::new();
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("docker.sock").display()))
            .args(["--bridge", &bridge.name, "--iptables=false", "--ip6tables=false", "--ip-masq=false"])
            .args(["--ip-forward=false", "--storage-driver=vfs"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd is installed: cargo xtask setup");
        let dockerd = Self { _process: Process(child), _bridge: bridge, directory };
        until("dockerd answers", || dockerd.docker(&["version"]).status.success().then_some(()));
        dockerd
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("docker.sock").display())
    }

    pub fn docker(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("docker").args(["--host", &self.host()]).args(arguments).output().expect("docker is installed")
    }

    /// Every container there is, running or not.
    pub fn containers(&self) -> Vec<String> {
        let output = self.docker(&["ps", "--all", "--quiet"]);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// The user `nobody`, in a home of its own that is empty.
pub struct OrdinaryUser {
    home: TempDir,
}

const NOBODY: u32 = 65534;

impl OrdinaryUser {
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("roadstead-home-").tempdir().expect("a temporary directory");
        std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("the test runs as root");
        Self { home }
    }

    /// A copy of a file that the user may read and run.
    pub fn copy_of(&self, file: &Path) -> PathBuf {
        let copy = self.home.path().join(file.file_name().expect("a file has a name"));
        std::fs::copy(file, &copy).expect("the file can be copied");
        std::os::unix::fs::chown(&copy, Some(NOBODY), Some(NOBODY)).expect("the test runs as root");
        copy
    }

    /// A command of the user's, with nothing of this process' environment but PATH.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.uid(NOBODY).gid(NOBODY).current_dir(self.home.path());
        command.env_clear().env("PATH", path).env("HOME", self.home.path()).env("TMPDIR", self.home.path());
        command
    }
}

/// One role alone.
pub struct Role {
    process: Process,
    addresses: std::collections::BTreeMap<String, SocketAddr>,
}

impl Role {
    /// Starts `roadstead ROLE …` and reads its `ready` lines up to the main one.
    pub fn start(role: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .arg(role)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut found = Self { process: Process(child), addresses: Default::default() };
        for line in output.lines().map_while(Result::ok) {
            let ready = line.strip_prefix("ready ").and_then(|ready| ready.split_once(' '));
            if let Some((name, address)) = ready {
                found.addresses.insert(name.to_owned(), address.parse().expect("an address"));
            }
            if found.addresses.contains_key(role) {
                break;
            }
        }
        assert!(found.addresses.contains_key(role), "{role} said where it listens");
        found
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    pub fn end(self, signal: nix::sys::signal::Signal) {
        self.process.end(signal);
    }
}

/// Runs the binary, which must fail; what it said.
pub fn failure(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("the binary starts");
    assert!(!output.status.success(), "roadstead {} succeeded", arguments.join(" "));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
