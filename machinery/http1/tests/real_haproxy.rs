//! The same bytes to HAProxy 2.6 (Debian's), in front of a server that records what reaches it: nothing that is accepted
//! here is read differently there.

mod support;

use http1::{Asked, Body, Forward, Forwarded, HEADERS_MAX, Limits, Parsed, Request, Response, Scheme, Storage};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::corpus::{self, nearly_requests};
use support::haproxy::{LOOSER, LOOSER_RESPONSES, SOMETIMES_LOOSER, STRICTER};
use support::{End, LIMITS, Message, Reading, read, read_within, responses};
use tempfile::TempDir;

/// What anything may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// A request that does not become whole in this time is answered anyway.
const QUIET: Duration = Duration::from_millis(300);
/// HAProxy is not to be measured by our limits.
const WIDE: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: HEADERS_MAX };
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// Ends the connection, and shows whether what came before was read to its end.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";

/// Shows that all before it was recorded.
const BARRIER: &[u8] = b"GET /barrier HTTP/1.1\r\nHost: barrier\r\nConnection: close\r\n\r\n";

/// HAProxy between a client and a server that records, over sockets in a directory of its own.
struct Bench {
    haproxy: Child,
    front: PathBuf,
    recorded: Arc<Recorded>,
    _directory: TempDir,
}

#[derive(Default)]
struct Recorded {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Vec<u8>>,
    /// What the server answers, if not [`OK`].
    answer: Option<Vec<u8>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = self.haproxy.kill();
        let _status = self.haproxy.wait();
    }
}

impl Bench {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (front, back) = (directory.path().join("front"), directory.path().join("back"));
        let configuration = directory.path().join("haproxy.cfg");
        std::fs::write(&configuration, configure(&front, &back)).unwrap();
        let recorded = Arc::<Recorded>::default();
        let listener = UnixListener::bind(&back).unwrap();
        let recorder = recorded.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                recorder.record(connection.unwrap());
            }
        });
        let haproxy = Command::new("haproxy").arg("-db").arg("-f").arg(&configuration).spawn();
        let haproxy = haproxy.expect("haproxy is installed");
        let bench = Self { haproxy, front, recorded, _directory: directory };
        let start = Instant::now();
        while UnixStream::connect(&bench.front).is_err() {
            assert!(start.elapsed() < DEADLINE, "haproxy listens");
            std::thread::yield_now();
        }
        bench
    }

    /// What a client receives for these bytes, until its connection closes.
    fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = UnixStream::connect(&self.front).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        // HAProxy may have refused the first bytes and closed.
        let sent = client.write_all(bytes);
        // What HAProxy waits for more of shall end too; but of an upgrade it waits for the client.
        if sent.is_ok() && read(bytes).end != End::Clean {
            let _closed = client.shutdown(Shutdown::Write);
        }
        let mut answers = Vec::new();
        if let Err(error) = client.read_to_end(&mut answers) {
            assert!(error.kind() == ErrorKind::ConnectionReset, "haproxy ends the connection: {error}");
        }
        answers
    }

    /// What a client receives of this response.
    fn passes_back(&self, response: &[u8], head: bool) -> Vec<u8> {
        self.recorded.state.lock().unwrap().answer = Some(response.to_vec());
        let method = if head { "HEAD" } else { "GET" };
        self.exchange(format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// The requests that HAProxy finds in these bytes, as it passes them on.
    fn reads(&self, bytes: &[u8]) -> Vec<Message> {
        let _answers = self.exchange(bytes);
        // The server takes one connection after the other: what came before this was recorded before it.
        let _answers = self.exchange(BARRIER);
        let is_barrier = |request: &Vec<u8>| request.starts_with(b"GET /barrier ");
        let state = self.recorded.state.lock().unwrap();
        let pending = |state: &mut State| !state.requests.last().is_some_and(is_barrier);
        let (mut state, waited) = self.recorded.grown.wait_timeout_while(state, DEADLINE, pending).unwrap();
        assert!(!waited.timed_out(), "haproxy passes the barrier on");
        state
            .requests
            .drain(..)
            .filter(|request| !is_barrier(request))
            .filter_map(|bytes| as_recorded(&bytes))
            .collect()
    }
}

/// The request that reached the server, or what it was if it cannot be read; none if it did not become whole.
fn as_recorded(bytes: &[u8]) -> Option<Message> {
    let Reading { messages, end } = read_within(bytes, &WIDE);
    match end {
        End::Clean => messages.into_iter().next(),
        End::Partial => None,
        End::Refused(_) => Some(Message {
            method: "unreadable".to_owned(),
            target: String::new(),
            host: String::new(),
            headers: Vec::new(),
            body: bytes.to_vec(),
        }),
    }
}

impl Recorded {
    /// One request of one connection.
    fn record(&self, mut connection: UnixStream) {
        connection.set_read_timeout(Some(QUIET)).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while let Ok(count @ 1..) = connection.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            if read_within(&bytes, &WIDE).end != End::Partial {
                break;
            }
        }
        let answer = self.state.lock().unwrap().answer.clone();
        let _answered = connection.write_all(answer.as_deref().unwrap_or(OK));
        self.state.lock().unwrap().requests.push(bytes);
        self.grown.notify_all();
    }
}

fn configure(front: &Path, back: &Path) -> String {
    format!(
        "defaults\n mode http\n timeout client 3s\n timeout server 3s\n timeout connect 3s\n timeout http-request 3s\n \
         option http-server-close\n http-reuse never\n\
         frontend front\n bind {}\n default_backend back\n\
         backend back\n server recorder {}\n",
        front.display(),
        back.display()
    )
}

/// What HAProxy makes of a case.
enum Verdict {
    Same,
    /// HAProxy passes on what is refused here.
    Looser,
    /// HAProxy refuses what is accepted here.
    Stricter,
    Different(String),
}

fn compare(bench: &Bench, bytes: &[u8], limits: &Limits) -> Verdict {
    let bytes = [bytes, LAST].concat();
    let (ours, theirs) = (read_within(&bytes, limits), bench.reads(&bytes));
    for (message, their) in ours.messages.iter().zip(&theirs) {
        if message.essence() != their.essence() {
            return Verdict::Different(format!("here: {message:?}\nhaproxy: {their:?}"));
        }
    }
    match theirs.get(ours.messages.len()) {
        None if theirs.is_empty() && !ours.messages.is_empty() => Verdict::Stricter,
        None => Verdict::Same,
        Some(more) if ours.end == End::Clean => Verdict::Different(format!("only haproxy: {more:?}")),
        Some(_) => Verdict::Looser,
    }
}

#[test]
fn what_is_accepted_haproxy_reads_the_same() {
    let bench = Bench::start();
    let (mut differences, mut stricter, mut looser) = (Vec::new(), Vec::new(), Vec::new());
    for case in corpus::cases() {
        match compare(&bench, &case.bytes, &LIMITS) {
            Verdict::Same => {}
            Verdict::Stricter => stricter.push(case.what),
            Verdict::Looser => looser.push(case.what),
            Verdict::Different(how) => differences.push(format!("{}: {how}", case.what)),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert_eq!(stricter, STRICTER);
    looser.retain(|what| *what != SOMETIMES_LOOSER);
    assert_eq!(looser, LOOSER);
}

/// The head as it goes on to a server, and the body as it came.
fn forwarded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut storage = Storage::new();
    let Ok(Parsed::Complete(request)) = Request::parse(bytes, &mut storage, &WIDE) else { return None };
    let forwarded = Forwarded { trusted: false, client: "192.0.2.7", scheme: Scheme::Http, server: "edge" };
    let mut out = Vec::new();
    let forward = Forward { authority: "server", keeps_host: true, target: None, forwarded, framing: None, edits: &[] };
    request.write(&mut out, &forward);
    out.extend_from_slice(&bytes[request.head_bytes()..]);
    Some(out)
}

#[test]
fn what_is_passed_on_haproxy_reads_as_it_was_meant() {
    let bench = Bench::start();
    for case in corpus::cases().iter().filter(|case| case.status == 0) {
        let (before, written) = (read(&case.bytes), forwarded(&case.bytes).unwrap());
        let theirs = bench.reads(&[&written, LAST].concat());
        // After methods that it does not know HAProxy closes.
        let [first, rest @ ..] = &theirs[..] else { panic!("{}: nothing", case.what) };
        let meant = &before.messages[0];
        assert_eq!(
            (&first.method, &first.target, &first.body),
            (&meant.method, &meant.target, &meant.body),
            "{}",
            case.what
        );
        assert!(first.host == meant.host || meant.host.is_empty(), "{}", case.what);
        assert!(rest.iter().all(|last| last.target == "/last") && rest.len() <= 1, "{}: {rest:?}", case.what);
    }
}

/// A response in its parts: status and body.
fn read_response(bytes: &[u8], asked: Asked) -> Option<(u16, Vec<u8>)> {
    let mut storage = Storage::new();
    let Ok(Parsed::Complete(response)) = Response::parse(bytes, &mut storage, &WIDE, asked) else { return None };
    let (mut body, mut data, mut at) = (Body::new(response.framing), Vec::new(), response.head_bytes());
    while !body.is_done() && at < bytes.len() {
        let decoded = body.decode(&bytes[at..]).ok()?;
        data.extend_from_slice(decoded.data);
        at += decoded.consumed;
    }
    body.may_end_here().then_some((response.status, data))
}

#[test]
fn responses_are_read_the_same_by_haproxy() {
    let bench = Bench::start();
    for case in responses::clear().iter().filter(|case| !case.bytes.starts_with(b"HTTP/1.1 1")) {
        let ours = read_response(&case.bytes, case.asked).unwrap();
        let theirs = read_response(&bench.passes_back(&case.bytes, case.asked.head), case.asked);
        assert_eq!(theirs, Some(ours), "{}", String::from_utf8_lossy(&case.bytes));
    }
    let mut looser = Vec::new();
    for (what, bytes) in responses::ambiguous() {
        let theirs = read_response(&bench.passes_back(&bytes, false), Asked::default());
        if theirs.is_some_and(|(status, _)| status != 502) {
            looser.push(what);
        }
    }
    assert_eq!(looser, LOOSER_RESPONSES);
}

#[test]
fn random_requests_are_read_the_same_by_haproxy() {
    let bench = Bench::start();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..support::many().cases {
        let bytes = nearly_requests().new_tree(&mut runner).unwrap().current();
        let as_written = forwarded(&bytes).map(|written| (written, &WIDE));
        for (bytes, limits) in [(bytes, &LIMITS)].into_iter().chain(as_written) {
            if let Verdict::Different(how) = compare(&bench, &bytes, limits) {
                panic!("{}\n{how}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
