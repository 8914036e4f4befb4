//! The commands of a person at a terminal: each asks the platform's public interfaces and prints a table or JSON.

mod app;
mod bucket;
mod cert;
mod connection;
mod events;
mod export;
mod image;
mod node;
mod output;
mod route;
mod state;
mod token;
mod top;
mod upgrade;
mod vip;

pub use bucket::{make_pictures_bucket, s3};
pub use connection::socket_path;
pub use export::Command as StoreCommand;
pub use image::pack_pics;
pub use state::refuse_half_restored;
pub use vip::Command as VipCommand;

use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Command {
    /// Apps: run, list, show, scale, restart, remove, logs, versions
    #[command(subcommand)]
    App(app::Command),
    /// Machines: list, let join, drain, restore, remove
    #[command(subcommand)]
    Node(node::Command),
    /// Write the state and the authority of this platform into a file
    #[command(after_help = state::BACKUP_EXAMPLES)]
    Backup(state::Backup),
    /// Make a data directory from such a file, for `roadstead up` to go on from
    #[command(after_help = state::RESTORE_EXAMPLES)]
    Restore(state::Restore),
    /// Routes of the edge: which there are, which one a request takes and why
    #[command(subcommand)]
    Route(route::Command),
    /// Watch what the edge does now: requests per second, times, errors, by route and by server
    #[command(after_help = top::EXAMPLES)]
    Top(top::Arguments),
    /// Have `roadstead up` become the binary that is now in its place, without losing a request
    #[command(after_help = upgrade::EXAMPLES)]
    Upgrade(upgrade::Arguments),
    /// Certificates for apps' own names: asked for, given, renewed
    #[command(subcommand, after_help = cert::EXAMPLES)]
    Cert(cert::Command),
    /// Buckets of object storage
    #[command(subcommand)]
    Bucket(bucket::Command),
    /// Images: make one without Docker, push it, list what the registry has
    #[command(subcommand)]
    Image(image::Command),
    /// Follow what happens, as Marathon's event stream tells it
    #[command(after_help = "Example: roadstead events --type status_update_event --output json | jq .taskStatus")]
    Events(events::Arguments),
    /// Show the tokens and S3 keys of a data directory
    #[command(subcommand)]
    Token(token::Command),
}

/// `roadstead store …`, beside the role of the same name.
pub fn store(command: StoreCommand) -> anyhow::Result<ExitCode> {
    ask(async { export::run(command).await.map(|()| ExitCode::SUCCESS) })
}

/// `roadstead vip …`, beside the role of the same name.
pub fn vip(command: VipCommand) -> anyhow::Result<ExitCode> {
    ask(async { vip::run(command).await.map(|()| ExitCode::SUCCESS) })
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    ask(async {
        match command {
            Command::App(command) => return app::run(command).await,
            Command::Node(command) => return node::run(command).await,
            Command::Backup(backup) => state::backup(backup).await,
            Command::Restore(restore) => state::restore(restore).await,
            Command::Route(command) => route::run(command).await,
            Command::Top(arguments) => top::run(arguments).await,
            Command::Upgrade(arguments) => upgrade::run(arguments).await,
            Command::Cert(command) => cert::run(command).await,
            Command::Bucket(command) => bucket::run(command).await,
            Command::Image(command) => image::run(command).await,
            Command::Events(arguments) => events::run(arguments).await,
            Command::Token(command) => token::run(command),
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

fn ask(question: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "warn");
    unless_reader_gone(tokio::runtime::Runtime::new()?.block_on(question))
}

/// Prints what a shell needs to complete our command line.
pub fn completions(shell: clap_complete::Shell, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "roadstead", &mut script);
    unless_reader_gone(output::write(&script).map(|()| ExitCode::SUCCESS))
}

fn unless_reader_gone(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if error.is::<output::ReaderGone>() => Ok(ExitCode::SUCCESS),
        result => result,
    }
}
