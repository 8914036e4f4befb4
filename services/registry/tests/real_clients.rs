//! The registry with the clients people have: skopeo and dockerd (Debian's `skopeo` and `docker.io`; dockerd needs root).

#[path = "support/platform.rs"]
mod platform;

use oci::pack::{Add, ImageBuilder};
use oci::{AnyManifest, Digest, Reference, layout};
use platform::Platform;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

const IMAGE: &str = "team/app";

/// Runs a command to its end; its standard output comes back.
async fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    let output = command.output().await.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// An image of a shell and a file, in an OCI layout.
fn make_layout(platform: &Platform) -> (std::path::PathBuf, Digest) {
    let file = platform.path("motd");
    fs::write(&file, "sheltered water").unwrap();
    let additions = vec![
        Add { source: "/bin/sh".into(), destination: None },
        Add { source: file, destination: Some("/etc/motd".into()) },
    ];
    let config = oci::RunConfig { cmd: vec!["/bin/sh".into()], ..oci::RunConfig::default() };
    let image = ImageBuilder { additions, config, platform: None }.build(platform.directory.path()).unwrap();
    let directory = platform.path("layout");
    layout::write(&directory, "1.0", &image.local()).unwrap();
    (directory, image.digest())
}

/// Every layer of a manifest is an S3 object of exactly these bytes.
async fn assert_layers_are_objects(platform: &Platform, tag: &str) {
    let reference: Reference = format!("{}/{IMAGE}:{tag}", platform.address).parse().unwrap();
    let fetched = platform.client().manifest(&reference).await.unwrap();
    let AnyManifest::Image(manifest) = AnyManifest::parse(&fetched.bytes, Some(&fetched.media_type)).unwrap() else {
        panic!("an image")
    };
    let mut digests = Vec::new();
    for key in platform.objects().await {
        digests.push(Digest::sha256(&platform.object(&key).await));
    }
    assert!(!manifest.layers.is_empty());
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let copies = digests.iter().filter(|digest| **digest == blob.digest).count();
        assert_eq!(copies, 1, "{} among {digests:?}", blob.digest);
    }
}

#[tokio::test]
async fn skopeo_copies_to_the_registry_and_back() {
    let platform = Platform::start().await;
    let (directory, digest) = make_layout(&platform);
    let credentials = format!("any:{}", platform.admin.reveal());
    let here = format!("oci:{}:1.0", directory.display());
    let there = format!("docker://{}/{IMAGE}:1.0", platform.address);
    let policy = "--insecure-policy";
    run("skopeo", [policy, "copy", "--dest-tls-verify=false", "--dest-creds", &credentials, &here, &there]).await;
    assert_layers_are_objects(&platform, "1.0").await;

    let inspected = run("skopeo", ["inspect", "--tls-verify=false", "--creds", &credentials, &there]).await;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], digest.to_string());
    assert_eq!(inspected["RepoTags"], serde_json::json!(["1.0"]));

    let back = platform.path("back");
    let back_name = format!("oci:{}:1.0", back.display());
    run("skopeo", [policy, "copy", "--src-tls-verify=false", "--src-creds", &credentials, &there, &back_name]).await;
    let read = layout::read(&back, Some("1.0")).unwrap();
    assert_eq!(Digest::sha256(&read.manifest), digest);

    // To another repository: skopeo mounts what is there.
    let other = format!("docker://{}/other:1.0", platform.address);
    let count = platform.objects().await.len();
    run("skopeo", [policy, "copy", "--dest-tls-verify=false", "--dest-creds", &credentials, &here, &other]).await;
    assert_eq!(platform.objects().await.len(), count, "nothing is stored twice");

    // As Docker's own format, and deleted.
    let docker = format!("docker://{}/{IMAGE}:docker", platform.address);
    let format = "--format=v2s2";
    run("skopeo", [policy, "copy", format, "--dest-tls-verify=false", "--dest-creds", &credentials, &here, &docker])
        .await;
    assert_layers_are_objects(&platform, "docker").await;
    run("skopeo", ["delete", "--tls-verify=false", "--creds", &credentials, &docker]).await;
    let reference: Reference = format!("{}/{IMAGE}:docker", platform.address).parse().unwrap();
    assert!(platform.client().manifest(&reference).await.unwrap_err().is_not_found());
    platform.end().await;
}

/// A Docker Engine of our own, in a directory of its own, that touches no network.
struct Docker {
    engine: Child,
    socket: String,
}

impl Docker {
    async fn start(platform: &Platform) -> Self {
        let directory = platform.path("docker");
        fs::create_dir(&directory).unwrap();
        let path = |name: &str| directory.join(name).display().to_string();
        fs::write(path("daemon.json"), "{}").unwrap();
        let socket = format!("unix://{}", path("docker.sock"));
        let log = fs::File::create(path("log")).unwrap();
        let engine = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--host", &socket, "--config-file", &path("daemon.json"), "--storage-driver=vfs"])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("dockerd of Debian's docker.io");
        let docker = Self { engine, socket };
        platform
            .eventually("dockerd answers", async || {
                let mut info = Command::new("docker");
                info.args(["--host", &docker.socket, "info"]).stdout(Stdio::null()).stderr(Stdio::null());
                info.status().await.is_ok_and(|status| status.success())
            })
            .await;
        docker
    }

    async fn run(&self, config: &Path, arguments: &[&str]) -> String {
        let config = config.display().to_string();
        let first = ["--host", &self.socket, "--config", &config];
        run("docker", first.iter().chain(arguments)).await
    }

    /// Ends it as Docker wants to be ended, so that it unmounts what it mounted.
    async fn end(mut self) {
        let id = self.engine.id().expect("it runs").to_string();
        run("kill", [id]).await;
        self.engine.wait().await.unwrap();
    }
}

#[tokio::test]
async fn docker_pushes_and_pulls() {
    let platform = Platform::start().await;
    let docker = Docker::start(&platform).await;
    let config = platform.path("docker-config");
    fs::create_dir(&config).unwrap();
    let (directory, _) = make_layout(&platform);
    let archive = platform.path("archive.tar");
    let (here, local) = (format!("oci:{}:1.0", directory.display()), "made:here");
    let destination = format!("docker-archive:{}:{local}", archive.display());
    run("skopeo", ["--insecure-policy", "copy", &here, &destination]).await;
    docker.run(&config, &["load", "--input", &archive.display().to_string()]).await;

    let registry = platform.address.to_string();
    docker.run(&config, &["login", "--username", "any", "--password", platform.admin.reveal(), &registry]).await;
    let name = format!("{registry}/{IMAGE}:2.0");
    docker.run(&config, &["tag", local, &name]).await;
    let pushed = docker.run(&config, &["push", &name]).await;
    assert!(pushed.contains("digest: sha256:"), "{pushed}");
    assert_layers_are_objects(&platform, "2.0").await;

    // To another repository of the same registry: Docker mounts.
    let second = format!("{registry}/second:2.0");
    docker.run(&config, &["tag", local, &second]).await;
    let mounted = docker.run(&config, &["push", &second]).await;
    assert!(mounted.contains("Mounted from"), "{mounted}");

    let id = docker.run(&config, &["image", "inspect", "--format", "{{.Id}}", &name]).await;
    docker.run(&config, &["image", "rm", local, &name, &second]).await;
    docker.run(&config, &["pull", &name]).await;
    assert_eq!(docker.run(&config, &["image", "inspect", "--format", "{{.Id}}", &name]).await, id);

    // What Docker pushed, our own client pulls and unpacks.
    let store = oci::ImageStore::open(platform.path("images")).unwrap();
    let pulled = platform.client().pull(&name.parse().unwrap(), &store).await.unwrap();
    let root = store.root(&pulled).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "sheltered water");
    assert!(root.join("bin/sh").is_file());
    docker.end().await;
    platform.end().await;
}
