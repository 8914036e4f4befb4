//! `roadstead up` becomes another binary, under a stream of requests to an app through the edge: none fails. A binary that
//! would not start changes nothing.

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use support::{Up, send, until};
use tempfile::TempDir;

const ROLES: [&str; 4] = ["agent", "data", "edge", "state"];
const HOST: &str = "page.localhost";
const PAGE: &str = "Application running on";
/// Answers between two steps of a test, of each client.
const ANSWERS: usize = 50;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A platform that runs a binary of its own, which can be replaced, and an app.
struct Stage {
    directory: TempDir,
    up: Up,
}

impl Stage {
    fn set() -> Self {
        let directory = tempfile::Builder::new().prefix("roadstead-upgrade-").tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        install(&at("roadstead"), Binary::Good);
        let runtime = ["--runtime", "process", "--resources", "cpus:4;mem:4096;ports:[31000-32000]"];
        let up = Up::start_from(&at("roadstead"), &at("log"), &at("data"), &runtime);
        let layout = at("layout").display().to_string();
        let add = format!("{}=/s3pics/s3pics", support::BINARY);
        up.cli(&["image", "pack", "--add", &add, "--add", "/bin/sh", "--layout", &layout, "--tag", "page:1"]);
        up.cli(&["image", "push", &layout, "page:1"]);
        let image = format!("{}/page:1", up.address("registry"));
        let cmd = "cd /s3pics; exec ./s3pics -AccessKey=a -SecretKey=b -EndPoint=http://s3 -Namespace=s3 --listen 0.0.0.0:8000";
        let run = ["app", "run", "/page", "--image", &image, "--cmd", cmd, "--port", "8000", "--health", "/"];
        up.cli(&[run.as_slice(), &["--cpus", "0.1", "--mem", "32"]].concat());
        until("the app answers", || up.visit(HOST, "/").filter(|(status, body)| *status == 200 && body.contains(PAGE)));
        Self { directory, up }
    }

    fn binary(&self) -> PathBuf {
        self.directory.path().join("roadstead")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("the log is there")
    }

    fn ask_for_replacement(&self) {
        send(self.up.id(), Signal::SIGUSR2);
    }

    fn edge(&self) -> u32 {
        let edges: Vec<u32> =
            self.up.children().into_iter().filter(|(role, _)| role == "edge").map(|(_, pid)| pid).collect();
        assert_eq!(edges.len(), 1, "one edge");
        edges[0]
    }

    /// Waits until every process is of the binary that is there now, and nothing of the ones before is left.
    fn until_all_is_new(&self) {
        until("every role runs from the new binary", || {
            let children = self.up.children();
            let mut roles: Vec<&str> = children.iter().map(|(role, _)| role.as_str()).collect();
            roles.sort_unstable();
            let is_new = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.binary());
            let all_new = is_new(self.up.id()) && children.iter().all(|(_, pid)| is_new(*pid));
            (roles == ROLES && all_new).then_some(())
        });
        until("the app's task is known again", || self.up.tasks_if_told("/page").filter(|tasks| tasks.len() == 1));
    }

    fn end(mut self) {
        self.up.cli(&["app", "remove", "/page"]);
        self.up.end(Signal::SIGTERM);
    }
}

#[derive(Clone, Copy)]
enum Binary<'a> {
    Good,
    Script(&'a str),
}

/// Puts another binary in the place of the one that runs, as `install` does.
fn install(path: &Path, binary: Binary<'_>) {
    let beside = path.with_extension("new");
    match binary {
        Binary::Good => drop(fs::copy(support::BINARY, &beside).expect("the binary can be copied")),
        Binary::Script(text) => fs::write(&beside, text).expect("a script can be written"),
    }
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).expect("it can be made to run");
    fs::rename(&beside, path).expect("it can be put in place");
}

/// Clients that ask without a pause, and try no request twice: two keep their connections, two do not.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(edge: SocketAddr) -> Self {
        let mut load =
            Self { stop: Arc::default(), answered: Vec::new(), failures: Arc::default(), clients: Vec::new() };
        for keeps in [true, true, false, false] {
            let (stop, failures, answered) = (load.stop.clone(), load.failures.clone(), Arc::<AtomicUsize>::default());
            load.answered.push(answered.clone());
            load.clients.push(thread::spawn(move || {
                let mut kept = None;
                while !stop.load(SeqCst) {
                    match ask(edge, &mut kept, keeps) {
                        Ok(()) => drop(answered.fetch_add(1, SeqCst)),
                        Err(error) => failures.lock().expect("nobody panics").push(error.to_string()),
                    }
                }
            }));
        }
        load
    }

    fn goes_on(&self) {
        for answered in &self.answered {
            let goal = answered.load(SeqCst) + ANSWERS;
            until("requests are answered", || (answered.load(SeqCst) >= goal).then_some(()));
        }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("a client ends");
        }
        std::mem::take(&mut *self.failures.lock().expect("nobody panics"))
    }
}

fn ask(edge: SocketAddr, kept: &mut Option<TcpStream>, keeps: bool) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(edge)?,
    };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let connection = if keeps { "keep-alive" } else { "close" };
    write!(stream, "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: {connection}\r\n\r\n")?;
    let (head, body) = read_answer(&mut stream)?;
    if !head.starts_with("http/1.1 200") || !body.contains(PAGE) {
        return Err(io::Error::other(format!("{head}{body}")));
    }
    if keeps && !head.contains("connection: close") {
        *kept = Some(stream);
    }
    Ok(())
}

/// Head in small letters, and body.
fn read_answer(stream: &mut TcpStream) -> io::Result<(String, String)> {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
            if body.len() >= length {
                return Ok((head, body.to_owned()));
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count()
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn the_binary_is_replaced_under_load_and_no_request_fails() {
    let _alone = support::alone();
    let stage = Stage::set();
    let load = Load::on(stage.up.address("edge"));
    load.goes_on();
    let supervisor = stage.up.id();
    let mut after_first = None;
    for upgrade in 0..3 {
        let before = stage.up.children();
        install(&stage.binary(), Binary::Good);
        if upgrade == 0 {
            let said = stage.up.cli(&["upgrade"]);
            assert!(said.ends_with("the edge served all the while"), "{said}");
        } else {
            stage.ask_for_replacement();
        }
        until("nothing of before is left", || {
            before.iter().all(|(_, pid)| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
        stage.until_all_is_new();
        assert_eq!(stage.up.id(), supervisor, "whoever watches it sees nothing end");
        load.goes_on();
        let (files, memory) = (open_files(supervisor), resident_kib(stage.edge()));
        let (files_first, memory_first) = *after_first.get_or_insert((files, memory));
        assert_eq!(files, files_first, "the supervisor keeps nothing open from upgrade to upgrade");
        assert!(
            memory <= memory_first * 3 / 2,
            "the edge has {memory} KiB, after the first upgrade {memory_first} KiB"
        );
    }
    assert_eq!(load.end(), Vec::<String>::new());
    stage.end();
}

/// Handlers do not survive exec(2): until the next binary has its own the signal would end the process.
#[test]
fn it_may_be_asked_over_and_over_while_the_binary_is_replaced() {
    let _alone = support::alone();
    let stage = Stage::set();
    let load = Load::on(stage.up.address("edge"));
    load.goes_on();
    let begun = || stage.log().matches("another binary takes this one's place").count();
    // Each says once where its pages are.
    let started = || stage.log().matches("\nconsole   http://").count();
    let (begun_before, started_before) = (begun(), started());
    let deadline = Instant::now() + support::PATIENCE;
    while started() == started_before {
        assert!(Instant::now() < deadline, "the next binary has started");
        stage.ask_for_replacement();
        thread::park_timeout(Duration::from_millis(1));
    }
    until("the wishes of meanwhile are fulfilled, too", || {
        let begun = begun() - begun_before;
        (begun >= 2 && begun == started() - started_before).then_some(())
    });
    stage.until_all_is_new();
    load.goes_on();
    assert_eq!(load.end(), Vec::<String>::new());
    stage.end();
}

#[test]
fn a_binary_that_would_not_start_changes_nothing_and_the_log_says_so() {
    let _alone = support::alone();
    let stage = Stage::set();
    let load = Load::on(stage.up.address("edge"));
    let before = stage.up.children();
    let broken = ["", "#!/bin/sh\necho it is broken >&2\nexit 1\n", "#!/bin/sh\nexit 0\n"];
    for (refusals, text) in (1..).zip(broken) {
        install(&stage.binary(), Binary::Script(text));
        stage.ask_for_replacement();
        until("the log says so", || {
            (stage.log().matches("the binary there would not start").count() == refusals).then_some(())
        });
        load.goes_on();
        assert_eq!(stage.up.children(), before);
    }
    assert!(stage.log().contains("it is broken"), "what the binary said is in the log");
    install(&stage.binary(), Binary::Script(broken[1]));
    let said = support::failure(&["upgrade", "--data", &stage.up.data.display().to_string()]);
    assert!(said.contains("would not start, and nothing has changed") && said.contains("it is broken"), "{said}");
    let edge = stage.edge();
    install(&stage.binary(), Binary::Good);
    stage.ask_for_replacement();
    until("the old edge has ended", || (!Path::new(&format!("/proc/{edge}")).exists()).then_some(()));
    stage.until_all_is_new();
    load.goes_on();
    assert_eq!(load.end(), Vec::<String>::new());
    stage.end();
}

#[test]
fn a_supervisor_that_fails_after_all_leaves_the_edge_at_work_for_the_next() {
    let _alone = support::alone();
    let mut stage = Stage::set();
    let load = Load::on(stage.up.address("edge"));
    // One fails when it has begun, and one is gone before it can.
    for lie in [":", "rm \"$0\""] {
        let edge = stage.edge();
        let liar =
            format!("#!/bin/sh\ncase \"$*\" in *--check) echo roadstead 9.9.9 would start; {lie};; *) exit 1;; esac\n");
        install(&stage.binary(), Binary::Script(&liar));
        stage.ask_for_replacement();
        stage.up.wait();
        load.goes_on();
        assert!(Path::new(&format!("/proc/{edge}")).exists(), "the edge is at work");
        install(&stage.binary(), Binary::Good);
        stage.up.again();
        until("the old edge has ended", || (!Path::new(&format!("/proc/{edge}")).exists()).then_some(()));
        stage.until_all_is_new();
        load.goes_on();
    }
    assert!(stage.log().contains("the edge works on"), "who could not begin says what became of the edge");
    assert_eq!(load.end(), Vec::<String>::new());
    stage.end();
}
