//! The roles: each starts one service (or the services of one process) and prints `ready ROLE[.part] ADDR` per listener.

mod agent;
mod console;
mod controller;
mod credentials;
mod data;
mod edge;
mod etcd;
mod etcd_member;
mod objects;
pub mod pics;
mod registry;
mod state;
mod store;
mod sync;
mod vip;
mod vulcand;

pub use vip::vrrp;

use crate::cli;
use clap::Subcommand;
use lifecycle::{Started, Stop};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// A role that ends with this code would end again, however often it were started (`EX_UNAVAILABLE` of sysexits.h).
pub const EXIT_OVER: u8 = 69;

/// What a supervisor that will be replaced says to a role that goes on.
pub const STAY: &[u8] = b"stay\n";

/// The bucket that holds the registry's bytes.
pub const REGISTRY_BUCKET: &str = "registry";

#[derive(Subcommand)]
pub enum Command {
    /// The state: etcd's v3 API over an fsynced log
    #[command(display_order = 100)]
    Store(store::Arguments),
    /// The leader: Marathon's API, agent and edge sessions
    #[command(display_order = 101)]
    Controller(controller::Arguments),
    /// A node: runs tasks, checks them, keeps their logs
    #[command(display_order = 102)]
    Agent(agent::Arguments),
    /// The reverse proxy, re-routed from the store without a reload
    #[command(display_order = 103)]
    Edge(edge::Arguments),
    /// S3 object storage
    #[command(display_order = 104)]
    Objects(objects::Arguments),
    /// The image registry over object storage
    #[command(display_order = 105)]
    Registry(registry::Arguments),
    /// The web pages
    #[command(display_order = 106)]
    Console(console::Arguments),
    /// Floating addresses (VRRP), interoperable with keepalived; `vip status` says who holds them and why
    #[command(display_order = 107)]
    Vip(vip::Arguments),
    /// The article's web application; takes its flags: -AccessKey -SecretKey -EndPoint -Namespace
    #[command(display_order = 108)]
    Pics(pics::Arguments),
    /// Marathon apps into vulcand's keys, as the article's author did; takes his flags
    #[command(display_order = 109)]
    Sync(sync::Arguments),
    /// Store, controller and console in one process, as `up` runs them
    #[command(hide = true)]
    State(state::Arguments),
    /// Objects and registry in one process, as `up` runs them
    #[command(hide = true)]
    Data(data::Arguments),
    /// Guards this machine's member of the state's etcd, as `up` runs it in a cluster
    #[command(hide = true)]
    EtcdMember(etcd_member::Arguments),
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Store(store::Arguments { action: Some(action), .. }) => cli::store(action),
        Command::Store(arguments) => serve(arguments.supervised, async |stop| store::start(arguments, stop).await),
        Command::Controller(arguments) => {
            serve(arguments.supervised, async |stop| controller::start(arguments, stop).await)
        }
        Command::Agent(arguments) => serve(arguments.supervised, async |stop| agent::start(arguments, stop).await),
        Command::Edge(arguments) => {
            let stays = arguments.stays();
            serve_left(arguments.supervised, stays, async |stop| edge::start(arguments, stop).await)
        }
        Command::Objects(arguments) => serve(arguments.supervised, async |stop| objects::start(arguments, stop).await),
        Command::Registry(arguments) => {
            serve(arguments.supervised, async |stop| registry::start(arguments, stop).await)
        }
        Command::Console(arguments) => serve(arguments.supervised, async |stop| console::start(arguments, stop).await),
        Command::Pics(arguments) => pics::run(arguments),
        Command::Sync(arguments) => sync::run(arguments),
        Command::State(arguments) => serve(arguments.supervised, async |stop| state::start(arguments, stop).await),
        Command::Data(arguments) => serve(arguments.supervised, async |stop| data::start(arguments, stop).await),
        Command::EtcdMember(arguments) => etcd_member::run(arguments),
        Command::Vip(vip::Arguments { question: Some(question), .. }) => cli::vip(question),
        Command::Vip(arguments) => serve(arguments.supervised, async |stop| vip::start(arguments, stop).await),
    }
}

/// Services started together: each with the name its `ready` lines carry.
type Services = Vec<(&'static str, Started)>;

#[derive(Debug, thiserror::Error)]
#[error("{role} failed")]
struct Failed {
    role: &'static str,
    source: lifecycle::BoxError,
}

/// One service under its role's name.
fn only(role: &'static str, started: Started) -> Services {
    vec![(role, started)]
}

/// The name of this machine.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "localhost".into())
}

/// A proxy and its servers need a descriptor per connection; the soft limit is usually 1024, for the sake of `select(2)`.
fn raise_descriptor_limit() {
    let raise = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    };
    if let Err(error) = raise() {
        tracing::warn!(%error, "raise the limit of open files");
    }
}

/// Starts services, says where they listen, and works until a signal (or, when supervised, the end of standard input).
fn serve(supervised: bool, start: impl AsyncFnOnce(Stop) -> anyhow::Result<Services>) -> anyhow::Result<ExitCode> {
    serve_left(supervised, Duration::ZERO, start)
}

/// The same; `stays` is for how long after its supervisor, when that has said [`STAY`].
fn serve_left(
    supervised: bool,
    stays: Duration,
    start: impl AsyncFnOnce(Stop) -> anyhow::Result<Services>,
) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    raise_descriptor_limit();
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let stop = Stop::new();
        stop.on_signals()?;
        if supervised {
            stop_with_standard_input(stop.clone(), stays);
        }
        let services = start(stop.clone()).await?;
        let mut output = std::io::stdout().lock();
        for (role, started) in &services {
            for line in started.ready_lines(role) {
                writeln!(output, "{line}")?;
            }
        }
        output.flush()?;
        drop(output);
        let ends = services.into_iter().map(|(role, started)| {
            let stop = stop.clone();
            async move {
                let result = started.finished().await;
                // One that fails takes the process with it: the supervisor starts it whole.
                stop.request();
                result.map_err(|source| Failed { role, source })
            }
        });
        for end in futures::future::join_all(ends).await {
            end?;
        }
        Ok(ExitCode::SUCCESS)
    });
    // A blocking read of standard input must not hold the process.
    runtime.shutdown_background();
    result
}

/// A supervised role ends with its supervisor, however that ends: its standard input closes. One that was told to stay is
/// taken over by what the next supervisor starts, or ends in time.
fn stop_with_standard_input(stop: Stop, stays: Duration) {
    tokio::spawn(async move {
        let mut said = Vec::new();
        let read = tokio::io::stdin().take(STAY.len() as u64).read_to_end(&mut said).await;
        tracing::debug!(?read, "standard input: the supervisor has said its last");
        if said == STAY {
            tracing::info!(?stays, "the supervisor leaves; another one is to come");
            stop.or(tokio::time::sleep(stays)).await;
        }
        stop.request();
    });
}
