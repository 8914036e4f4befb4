//! `roadstead demo`: the article's story on one machine, on real input, observed through public interfaces.

mod kill;
mod load;
mod metrics;
mod narrator;
mod picture;
mod place;
mod ports;
mod report;
mod stage;
mod story;

use crate::config::{Config, ConfigError};
use anyhow::Context;
use identity::{Authority, Role};
use lifecycle::Stop;
use narrator::Narrator;
use place::Place;
use report::Report;
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;

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
        let report = tell(&arguments, place.path(), &stop).await?;
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        }
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The whole demo: set the stage, tell the story, stay if wanted, clear the stage.
async fn tell(arguments: &Arguments, data: PathBuf, stop: &Stop) -> anyhow::Result<Report> {
    if !["auto", "docker", "process"].contains(&arguments.runtime.as_str()) {
        let message = format!("--runtime {}: expected auto, docker or process", arguments.runtime);
        return Err(ConfigError::Usage(message).into());
    }
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
    let stage = narrator.step("start", "start the four processes", async |_| Stage::set(config, authority, stop).await);
    if let Ok(stage) = stage.await {
        let told = stop.or(story::tell(&stage, arguments.mutant, &mut narrator, &mut report)).await;
        report.ok = matches!(told, Some(Ok(())));
        if report.ok && !arguments.once {
            invite(&stage);
            stop.requested().await;
        }
        let cleared = narrator.step("clear", "end every task and process", async |_| stage.clear().await).await;
        report.ok &= cleared.is_ok();
    }
    report.steps = narrator.into_steps();
    report.ok &= report.steps.iter().all(|step| step.ok);
    Ok(report)
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
