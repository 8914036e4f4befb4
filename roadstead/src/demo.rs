//! `roadstead demo`: the article's story on real input, observed through public interfaces: on this machine, or with
//! `--nodes 3` on three nodes made of network namespaces, any of which is then lost under load ([`nodes`]).

mod kill;
mod load;
mod metrics;
mod narrator;
mod nodes;
mod picture;
mod place;
mod ports;
mod report;
mod stage;
mod story;

use crate::config::{Config, ConfigError};
use crate::up::Platform;
use anyhow::Context;
use identity::{Authority, Role};
use lifecycle::Stop;
use narrator::Narrator;
use place::Place;
use report::Report;
use stage::{Public, Stage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Arguments {
    /// End after the story instead of staying until Ctrl-C; the exit status tells whether every step was observed
    #[arg(long)]
    once: bool,
    /// Print one JSON report on standard output when the story has ended
    #[arg(long)]
    json: bool,
    /// Keep everything in this directory instead of a temporary one
    #[arg(long)]
    data: Option<PathBuf>,
    /// How tasks run: auto, docker or process
    #[arg(long, default_value = "auto", env = "ROADSTEAD_RUNTIME")]
    runtime: String,
    /// On how many nodes: 1 is this machine; 3 are network namespaces (needs root, iproute2 and etcd)
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    nodes: String,
    /// Which faults follow the story on three nodes
    #[arg(long, value_enum, default_value_t)]
    matrix: nodes::Matrix,
    /// Exactly these faults, in this order; all of them: --help of a wrong name tells
    #[arg(long, value_name = "FAULT,…", value_delimiter = ',', conflicts_with = "matrix")]
    faults: Vec<nodes::Fault>,
    /// How long an answer may take before it counts as failed: longer on a machine that is busy with other things
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    answer_within: u64,
    /// The etcd program that keeps the state of three nodes
    #[arg(long, env = "ROADSTEAD_ETCD_BINARY", default_value = "etcd", value_name = "PROGRAM")]
    etcd_binary: PathBuf,
    /// What one is broken on purpose, for the tests that must then fail
    #[arg(long, hide = true, value_enum)]
    mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// Tasks are stopped without waiting for the edges to let go of them.
    NoDrain,
    /// The picture goes to the app instead of straight to object storage.
    UploadThroughApp,
}

/// What the demo's node offers beside ports: a roll of 20 instances of 0.1 cpu at the default upgradeStrategy needs 40 at
/// once. It may exceed the hardware: cpus are shares.
const RESOURCES: &str = "cpus:8;mem:8192";

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "warn");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let stop = Stop::new();
        stop.on_signals().context("watch for signals")?;
        let place = Place::of(arguments.data.clone())?;
        let report = match arguments.nodes.as_str() {
            "1" => tell(&arguments, place.path(), &stop).await?,
            _ => nodes::tell(&arguments, place.path(), &stop).await?,
        };
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        }
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The whole demo on one machine: set the stage, tell the story, stay if wanted, clear the stage.
async fn tell(arguments: &Arguments, data: PathBuf, stop: &Stop) -> anyhow::Result<Report> {
    check_runtime(&arguments.runtime, &["auto", "docker", "process"])?;
    let mut config = Config::on_free_ports(data.clone());
    config.agent.runtime.clone_from(&arguments.runtime);
    let slice = ports::PortSlice::take()?;
    config.agent.resources = format!("{RESOURCES};ports:[{}-{}]", slice.ports.start(), slice.ports.end());
    config.agent.tasks_outlive = false;
    config.log = "error".into();
    config.controller.drain = arguments.mutant != Some(Mutant::NoDrain);

    let authority = Authority::load_or_create(&data)?;
    let mut narrator = Narrator::new();
    let mut report = Report::default();
    eprintln!("Roadstead tells the article on this machine.");
    let start = narrator.step("start", "start the four processes", async |_| {
        Platform::start(config, Some(&authority), None, &stop.child()).await?.context("stopped while it started")
    });
    if let Ok(platform) = start.await {
        let here = tokio::runtime::Handle::current();
        let addresses = platform.addresses().clone();
        let answer_within = Duration::from_secs(arguments.answer_within);
        let public = Public { runtime: here.clone(), edge: addresses.edge, answer_within };
        let stage = Stage::new(addresses, authority, here, public);
        let told = stop.or(story::tell(&stage, arguments.mutant, &mut narrator, &mut report)).await;
        report.ok = matches!(told, Some(Ok(())));
        if report.ok && !arguments.once {
            invite(&stage);
            stop.requested().await;
        }
        let clear = async |_: &narrator::Telling| {
            let removed = stage.remove_apps().await;
            platform.finished().await;
            removed
        };
        report.ok &= narrator.step("clear", "end every task and process", clear).await.is_ok();
    }
    report.steps = narrator.into_steps();
    report.ok &= report.steps.iter().all(|step| step.ok);
    Ok(report)
}

fn check_runtime(runtime: &str, known: &[&str]) -> Result<(), ConfigError> {
    if known.contains(&runtime) {
        return Ok(());
    }
    Err(ConfigError::Usage(format!("--runtime {runtime}: expected one of {}", known.join(", "))))
}

fn invite(stage: &Stage) {
    let addresses = stage.addresses();
    let port = addresses.edge.port();
    eprintln!();
    eprintln!("  The story is told; everything stays until Ctrl-C.");
    eprintln!("  the app    http://s3pics.localhost:{port}/");
    eprintln!("  console    http://{}/   any user, the token as password", addresses.console);
    eprintln!("  Marathon   curl -H 'Authorization: Bearer TOKEN' http://{}/v2/apps", addresses.controller);
    eprintln!("  token      {}", stage.authority().token(Role::Admin).reveal());
}
