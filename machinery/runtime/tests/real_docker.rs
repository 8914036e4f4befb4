//! The docker runtime against dockerd: one of the test's own, in a network namespace of the test's own.

#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/contract.rs"]
mod contract;

use contract::{DEADLINE, GRACE, Subject, forward, free_port, get_until_answered};
use runtime::{DockerConfig, DockerRuntime, Status};
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

const IMAGE: &str = "busybox:test";
/// Set when this test binary runs itself again inside its network namespace.
const INSIDE: &str = "RUNTIME_TEST_IN_NETNS";

/// Runs one test of this binary again where a bridge and firewall rules are nobody else's.
fn in_a_network_of_its_own(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(body);
    }
    let line = format!("ip link set lo up && exec {:?} --exact {test} --nocapture", std::env::current_exe().unwrap());
    let status = Command::new("unshare").args(["--net", "sh", "-c", &line]).env(INSIDE, "1").status().unwrap();
    assert!(status.success());
}

struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    async fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("rt-docker").tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let log = File::create(place("log")).unwrap();
        let child = Command::new("dockerd")
            .args(["--host", &format!("unix://{}", place("sock").display())])
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd is installed");
        let daemon = Self { child, directory };
        let deadline = Instant::now() + DEADLINE;
        while !daemon.docker(&["version"]).status().unwrap().success() {
            let log = || std::fs::read_to_string(daemon.directory.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "dockerd does not answer: {}", log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        daemon.import();
        daemon
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("sock").display())
    }

    fn import(&self) {
        let root = self.directory.path().join("image");
        busybox::make(&root);
        let tar = self.directory.path().join("image.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(packed.success());
        let tar: &Path = &tar;
        let change = "ENV PATH=/bin COLOUR=image";
        assert!(self.docker(&["import", "--change", change, tar.to_str().unwrap(), IMAGE]).status().unwrap().success());
    }

    async fn open(&self, node: &str) -> Subject {
        let config = DockerConfig {
            host: Some(self.host()),
            node: node.to_owned(),
            listen: IpAddr::from([127, 0, 0, 1]),
            registry: None,
            registry_credentials: web::Credentials::None,
        };
        let runtime = DockerRuntime::connect(config).await.unwrap();
        Subject { runtime: Arc::new(runtime), image: IMAGE.to_owned(), prefix: String::new() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It ends its containers and its containerd, and unmounts; a kill would leave them.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ended = self.child.wait();
    }
}

#[test]
fn the_contract_holds_with_docker() {
    in_a_network_of_its_own("the_contract_holds_with_docker", async {
        let daemon = Daemon::start(&[]).await;
        contract::all(&daemon.open("node-1").await).await;
    });
}

#[test]
fn containers_are_found_again_and_only_ours_are_touched() {
    in_a_network_of_its_own("containers_are_found_again_and_only_ours_are_touched", async {
        let daemon = Daemon::start(&[]).await;
        let first = daemon.open("node-1").await;
        let spec = first.shell("keep", "echo ready; sleep 600");
        first.runtime.start(&spec).await.unwrap();
        let before = first.status(&spec.id).await;
        assert!(matches!(before, Some(Status::Running { started_at_ms: 1.. })), "{before:?}");
        drop(first);

        let again = daemon.open("node-1").await;
        assert_eq!(again.status(&spec.id).await, before);
        let other = daemon.open("node-2").await;
        assert_eq!(other.runtime.list().await.unwrap(), []);
        // A container of another node, or of nobody's, is not removed, whatever its name.
        assert!(other.runtime.remove(&spec.id).await.is_err());
        let foreign = ["run", "-d", "--name", "roadstead-foreign", IMAGE, "sleep", "600"];
        assert!(daemon.docker(&foreign).status().unwrap().success());
        assert!(again.runtime.remove("foreign").await.is_err());
        assert!(again.runtime.start(&again.shell("foreign", "true")).await.is_err());
        assert!(daemon.docker(&["inspect", "roadstead-foreign"]).status().unwrap().success());
        assert!(daemon.docker(&["rm", "--force", "roadstead-foreign"]).status().unwrap().success());

        again.runtime.remove(&spec.id).await.unwrap();
        assert_eq!(again.runtime.list().await.unwrap(), []);
    });
}

#[test]
fn without_a_bridge_tasks_share_the_hosts_network() {
    in_a_network_of_its_own("without_a_bridge_tasks_share_the_hosts_network", async {
        let daemon = Daemon::start(&["--bridge=none", "--iptables=false"]).await;
        let subject = daemon.open("node-1").await;
        assert!(subject.runtime.limits().iter().any(|limit| limit.contains("bridge")));
        let port = free_port();
        let mut spec = subject.shell("host", &format!("echo hello > /index.html; exec httpd -f -p {port} -h /"));
        spec.ports = vec![forward(port, 8080)];
        subject.runtime.start(&spec).await.unwrap();
        assert!(get_until_answered(port).await.ends_with("hello\n"));
        subject.runtime.stop(&spec.id, GRACE).await.unwrap();
        subject.runtime.remove(&spec.id).await.unwrap();
    });
}
