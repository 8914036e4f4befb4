//! What every runtime promises; run against each of them.

use runtime::{Command, ContainerSpec, Executed, Exit, How, PortForward, Runtime, Status, Stream};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Anything these tests wait for happens within this time.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const GRACE: Duration = Duration::from_secs(10);

/// A runtime under test and an image in which busybox is every program.
pub struct Subject {
    pub runtime: Arc<dyn Runtime>,
    pub image: String,
    /// Told from those of other tests that share a daemon.
    pub prefix: String,
}

impl Subject {
    pub fn shell(&self, name: &str, line: &str) -> ContainerSpec {
        ContainerSpec {
            id: format!("{}{name}", self.prefix),
            image: Some(self.image.clone()),
            command: Command::Shell(line.to_owned()),
            host_name: format!("host-{name}"),
            cpus_milli: 100,
            memory_bytes: 64 << 20,
            ..ContainerSpec::default()
        }
    }

    pub async fn run_to_end(&self, spec: &ContainerSpec) -> Exit {
        self.runtime.start(spec).await.unwrap();
        within("the end of a container", self.runtime.wait(&spec.id)).await.unwrap()
    }

    pub async fn output(&self, id: &str, stream: Stream) -> String {
        let slice = self.runtime.logs(id, stream, Some(0), 1 << 20).await.unwrap();
        String::from_utf8(slice.data.to_vec()).unwrap()
    }

    pub async fn status(&self, id: &str) -> Option<Status> {
        self.runtime.list().await.unwrap().into_iter().find(|found| found.id == id).map(|found| found.status)
    }

    /// Waits until the log says a word: the program is where we want it.
    pub async fn says(&self, id: &str, word: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.output(id, Stream::Stdout).await.contains(word) {
            assert!(Instant::now() < deadline, "{id} never said {word:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn forward(host_port: u16, container_port: u16) -> PortForward {
    PortForward { host_port, container_port, protocol: "tcp".to_owned() }
}

pub async fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.is_empty() { Err(std::io::Error::other("an empty answer")) } else { Ok(answer) }
}

pub async fn get_until_answered(port: u16) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match get(port).await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub const SERVE: &str = "echo hello > /index.html; exec httpd -f -p 8080 -h /";

/// All of the contract.
pub async fn all(subject: &Subject) {
    an_exit_status_and_both_logs_are_kept(subject).await;
    a_start_is_idempotent(subject).await;
    the_task_is_in_its_place(subject).await;
    a_stop_gives_grace(subject).await;
    a_stop_kills_when_the_grace_is_over(subject).await;
    ports_are_forwarded_and_released(subject).await;
    commands_run_inside(subject).await;
    what_cannot_start_is_told(subject).await;
    what_is_not_there_is_removed_and_unknown(subject).await;
}

async fn an_exit_status_and_both_logs_are_kept(subject: &Subject) {
    let spec = subject.shell("status", "echo out; echo err >&2; exit 7");
    let exit = subject.run_to_end(&spec).await;
    assert_eq!((exit.how, exit.code()), (How::Code(7), 7));
    assert!(exit.started_at_ms > 0);
    assert_eq!(subject.output(&spec.id, Stream::Stdout).await, "out\n");
    assert_eq!(subject.output(&spec.id, Stream::Stderr).await, "err\n");
    let tail = subject.runtime.logs(&spec.id, Stream::Stdout, None, 3).await.unwrap();
    assert_eq!((tail.offset, &tail.data[..]), (1, &b"ut\n"[..]));
    assert_eq!(subject.status(&spec.id).await, Some(Status::Ended(exit)));
    subject.runtime.remove(&spec.id).await.unwrap();
    assert_eq!(subject.status(&spec.id).await, None);
}

async fn a_start_is_idempotent(subject: &Subject) {
    let spec = subject.shell("once", "echo started; sleep 600");
    subject.runtime.start(&spec).await.unwrap();
    subject.says(&spec.id, "started").await;
    let before = subject.status(&spec.id).await;
    assert!(matches!(before, Some(Status::Running { .. })), "{before:?}");
    subject.runtime.start(&spec).await.unwrap();
    assert_eq!(subject.status(&spec.id).await, before);
    subject.runtime.stop(&spec.id, Duration::ZERO).await.unwrap();
    // Nor does a start bring an ended container back.
    subject.runtime.start(&spec).await.unwrap();
    assert!(matches!(subject.status(&spec.id).await, Some(Status::Ended(_))));
    assert_eq!(subject.output(&spec.id, Stream::Stdout).await, "started\n");
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn the_task_is_in_its_place(subject: &Subject) {
    let mut spec = subject.shell("place", "hostname; echo $COLOUR; test -w /dev/null && echo x > /tmp/x && cat /tmp/x; test -e /dev/sda -o -e /dev/vda || echo no disks");
    spec.env.insert("COLOUR".to_owned(), "a b".to_owned());
    let exit = subject.run_to_end(&spec).await;
    let said = subject.output(&spec.id, Stream::Stdout).await;
    assert_eq!((exit.how, said.as_str()), (How::Code(0), "host-place\na b\nx\nno disks\n"));
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn a_stop_gives_grace(subject: &Subject) {
    let spec = subject.shell("grace", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done");
    subject.runtime.start(&spec).await.unwrap();
    subject.says(&spec.id, "ready").await;
    within("a stop", subject.runtime.stop(&spec.id, GRACE)).await.unwrap();
    let exit = subject.runtime.wait(&spec.id).await.unwrap();
    assert_eq!(exit.how, How::Code(3), "{exit:?}");
    assert_eq!(subject.output(&spec.id, Stream::Stdout).await, "ready\nbye\n");
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn a_stop_kills_when_the_grace_is_over(subject: &Subject) {
    let spec = subject.shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done");
    subject.runtime.start(&spec).await.unwrap();
    subject.says(&spec.id, "ready").await;
    within("a kill", subject.runtime.stop(&spec.id, Duration::from_secs(1))).await.unwrap();
    let exit = subject.runtime.wait(&spec.id).await.unwrap();
    assert_eq!(exit.code(), 137, "{exit:?}");
    subject.runtime.stop(&spec.id, GRACE).await.unwrap();
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn ports_are_forwarded_and_released(subject: &Subject) {
    let mut spec = subject.shell("web", SERVE);
    spec.ports = vec![forward(free_port(), 8080)];
    subject.runtime.start(&spec).await.unwrap();
    assert!(get_until_answered(spec.ports[0].host_port).await.ends_with("hello\n"));
    subject.runtime.stop(&spec.id, GRACE).await.unwrap();
    std::net::TcpListener::bind(("127.0.0.1", spec.ports[0].host_port)).unwrap();
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn commands_run_inside(subject: &Subject) {
    let spec = subject.shell("exec", "echo here > /tmp/mark; echo ready; sleep 600");
    subject.runtime.start(&spec).await.unwrap();
    subject.says(&spec.id, "ready").await;
    let exec = |line: &'static str, timeout| subject.runtime.exec(&spec.id, line, timeout);
    assert_eq!(
        exec("grep -q here /tmp/mark && test $(hostname) = host-exec", GRACE).await.unwrap(),
        Executed::Status(0)
    );
    assert_eq!(exec("exit 9", GRACE).await.unwrap(), Executed::Status(9));
    assert_eq!(exec("sleep 60", Duration::from_millis(200)).await.unwrap(), Executed::TimedOut);
    subject.runtime.stop(&spec.id, Duration::ZERO).await.unwrap();
    assert!(exec("true", GRACE).await.is_err());
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn what_cannot_start_is_told(subject: &Subject) {
    let mut spec = subject.shell("nothing", "unused");
    spec.command = Command::Arguments(vec!["/no/such/program".to_owned()]);
    let error = subject.runtime.start(&spec).await.unwrap_err();
    assert!(lifecycle::ErrorChain(&error).to_string().contains("/no/such/program"), "{error}");
    subject.runtime.remove(&spec.id).await.unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = subject.shell("taken", SERVE);
    spec.ports = vec![forward(taken.local_addr().unwrap().port(), 8080)];
    let error = subject.runtime.start(&spec).await.unwrap_err();
    let message = lifecycle::ErrorChain(&error).to_string();
    assert!(message.contains("in use"), "{message}");
    subject.runtime.remove(&spec.id).await.unwrap();

    let mut spec = subject.shell("imageless", "true");
    spec.image = Some("127.0.0.1:1/no/such/image:1".to_owned());
    let error = subject.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(error, runtime::Error::Image { .. }), "{error:?}");
    assert!(subject.runtime.start(&spec).await.is_err());
    subject.runtime.remove(&spec.id).await.unwrap();
}

async fn what_is_not_there_is_removed_and_unknown(subject: &Subject) {
    let absent = format!("{}absent", subject.prefix);
    subject.runtime.remove(&absent).await.unwrap();
    subject.runtime.stop(&absent, GRACE).await.unwrap();
    assert!(matches!(subject.runtime.wait(&absent).await, Err(runtime::Error::Unknown { .. })));
    let logs = subject.runtime.logs(&absent, Stream::Stdout, None, 10).await;
    assert!(matches!(logs, Err(runtime::Error::Unknown { .. })));
    for hostile in ["../../etc", "", "a/b"] {
        assert!(subject.runtime.remove(hostile).await.is_err());
    }
}
