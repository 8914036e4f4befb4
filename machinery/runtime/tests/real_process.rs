//! The process runtime on the real kernel: as root, as an ordinary user, and against everything dying.

#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/contract.rs"]
mod contract;

use async_trait::async_trait;
use contract::{DEADLINE, SERVE, Subject, forward, free_port, get, get_until_answered, within};
use runtime::{
    Command, ContainerSpec, ImageConfig, ImageSource, PreparedImage, ProcessConfig, ProcessRuntime, Status, Volume,
};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, process};

const SHIM: &str = env!("CARGO_BIN_EXE_shim-harness");
const IMAGE: &str = "busybox:test";
/// Set when this test binary runs itself again as an ordinary user.
const AS_NOBODY: &str = "RUNTIME_TEST_AS_NOBODY";

/// One image, a directory.
struct Local(PathBuf);

#[async_trait]
impl ImageSource for Local {
    async fn prepare(&self, reference: &str, _force_pull: bool) -> Result<PreparedImage, lifecycle::BoxError> {
        if reference != IMAGE {
            return Err(format!("no such image: {reference}").into());
        }
        let config = ImageConfig {
            env: vec!["PATH=/bin".to_owned(), "COLOUR=image".to_owned()],
            cmd: vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo from the image; pwd".to_owned()],
            working_dir: "/work".to_owned(),
            ..ImageConfig::default()
        };
        Ok(PreparedImage { rootfs: self.0.clone(), config })
    }

    async fn collect(&self, _in_use: &BTreeSet<PathBuf>) -> Result<(), lifecycle::BoxError> {
        Ok(())
    }
}

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("runtime-test").tempdir().unwrap();
        busybox::make(&directory.path().join("image"));
        Self { directory }
    }

    /// As an agent that has just started does it.
    async fn open(&self) -> Subject {
        let config = ProcessConfig {
            data: self.directory.path().join("data"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            shim: std::env::var_os(AS_NOBODY).map_or_else(|| PathBuf::from(SHIM), PathBuf::from),
        };
        let images = Arc::new(Local(self.directory.path().join("image")));
        let runtime = ProcessRuntime::open(config, images).await.unwrap();
        Subject { runtime: Arc::new(runtime), image: IMAGE.to_owned(), prefix: String::new() }
    }

    fn status(&self, id: &str) -> serde_json::Value {
        let path = self.directory.path().join("data/tasks").join(id).join("status.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn shim_pid(&self, id: &str) -> i32 {
        self.status(id)["shim"]["pid"].as_i64().unwrap() as i32
    }

    /// The memory groups of this node's tasks.
    fn groups(&self) -> Vec<PathBuf> {
        let tasks = fs::metadata(self.directory.path().join("data/tasks")).unwrap();
        let prefix = format!("{:x}.{:x}-", tasks.dev(), tasks.ino());
        let groups = fs::read_dir("/sys/fs/cgroup/memory/roadstead").unwrap().flatten();
        let ours = groups.filter(|group| group.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)));
        ours.map(|group| group.path()).collect()
    }

    /// Whatever the kernel still knows of this node's tasks.
    fn leftovers(&self) -> Vec<String> {
        let place = self.directory.path().display().to_string();
        let mut left = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if command.contains(&place) {
                left.push(command.replace('\0', " "));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&place)).map(str::to_owned));
        left
    }
}

fn kill_9(pid: i32) {
    let status = process::Command::new("/bin/kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs one test of this binary again as the user nobody, in a directory of its own.
fn again_as_nobody(test: &str) {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Build directories are often closed to other users.
    let binary = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let shim = place.path().join("shim");
    fs::copy(SHIM, &shim).unwrap();
    let status = process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
        .arg(&binary)
        .args(["--exact", test, "--nocapture"])
        .env(AS_NOBODY, &shim)
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn the_contract_holds_as_root() {
    let node = Node::new();
    contract::all(&node.open().await).await;
    assert_eq!(node.leftovers(), Vec::<String>::new());
}

#[test]
fn the_contract_holds_as_an_ordinary_user() {
    if std::env::var_os(AS_NOBODY).is_none() {
        return again_as_nobody("the_contract_holds_as_an_ordinary_user");
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = Node::new();
        let subject = node.open().await;
        contract::all(&subject).await;
        let spec = subject.shell("root-inside", "id -u; id -g");
        subject.run_to_end(&spec).await;
        assert_eq!(subject.output(&spec.id, runtime::Stream::Stdout).await, "0\n0\n");
        subject.runtime.remove(&spec.id).await.unwrap();
        assert_eq!(node.leftovers(), Vec::<String>::new());
    });
}

#[tokio::test]
async fn a_task_outlives_its_agent_and_is_taken_back() {
    let node = Node::new();
    let first = node.open().await;
    let mut spec = first.shell("web", SERVE);
    spec.ports = vec![forward(free_port(), 8080)];
    first.runtime.start(&spec).await.unwrap();
    get_until_answered(spec.ports[0].host_port).await;
    let before = first.status(&spec.id).await;
    let shim = node.shim_pid(&spec.id);
    drop(first);
    let second = node.open().await;
    assert_eq!(second.status(&spec.id).await, before);
    second.runtime.start(&spec).await.unwrap();
    assert_eq!(node.shim_pid(&spec.id), shim);
    get(spec.ports[0].host_port).await.unwrap();
    // The end of a task that is not our child is seen, too.
    let waiting = tokio::spawn({
        let (runtime, id) = (second.runtime.clone(), spec.id.clone());
        async move { runtime.wait(&id).await }
    });
    second.runtime.stop(&spec.id, contract::GRACE).await.unwrap();
    within("the end", waiting).await.unwrap().unwrap();
    second.runtime.remove(&spec.id).await.unwrap();
    assert_eq!(node.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_of_a_task_outlives_its_shim() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec =
        subject.shell("web", "sleep 1000 & echo hello > /index.html; httpd -f -p 8080 -h / & trap '' TERM; wait");
    spec.ports = vec![forward(free_port(), 8080)];
    subject.runtime.start(&spec).await.unwrap();
    get_until_answered(spec.ports[0].host_port).await;
    kill_9(node.shim_pid(&spec.id));
    let exit = within("the loss", subject.runtime.wait(&spec.id)).await.unwrap();
    assert_eq!(exit.how, runtime::How::Lost);
    assert!(exit.started_at_ms > 0);
    std::net::TcpListener::bind(("127.0.0.1", spec.ports[0].host_port)).unwrap();
    assert_eq!(node.leftovers(), Vec::<String>::new());
    subject.runtime.remove(&spec.id).await.unwrap();
    assert_eq!(node.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn groups_of_tasks_that_no_longer_exist_are_swept_at_the_start() {
    let node = Node::new();
    let subject = node.open().await;
    let [lost, alive] = ["lost", "alive"].map(|id| subject.shell(id, "echo ready; sleep 600"));
    for spec in [&lost, &alive] {
        subject.runtime.start(spec).await.unwrap();
        subject.says(&spec.id, "ready").await;
    }
    assert_eq!(node.groups().len(), 2);
    kill_9(node.shim_pid(&lost.id));
    within("the loss", subject.runtime.wait(&lost.id)).await.unwrap();
    fs::remove_dir_all(node.directory.path().join("data/tasks/lost")).unwrap();
    assert_eq!(node.groups().len(), 2);
    drop(subject);
    let subject = node.open().await;
    let groups = node.groups();
    assert!(groups.len() == 1 && groups[0].to_str().unwrap().ends_with("-alive"), "{groups:?}");
    assert!(matches!(subject.runtime.find(&alive.id).await.unwrap(), Some(Status::Running { .. })));
    subject.runtime.remove(&alive.id).await.unwrap();
    assert_eq!(node.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_task_whose_directory_was_deleted_ends() {
    let node = Node::new();
    let subject = node.open().await;
    let spec = subject.shell("forgotten", "echo ready; sleep 600");
    subject.runtime.start(&spec).await.unwrap();
    subject.says(&spec.id, "ready").await;
    fs::remove_dir_all(node.directory.path().join("data/tasks/forgotten")).unwrap();
    eventually("its end", || node.leftovers().is_empty()).await;
    subject.runtime.remove(&spec.id).await.unwrap();
    assert_eq!(node.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn five_hundred_requests_on_fifty_connections_at_once_all_pass() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec = subject.shell("busy", SERVE);
    spec.memory_bytes = 0;
    spec.ports = vec![forward(free_port(), 8080)];
    let port = spec.ports[0].host_port;
    subject.runtime.start(&spec).await.unwrap();
    get_until_answered(port).await;
    let lanes = (0..50).map(|_| async move {
        for _ in 0..10 {
            assert!(get(port).await.unwrap().ends_with("hello\n"));
        }
    });
    let begun = Instant::now();
    futures::future::join_all(lanes).await;
    eprintln!("500 requests took {:?}", begun.elapsed());
    subject.runtime.remove(&spec.id).await.unwrap();
}

/// The last answer of a task that ends right after it is not cut short.
#[tokio::test]
async fn what_a_task_wrote_before_it_ended_still_arrives() {
    use tokio::io::AsyncReadExt;
    const ANSWER_BYTES: usize = 4_000_000;
    let node = Node::new();
    let subject = node.open().await;
    for round in 0..5 {
        let mut spec = subject.shell(&format!("last-{round}"), "exec nc -l -p 8080 -e head -c 4000000 /dev/zero");
        spec.ports = vec![forward(free_port(), 8080)];
        subject.runtime.start(&spec).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        // Until `nc` listens, connections are reset.
        let received = loop {
            let answered = async {
                let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", spec.ports[0].host_port)).await?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await
            };
            match answered.await {
                Ok(received) if received > 0 => break received,
                _ => assert!(Instant::now() < deadline),
            }
        };
        assert_eq!(received, ANSWER_BYTES);
        within("the end", subject.runtime.wait(&spec.id)).await.unwrap();
        subject.runtime.remove(&spec.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_ends_with_its_first_process_and_takes_the_others_along() {
    let node = Node::new();
    let subject = node.open().await;
    let spec = subject.shell("daemon", "sleep 1000 & exit 4");
    let exit = subject.run_to_end(&spec).await;
    assert_eq!(exit.how, runtime::How::Code(4));
    assert_eq!(node.leftovers(), Vec::<String>::new());
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn a_signal_is_told_from_a_status() {
    let node = Node::new();
    let subject = node.open().await;
    let spec = subject.shell("signal", "sh -c 'kill -KILL $PPID'; sleep 60");
    let exit = subject.run_to_end(&spec).await;
    assert_eq!((exit.how, exit.code()), (runtime::How::Signal(9), 137));
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn memory_is_a_hard_limit_as_root() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec = subject.shell("hog", "dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.memory_bytes = 32 << 20;
    let exit = subject.run_to_end(&spec).await;
    assert_eq!(exit.code(), 137, "{exit:?}");
    assert!(exit.message.contains("out of memory"), "{exit:?}");
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn the_images_command_user_and_directory_are_used() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec = subject.shell("image", "");
    spec.command = Command::Image;
    subject.run_to_end(&spec).await;
    assert_eq!(subject.output(&spec.id, runtime::Stream::Stdout).await, "from the image\n/work\n");
    subject.runtime.remove(&spec.id).await.unwrap();

    let mut spec = subject.shell("user", "id -u; id -g; echo $HOME $COLOUR");
    spec.user = Some("web".to_owned());
    subject.run_to_end(&spec).await;
    assert_eq!(subject.output(&spec.id, runtime::Stream::Stdout).await, "33\n34\n/work image\n");
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn a_task_cannot_reach_out_as_root() {
    let node = Node::new();
    let subject = node.open().await;
    let attempts = [
        "echo 1 > /proc/sys/kernel/sysrq && echo sysctl written",
        "echo b > /proc/sysrq-trigger && echo sysrq written",
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk > /dev/null && echo disk read",
        "mount -t proc proc /tmp && echo mounted",
        "mount -o remount,rw /proc/sys && echo remounted",
        "kill -9 1 && echo init killed && ps",
        "test -e /sys/kernel && echo sys seen",
        "test $(ls -d /proc/[0-9]* | wc -l) -gt 9 && echo others seen",
    ];
    for (number, attempt) in attempts.iter().enumerate() {
        // A signal to init is ignored, not refused: the task must still be there afterwards.
        let line = format!("{{ {attempt}; }} 2>/dev/null | grep -v 'init killed'; echo survived");
        let spec = subject.shell(&format!("attempt-{number}"), &line);
        let exit = subject.run_to_end(&spec).await;
        let said = subject.output(&spec.id, runtime::Stream::Stdout).await;
        let harmless = said == "survived\n" || (attempt.starts_with("kill") && said.ends_with("survived\n"));
        assert!(harmless && exit.how == runtime::How::Code(0), "{attempt}: {said} {exit:?}");
        subject.runtime.remove(&spec.id).await.unwrap();
    }
}

/// An image may hold links that lead out of it: nothing may be made or mounted through them.
#[tokio::test]
async fn a_hostile_image_stays_in_its_root() {
    let node = Node::new();
    let outside = node.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let image = node.directory.path().join("image");
    fs::remove_dir_all(image.join("etc")).unwrap();
    symlink(&outside, image.join("etc")).unwrap();
    symlink(format!("../../../../../..{}", outside.display()), image.join("dev")).unwrap();
    symlink(outside.join("volume"), image.join("volume")).unwrap();
    let subject = node.open().await;
    let mut spec = subject.shell("hostile", "cat /etc/hostname; cat /volume/mark; test -c /dev/null && echo device");
    let volume = node.directory.path().join("shared");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("mark"), "mark\n").unwrap();
    spec.volumes = vec![Volume { container_path: "/volume".into(), host_path: volume, read_only: true }];
    let exit = subject.run_to_end(&spec).await;
    let said = subject.output(&spec.id, runtime::Stream::Stdout).await;
    assert_eq!(said, "host-hostile\nmark\ndevice\n", "{exit:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn volumes_are_shared_and_read_only_ones_are_not_written() {
    let node = Node::new();
    let subject = node.open().await;
    let (writable, read_only) = (node.directory.path().join("w"), node.directory.path().join("r"));
    fs::create_dir(&writable).unwrap();
    fs::create_dir(&read_only).unwrap();
    let mut spec = subject.shell("volumes", "echo x > /data/w/x; echo x > /data/r/x; true");
    let volume = |inside: &str, host: &Path, read_only| Volume {
        container_path: inside.into(),
        host_path: host.to_owned(),
        read_only,
    };
    spec.volumes = vec![volume("/data/w", &writable, false), volume("/data/r", &read_only, true)];
    subject.run_to_end(&spec).await;
    assert!(writable.join("x").exists() && !read_only.join("x").exists());
    // The image's own files are as they were.
    assert!(!node.directory.path().join("image/data").exists());
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn a_command_without_an_image_runs_on_the_hosts_files() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec = subject.shell("bare", "hostname; test -d /proc/1 && ls /proc | grep -c '^[0-9]'");
    spec.image = None;
    subject.run_to_end(&spec).await;
    let said = subject.output(&spec.id, runtime::Stream::Stdout).await;
    let (name, processes) = said.trim().split_once('\n').unwrap();
    assert_eq!(name, "host-bare");
    assert!(processes.parse::<u32>().unwrap() < 6, "{said}");
    subject.runtime.remove(&spec.id).await.unwrap();

    let mut spec = subject.shell("bare-user", "id -u; echo x > mine; ls; cat ../spec.json 2>/dev/null");
    spec.image = None;
    spec.user = Some("nobody".to_owned());
    // Everything above the data directory is the test's own.
    fs::set_permissions(node.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    subject.run_to_end(&spec).await;
    assert_eq!(subject.output(&spec.id, runtime::Stream::Stdout).await, "65534\nmine\n");
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_inside_is_a_reset_outside() {
    let node = Node::new();
    let subject = node.open().await;
    let mut spec = subject.shell("deaf", "echo ready; sleep 600");
    spec.ports = vec![forward(free_port(), 8080)];
    subject.runtime.start(&spec).await.unwrap();
    let error = get(spec.ports[0].host_port).await.unwrap_err();
    let resets = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(resets.contains(&error.kind()), "{error}");
    subject.runtime.remove(&spec.id).await.unwrap();
}

#[tokio::test]
async fn an_endless_log_stays_bounded() {
    let node = Node::new();
    let subject = node.open().await;
    let spec = subject.shell("noisy", "yes 0123456789abcdef | head -c 20000000");
    subject.run_to_end(&spec).await;
    let task = node.directory.path().join("data/tasks/noisy");
    let kept: u64 = fs::read_dir(task)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("stdout."))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!((4 << 20..=8 << 20).contains(&kept), "{kept}");
    let tail = subject.runtime.logs(&spec.id, runtime::Stream::Stdout, None, 17).await.unwrap();
    assert_eq!(tail.offset + tail.data.len() as u64, 20_000_000);
    subject.runtime.remove(&spec.id).await.unwrap();
}

/// The promise behind scaling 1 to 20 within three seconds.
#[tokio::test]
async fn twenty_tasks_start_in_well_under_three_seconds() {
    let node = Node::new();
    let subject = node.open().await;
    let specs: Vec<_> = (0..20).map(|number| subject.shell(&format!("many-{number}"), "sleep 600")).collect();
    let mut all: HashMap<String, Status> = HashMap::new();
    let begun = Instant::now();
    futures::future::try_join_all(specs.iter().map(|spec| subject.runtime.start(spec))).await.unwrap();
    let took = begun.elapsed();
    eprintln!("20 starts took {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    all.extend(subject.runtime.list().await.unwrap().into_iter().map(|found| (found.id, found.status)));
    assert!(all.len() == 20 && all.values().all(|status| matches!(status, Status::Running { .. })), "{all:?}");
    for spec in &specs {
        subject.runtime.remove(&spec.id).await.unwrap();
    }
    eventually("the last process", || node.leftovers().is_empty()).await;
}

#[tokio::test]
async fn one_directory_has_one_agent() {
    let node = Node::new();
    let _first = node.open().await;
    let config = ProcessConfig {
        data: node.directory.path().join("data"),
        listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
        shim: PathBuf::from(SHIM),
    };
    let second = ProcessRuntime::open(config, Arc::new(Local(PathBuf::new()))).await;
    assert!(second.is_err());
}

/// `docker-registry` and `skopeo` are Debian's: neither knows of us.
#[tokio::test]
async fn an_image_pushed_by_skopeo_runs_and_runs_again_without_its_registry() {
    let place = tempfile::tempdir().unwrap();
    let port = free_port();
    let storage = place.path().join("registry");
    let configuration = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        storage.display()
    );
    let configuration_file = place.path().join("registry.yml");
    fs::write(&configuration_file, configuration).unwrap();
    let mut registry = tokio::process::Command::new("docker-registry")
        .args(["serve", configuration_file.to_str().unwrap()])
        .stdout(process::Stdio::null())
        .stderr(process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("docker-registry is installed");
    eventually("the registry", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;

    let push = |tag: &str, line: &str| {
        let shell = oci::pack::Add { source: "/bin/busybox".into(), destination: Some("/bin/sh".into()) };
        let sleep = oci::pack::Add { source: "/bin/busybox".into(), destination: Some("/bin/sleep".into()) };
        let cmd = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let config = ImageConfig { cmd, ..ImageConfig::default() };
        let builder = oci::pack::ImageBuilder { additions: vec![shell, sleep], config, ..Default::default() };
        let packed = builder.build(place.path()).unwrap();
        let layout = place.path().join("layout");
        oci::layout::write(&layout, tag, &packed.local()).unwrap();
        let copied = process::Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .args([format!("oci:{}:{tag}", layout.display()), format!("docker://127.0.0.1:{port}/shell:{tag}")])
            .status()
            .expect("skopeo is installed");
        assert!(copied.success());
    };
    push("1", "echo packed");

    let open = || async {
        // One image is kept besides those in use.
        let directory = place.path().join("node/images");
        // A reference without a registry goes to the node's own.
        let registry = Some(format!("127.0.0.1:{port}"));
        let images = runtime::RegistryImages::open(&directory, registry, web::Credentials::None).unwrap().keeping(1);
        let config = ProcessConfig {
            data: place.path().join("node"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            shim: PathBuf::from(SHIM),
        };
        let runtime = ProcessRuntime::open(config, Arc::new(images)).await.unwrap();
        Subject { runtime: Arc::new(runtime), image: "shell:1".to_owned(), prefix: String::new() }
    };
    let run = |subject: Subject, name: &'static str| async move {
        let mut spec = subject.shell(name, "");
        spec.command = Command::Image;
        subject.runtime.prepare(&spec).await.unwrap();
        subject.run_to_end(&spec).await;
        assert_eq!(subject.output(&spec.id, runtime::Stream::Stdout).await, "packed\n");
        subject.runtime.remove(&spec.id).await.unwrap();
        subject
    };
    let subject = run(open().await, "first").await;
    let mut unknown = subject.shell("unknown", "true");
    unknown.image = Some("nothing:1".to_owned());
    let error = subject.runtime.prepare(&unknown).await.unwrap_err();
    let message = lifecycle::ErrorChain(&error).to_string();
    assert!(message.starts_with("image nothing:1: ") && message.contains("404"), "{message}");
    // Another image comes: the first stays while a task runs from it, and goes with that task.
    let mut running = subject.shell("running", "");
    running.command = Command::Arguments(vec!["/bin/sh".into(), "-c".into(), "sleep 600".into()]);
    subject.runtime.start(&running).await.unwrap();
    push("2", "echo another");
    let roots = || fs::read_dir(place.path().join("node/images/store/roots")).unwrap();
    let directories = || roots().flatten().filter(|entry| entry.path().is_dir()).count();
    let mut other = subject.shell("other", "true");
    other.image = Some("shell:2".to_owned());
    subject.runtime.prepare(&other).await.unwrap();
    subject.runtime.remove("absent").await.unwrap();
    assert_eq!(directories(), 2);
    subject.runtime.remove(&running.id).await.unwrap();
    assert_eq!(directories(), 1);
    let subject = run(subject, "third").await;
    drop(subject);
    registry.kill().await.unwrap();
    let subject = run(open().await, "again").await;
    // Unless it is told to ask.
    let forced = ContainerSpec { force_pull: true, ..subject.shell("forced", "true") };
    assert!(subject.runtime.prepare(&forced).await.is_err());
}
