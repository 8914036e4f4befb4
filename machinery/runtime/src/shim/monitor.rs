//! The process that outlives the agent: holds the task's ports, logs, status and lock.

use super::wire::{FromInit, FromMonitor, GO, TERMINATE, say};
use super::{Part, SHIM, forward, namespaces};
use crate::process::cgroup::Cgroups;
use crate::process::logs::LogWriter;
use crate::process::record::{Phase, ProcessId, StatusFile, TaskDir, TaskFile, now_ms};
use crate::{Exit, How, Stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, setsid};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::Instant;

/// Bytes of output read at once.
const LOG_READ_BYTES: usize = 64 * 1024;
/// All writers of a log are dead with the pid namespace: what is left in the pipes is read within this time.
const LOG_DRAIN_MAX: Duration = Duration::from_secs(2);
/// What a task wrote before it ended is carried to its clients within this time, if they take it.
const CONNECTIONS_DRAIN_MAX: Duration = Duration::from_secs(1);
/// How often a monitor looks whether its directory is still there.
const ORPHAN_LOOK: Duration = Duration::from_secs(1);
/// When the stop's record cannot be read.
const GRACE_DEFAULT: Duration = Duration::from_secs(3);

pub(crate) fn run(directory: PathBuf) -> i32 {
    let directory = TaskDir::new(directory);
    let (_lock, report) = match take_descriptors() {
        Ok(taken) => taken,
        Err(error) => {
            eprintln!("monitor: {error}");
            return 1;
        }
    };
    let own = ProcessId::of(std::process::id() as i32);
    let ended = own.and_then(|own| Monitor { directory: directory.clone(), own }.work(report));
    match ended {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("monitor: {error}");
            1
        }
    }
}

/// Standard input is the task's lock, which lives as long as this descriptor; standard output is the agent's ear.
fn take_descriptors() -> io::Result<(OwnedFd, File)> {
    let lock = io::stdin().as_fd().try_clone_to_owned()?;
    let report = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
    // A signal for the agent's terminal is not meant for us. EPERM: we lead a group already.
    let _leader = setsid();
    Ok((lock, report))
}

struct Monitor {
    directory: TaskDir,
    own: ProcessId,
}

/// What was set up before the first thread of control splits.
struct Prepared {
    task: TaskFile,
    ports: Vec<forward::Bound>,
    init: Child,
    control: UnixStream,
    stdout: PipeReader,
    stderr: PipeReader,
}

/// What init said.
#[derive(Default)]
struct Heard {
    started_at_ms: i64,
    how: Option<How>,
    failure: Option<String>,
}

impl Monitor {
    fn work(&self, mut report: File) -> io::Result<()> {
        // Opened for both, so that opening does not wait for a reader; the agent sees its end when we die.
        let _alive = OpenOptions::new().read(true).write(true).open(self.directory.alive_fifo())?;
        self.write(Phase::Starting, None)?;
        let cgroups = Cgroups::detect(self.directory.tasks())?;
        match self.prepare(&cgroups) {
            Ok(prepared) => self.hold(prepared, report, &cgroups),
            Err(error) => {
                if let Some(task) = self.directory.read_spec()? {
                    cgroups.remove(&task.container.id)?;
                }
                let message = error.to_string();
                self.write(
                    Phase::Ended(Exit { how: How::NeverStarted, message: message.clone(), started_at_ms: 0 }),
                    None,
                )?;
                say(&mut report, &FromMonitor::Failed(message))
            }
        }
    }

    fn prepare(&self, cgroups: &Cgroups) -> io::Result<Prepared> {
        let task = self.directory.read_spec()?.ok_or_else(|| io::Error::other("no spec.json"))?;
        let container = &task.container;
        cgroups.create(container)?;
        let ports = if container.host_network { Vec::new() } else { forward::bind(task.listen, &container.ports)? };
        namespaces::enter(container.host_network)?;

        let (control, theirs) = UnixStream::pair()?;
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("roadstead-init").args([SHIM, Part::Init.name()]).arg(self.directory.path()).env_clear();
        command.stdin(OwnedFd::from(theirs)).stdout(their_stdout).stderr(their_stderr);
        let init = command.spawn()?;
        // Our copies of init's ends must go, or its end would not be seen.
        drop(command);
        let pid = init.id() as i32;
        self.write(Phase::Starting, Some(ProcessId::of(pid)?))?;
        cgroups.enter(&container.id, pid)?;
        say_byte(&control, GO)?;
        raise_file_limit();
        Ok(Prepared { task, ports, init, control, stdout, stderr })
    }

    /// Until the task has ended.
    fn hold(&self, prepared: Prepared, report: File, cgroups: &Cgroups) -> io::Result<()> {
        let Prepared { task, ports, mut init, control, stdout, stderr } = prepared;
        let init_id = ProcessId::of(init.id() as i32).ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let heard = runtime.block_on(local.run_until(async {
            let connections = forward::Connections::new();
            let forward = |port| tokio::task::spawn_local(forward::run(port, connections.clone()));
            let forwarders: Vec<_> = ports.into_iter().map(forward).collect();
            let logs = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].map(|(pipe, stream)| {
                let directory = self.directory.path().to_owned();
                tokio::task::spawn_local(async move {
                    if let Err(error) = keep_log(pipe, LogWriter::create(&directory, stream)?).await {
                        eprintln!("{}: {error}", stream.name());
                    }
                    io::Result::Ok(())
                })
            });
            let heard = self.attend(control, init.id() as i32, init_id.clone(), report).await;
            // The end of init is the end of its whole pid namespace, and so of every writer to its pipes.
            let status = init.wait()?;
            for forwarder in forwarders {
                forwarder.abort();
                // It ends by the abort, with its listener.
                let _aborted = forwarder.await;
            }
            // A client that does not take what is left for it is cut.
            let _cut = tokio::time::timeout(CONNECTIONS_DRAIN_MAX, connections.ended()).await;
            for log in logs {
                // A log that cannot be written has said so; the task's end is more important.
                let _late = tokio::time::timeout(LOG_DRAIN_MAX, log).await;
            }
            let mut heard = heard?;
            if heard.how.is_none() && heard.started_at_ms != 0 {
                heard.how = status.signal().map(How::Signal).or(Some(How::Lost));
            }
            io::Result::Ok(heard)
        }))?;
        // The ports are free before the end is told: whoever hears of it may use them.
        drop(local);
        drop(runtime);
        let kills = cgroups.out_of_memory_kills(&task.container.id);
        cgroups.remove(&task.container.id)?;
        let mut message = heard.failure.unwrap_or_default();
        if kills > 0 {
            message = format!("out of memory: the limit is {} bytes", task.container.memory_bytes);
        }
        let how = heard.how.unwrap_or(How::NeverStarted);
        self.write(Phase::Ended(Exit { how, message, started_at_ms: heard.started_at_ms }), init_id)
    }

    /// Listens to init and to the agent's signals until init closes its end.
    async fn attend(
        &self,
        control: UnixStream,
        init: i32,
        init_id: Option<ProcessId>,
        report: File,
    ) -> io::Result<Heard> {
        control.set_nonblocking(true)?;
        let (reader, mut writer) = tokio::net::UnixStream::from_std(control)?.into_split();
        let mut words = BufReader::new(reader).lines();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut report = Some(report);
        let mut heard = Heard::default();
        let mut kill_at: Option<Instant> = None;
        let mut look = tokio::time::interval(ORPHAN_LOOK);
        loop {
            tokio::select! {
                word = words.next_line() => {
                    // A reset is an end, too: init was killed with a word of ours unread.
                    let Ok(Some(line)) = word else { return Ok(heard) };
                    match serde_json::from_str(&line)? {
                        FromInit::Running => {
                            heard.started_at_ms = now_ms();
                            self.write(Phase::Running { started_at_ms: heard.started_at_ms }, init_id.clone())?;
                            tell(report.take(), &FromMonitor::Running);
                        }
                        FromInit::Failed(message) => {
                            heard.failure = Some(message.clone());
                            if heard.started_at_ms == 0 {
                                self.write(Phase::Ended(Exit { how: How::NeverStarted, message: message.clone(), started_at_ms: 0 }), init_id.clone())?;
                            }
                            tell(report.take(), &FromMonitor::Failed(message));
                        }
                        FromInit::Ended(how) => heard.how = Some(how),
                    }
                }
                _ = terminate.recv() => {
                    let grace = match self.directory.read_stop() {
                        Ok(Some(stop)) => Duration::from_millis(stop.grace_ms),
                        _ => GRACE_DEFAULT,
                    };
                    let at = Instant::now() + grace;
                    kill_at = Some(kill_at.map_or(at, |earlier| earlier.min(at)));
                    // Init that hears no more has ended; the other branch sees it.
                    let _ended = writer.write_all(&[TERMINATE]).await;
                }
                _ = look.tick() => {
                    // Without its directory no agent will ever find this task: it would run, and hold its ports, for good.
                    if !self.directory.join("lock").exists() {
                        eprintln!("monitor: {} was deleted", self.directory.path().display());
                        kill(Pid::from_raw(init), Signal::SIGKILL)?;
                    }
                }
                () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    kill(Pid::from_raw(init), Signal::SIGKILL)?;
                }
            }
        }
    }

    fn write(&self, phase: Phase, init: Option<ProcessId>) -> io::Result<()> {
        self.directory.write_status(&StatusFile { phase, shim: self.own.clone(), init })
    }
}

/// The agent may be gone: the status on disk tells the next one.
fn tell(report: Option<File>, word: &FromMonitor) {
    if let Some(mut report) = report {
        let _gone = say(&mut report, word);
    }
}

fn say_byte(mut to: &UnixStream, byte: u8) -> io::Result<()> {
    io::Write::write_all(&mut to, &[byte])
}

async fn keep_log(from: PipeReader, mut log: LogWriter) -> io::Result<()> {
    let mut from = pipe::Receiver::from_owned_fd(OwnedFd::from(from))?;
    let mut buffer = vec![0; LOG_READ_BYTES];
    let mut writable = true;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        // On a full disk the task goes on and its output is lost: it must not block on a pipe nobody reads.
        if let Err(error) = log.append(&buffer[..length])
            && writable
        {
            writable = false;
            eprintln!("log: {error}");
        }
    }
}

/// Two descriptors per forwarded connection: take all that are allowed. The task was started before and keeps the usual
/// limit.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _as_it_was = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
