//! One child process: started, read until it is ready, restarted when it ends (unless it says that it is over), ended with
//! the supervisor.

use super::programs::{ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE};
use super::replace::{Leaving, binary};
use crate::acme::HMAC_VARIABLE;
use crate::role::{EXIT_OVER, STAY};
use anyhow::{Context, bail};
use lifecycle::Stop;
use lifecycle::logs::FILTER_VARIABLE;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// A role must print its `ready` lines within this time.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// After a stop is requested a child may drain this long before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// The pause before a restart grows from the first to the second while restarts fail soon.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(50);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A child that lived this long is well again: the next pause is the shortest.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// Secrets that the supervisor may have been given by its environment. A child is given its own, and so is whatever it starts
/// in turn: tasks, container programs, etcd.
const SECRET_VARIABLES: [&str; 5] =
    [HMAC_VARIABLE, ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, "ROADSTEAD_JOIN_TOKEN", "ROADSTEAD_TOKEN"];

/// The program and arguments of a child; the listeners' addresses are filled in once the kernel has chosen them.
pub struct Program {
    pub name: &'static str,
    pub arguments: Vec<String>,
    /// What other users of the machine must not see among the arguments.
    pub secrets: Vec<(&'static str, String)>,
    /// What it logs, unless the environment says.
    pub log: String,
    /// Lines of `ready` that must be seen.
    pub listeners: Vec<Listener>,
    /// It goes on when the supervisor is replaced, and is taken over.
    pub stays: bool,
    /// Whether anything waits for them. A member of the state is ready when most of the others are, which may be never.
    pub is_awaited: bool,
}

/// A flag that takes an address, and the name under which the child says where it listens (`edge.api`).
pub struct Listener {
    pub flag: &'static str,
    pub ready: &'static str,
    pub address: String,
}

/// Ready name to address, as printed.
pub type ReadyAddresses = BTreeMap<String, String>;

/// Starts a child, waits until it is ready, and keeps it running until `stop`.
pub async fn supervise(
    mut program: Program,
    stop: Stop,
    leaving: Leaving,
) -> anyhow::Result<(ReadyAddresses, JoinHandle<()>)> {
    let mut running = Running::start(&program).await?;
    let ready = match running.ready(&program).await {
        Ok(ready) => ready,
        Err(error) => {
            running.end().await;
            return Err(error);
        }
    };
    // From now on the same addresses: a restarted role is found where it was.
    for listener in &mut program.listeners {
        listener.address.clone_from(&ready[listener.ready]);
    }
    let keeper = tokio::spawn(keep(program, running, stop, leaving));
    Ok((ready, keeper))
}

async fn keep(program: Program, first: Running, stop: Stop, leaving: Leaving) {
    let mut running = Some(first);
    let mut pause = RESTART_PAUSE_MIN;
    while !stop.is_requested() {
        if let Some(mut current) = running.take() {
            let started = tokio::time::Instant::now();
            match stop.or(current.child.wait()).await {
                None => {
                    match program.stays && leaving.is_so() {
                        true => current.leave(&leaving).await,
                        false => current.end().await,
                    }
                    return;
                }
                Some(Ok(status)) if status.code() == Some(EXIT_OVER.into()) => {
                    // It has said why.
                    tracing::info!(role = program.name, "is over; it is not started again");
                    return;
                }
                Some(status) => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!(role = program.name, status, "ended by itself; it is started again");
                }
            }
            pause = if started.elapsed() > WELL_AFTER { RESTART_PAUSE_MIN } else { (pause * 2).min(RESTART_PAUSE_MAX) };
        }
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        // One that is still starting is killed: it has nothing to drain, and may wait for long.
        let Some(restarted) = stop.or(restart(&program)).await else { return };
        running = restarted;
    }
    if let Some(running) = running {
        running.end().await;
    }
}

async fn restart(program: &Program) -> Option<Running> {
    let result = async {
        let mut running = Running::start(program).await?;
        match running.ready(program).await {
            Ok(_) => Ok(running),
            Err(error) => {
                running.end().await;
                Err(error)
            }
        }
    };
    match result.await {
        Ok(running) => Some(running),
        Err(error) => {
            tracing::error!(role = program.name, error = %lifecycle::ErrorChain(error.as_ref()), "start again");
            None
        }
    }
}

pub struct Running {
    child: Child,
    /// Held: it closes when the supervisor ends (and `Child::wait` would close it at once).
    input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
}

fn command(binary: &Path, program: &Program) -> Command {
    let mut command = Command::new(binary);
    command.arg(program.name).args(&program.arguments);
    for listener in &program.listeners {
        command.args([listener.flag, &listener.address]);
    }
    for variable in SECRET_VARIABLES {
        command.env_remove(variable);
    }
    command.envs(program.secrets.iter().map(|(name, value)| (name, value)));
    command
}

impl Running {
    #[cfg(test)]
    pub fn of(child: Child) -> Self {
        Self { child, input: None, output: None }
    }

    async fn start(program: &Program) -> anyhow::Result<Self> {
        let mut command = command(binary()?, program);
        if std::env::var_os(FILTER_VARIABLE).is_none() {
            command.env(FILTER_VARIABLE, &program.log);
        }
        // The child ends when its standard input does: so none outlives a supervisor that was killed.
        command.arg("--supervised").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // A signal from the terminal is for the supervisor, which stops its children in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("start {}", program.name))?;
        let output = child.stdout.take().map(|output| BufReader::new(output).lines());
        let input = child.stdin.take();
        Ok(Self { child, input, output })
    }

    async fn ready(&mut self, program: &Program) -> anyhow::Result<ReadyAddresses> {
        let mut lines = self.output.take().context("standard output is read once")?;
        if !program.is_awaited {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            let given = |listener: &Listener| (listener.ready.to_owned(), listener.address.clone());
            return Ok(program.listeners.iter().map(given).collect());
        }
        let mut seen = ReadyAddresses::new();
        let complete =
            |seen: &ReadyAddresses| program.listeners.iter().all(|listener| seen.contains_key(listener.ready));
        let reading = async {
            while !complete(&seen) {
                let line = lines.next_line().await.with_context(|| format!("read what {} says", program.name))?;
                let Some(line) = line else { bail!("{} ended before it was ready", program.name) };
                if let Some((name, address)) = line.strip_prefix("ready ").and_then(|ready| ready.split_once(' ')) {
                    seen.insert(name.to_owned(), address.to_owned());
                }
            }
            Ok(())
        };
        match tokio::time::timeout(READY_TIMEOUT, reading).await {
            Ok(result) => result?,
            Err(_) => bail!("{} was not ready within {READY_TIMEOUT:?}", program.name),
        }
        // Whatever else it prints must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(seen)
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Goes on without this supervisor.
    async fn leave(mut self, leaving: &Leaving) {
        let Some(input) = &mut self.input else { return self.end().await };
        if let Err(error) = input.write_all(STAY).await {
            tracing::warn!(%error, "tell a process that it stays");
            return self.end().await;
        }
        leaving.leave(self);
    }

    /// SIGTERM, grace, SIGKILL.
    pub async fn end(mut self) {
        if let Some(id) = self.child.id() {
            let pid = nix::unistd::Pid::from_raw(id as i32);
            if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok()
                && tokio::time::timeout(STOP_GRACE, self.child.wait()).await.is_ok()
            {
                return;
            }
        }
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "kill");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ffi::OsStr;

    #[test]
    fn a_child_has_the_secrets_that_it_is_given_and_no_others() {
        let program = |secrets| Program {
            name: "state",
            arguments: Vec::new(),
            secrets,
            log: String::new(),
            listeners: Vec::new(),
            is_awaited: true,
            stays: false,
        };
        let environment = |program: &Program| {
            let command = command(Path::new("roadstead"), program);
            let own = |text: &OsStr| text.to_str().unwrap().to_owned();
            let changed = command.as_std().get_envs();
            changed.map(|(name, value)| (own(name), value.map(own))).collect::<HashMap<_, _>>()
        };
        let changed = environment(&program(vec![(HMAC_VARIABLE, "h".to_owned())]));
        assert_eq!(changed[HMAC_VARIABLE].as_deref(), Some("h"));
        let changed = environment(&program(Vec::new()));
        for name in SECRET_VARIABLES {
            assert_eq!(changed.get(name), Some(&None), "{name} is taken out of what is inherited");
        }
    }
}
