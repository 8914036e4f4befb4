//! Debian's etcdctl 3.4, as people use it, against our server.

use identity::{Authority, Role, Verifier};
use lifecycle::{Started, Stop};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use store::{Config, start};

struct Server {
    stop: Stop,
    started: Started,
    endpoint: String,
    user: Option<String>,
}

impl Server {
    async fn start(data: &Path, verifier: Verifier, user: Option<String>) -> Self {
        let stop = Stop::new();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let started = start(Config { listen, data: data.to_owned(), verifier }, stop.clone()).await.unwrap();
        let endpoint = started.address("").unwrap().to_string();
        Self { stop, started, endpoint, user }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("ETCDCTL_API", "3");
        command.args(["--endpoints", &self.endpoint, "--command-timeout", "10s"]);
        command.args(self.user.iter().flat_map(|user| ["--user", user]));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("etcdctl is installed (Debian: etcd-client)")
    }

    /// Runs a command that must succeed; its standard output.
    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Runs a command that must fail; its standard error.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "etcdctl {arguments:?} must fail");
        String::from_utf8(output.stderr).unwrap()
    }

    fn spawn(&self, arguments: &[&str]) -> Spawned {
        let mut process =
            self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("etcdctl is installed");
        let output = BufReader::new(process.stdout.take().unwrap());
        Spawned { process, output }
    }

    async fn stop(self) {
        self.stop.request();
        self.started.finished().await.unwrap();
    }
}

struct Spawned {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Spawned {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_transactions() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), Verifier::Open, None).await;
    assert_eq!(server.lines(&["put", "a", "1"]), ["OK"]);
    assert_eq!(server.lines(&["put", "a", "2", "--prev-kv"]), ["OK", "a", "1"]);
    server.lines(&["put", "b", "3"]);
    assert_eq!(server.lines(&["get", "a"]), ["a", "2"]);
    assert_eq!(
        server.lines(&["get", "", "--prefix", "--keys-only", "--sort-by", "MODIFY", "--order", "DESCEND"]),
        ["b", "", "a", ""]
    );
    assert_eq!(server.lines(&["get", "a", "--rev", "2", "--print-value-only"]), ["1"]);
    let fields = server.lines(&["get", "a", "--from-key", "--write-out", "fields"]);
    assert!(fields.contains(&"\"Count\" : 2".to_owned()), "{fields:?}");
    assert_eq!(server.lines(&["put", "a", "--ignore-value"]), ["OK"]);
    let mut command = server.command(&["txn"]);
    let mut txn = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    txn.stdin.take().unwrap().write_all(b"value(\"a\") = \"2\"\n\nput a done\nget b\n\nput a failed\n\n").unwrap();
    let output = txn.wait_with_output().unwrap();
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines, ["SUCCESS", "", "OK", "", "b", "3"]);
    assert_eq!(server.lines(&["del", "", "--from-key"]), ["2"]);
    assert!(server.failure(&["put", "c", "x", "--lease", "1234"]).contains("etcdserver: requested lease not found"));
    assert!(
        server
            .failure(&["get", "a", "--rev", "99"])
            .contains("etcdserver: mvcc: required revision is a future revision")
    );
    assert_eq!(server.lines(&["compaction", "3"]), ["compacted revision 3"]);
    assert!(server.failure(&["compaction", "3"]).contains("etcdserver: mvcc: required revision has been compacted"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), Verifier::Open, None).await;
    server.lines(&["put", "w/a", "1"]);
    let mut watch = server.spawn(&["watch", "w/", "--prefix", "--rev", "1", "--prev-kv"]);
    assert_eq!([watch.line(), watch.line(), watch.line()], ["PUT", "w/a", "1"]);
    server.lines(&["put", "x", "elsewhere"]);
    server.lines(&["put", "w/a", "2"]);
    assert_eq!([(); 5].map(|()| watch.line()), ["PUT", "w/a", "1", "w/a", "2"]);
    server.lines(&["del", "w/a"]);
    assert_eq!([(); 5].map(|()| watch.line()), ["DELETE", "w/a", "2", "w/a", ""]);
    server.lines(&["compaction", "4"]);
    let compacted = server.failure(&["watch", "w/", "--prefix", "--rev", "2"]);
    assert!(compacted.contains("required revision has been compacted"), "{compacted}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_locks() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), Verifier::Open, None).await;
    let granted = server.lines(&["lease", "grant", "60"]);
    let id = granted[0].split(' ').nth(1).unwrap().to_owned();
    assert_eq!(granted, [format!("lease {id} granted with TTL(60s)")]);
    server.lines(&["put", "leased", "x", "--lease", &id]);
    assert_eq!(server.lines(&["lease", "keep-alive", "--once", &id]), [format!("lease {id} keepalived with TTL(60)")]);
    let left = server.lines(&["lease", "timetolive", &id, "--keys"]);
    assert!(left[0].contains("TTL(60s)") && left[0].contains("attached keys([leased])"), "{left:?}");
    assert_eq!(server.lines(&["lease", "list"]), ["found 1 leases".to_owned(), id.clone()]);
    assert_eq!(server.lines(&["lease", "revoke", &id]), [format!("lease {id} revoked")]);
    assert!(server.lines(&["get", "leased"]).is_empty());
    assert_eq!(server.lines(&["lease", "timetolive", &id]), [format!("lease {id} already expired")]);
    assert_eq!(server.lines(&["lock", "name", "echo", "held"]), ["held"]);
    // A second one waits until the first lets go.
    let mut first = server.spawn(&["lock", "name"]);
    let key = first.line();
    assert!(key.starts_with("name/"), "{key}");
    let mut second = server.spawn(&["lock", "name", "echo", "second"]);
    server.lines(&["del", &key]);
    assert_eq!(second.line(), "second");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_and_credentials() {
    let data = tempfile::tempdir().unwrap();
    let authority = Authority::generate().unwrap();
    let verifier = authority.identity(Role::Admin).verifier();
    let user = format!("admin:{}", authority.token(Role::Admin).reveal());
    let mut server = Server::start(data.path(), verifier, Some(user)).await;
    assert_eq!(server.lines(&["put", "a", "1"]), ["OK"]);
    let members = server.lines(&["member", "list"]);
    assert!(members[0].contains("started") && members[0].contains(&server.endpoint), "{members:?}");
    let status = server.lines(&["endpoint", "status"]);
    assert!(status[0].starts_with(&server.endpoint) && status[0].contains("3.4.23"), "{status:?}");
    let healthy = server.run(&["endpoint", "health"]);
    assert!(healthy.status.success());
    assert!(server.failure(&["snapshot", "save", "/dev/null"]).contains("Unimplemented"));
    server.user = Some(format!("edge:{}", authority.token(Role::Edge).reveal()));
    assert!(server.failure(&["put", "a", "2"]).contains("etcdserver: permission denied"));
    server.user = Some("admin:wrong".into());
    assert!(server.failure(&["get", "a"]).contains("authentication failed, invalid user ID or password"));
    server.user = None;
    assert!(server.failure(&["get", "a"]).contains("etcdserver: user name is empty"));
    server.stop().await;
}
