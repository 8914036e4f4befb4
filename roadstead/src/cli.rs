//! The commands of a person at a terminal: each asks the platform's public interfaces and prints a table or JSON.

mod app;
mod bucket;
mod connection;
mod events;
mod image;
mod node;
mod output;
mod route;
mod token;

pub use bucket::{make_pictures_bucket, s3};
pub use connection::socket_path;
pub use image::pack_pics;

use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Command {
    /// Apps: run, list, show, scale, restart, remove, logs, versions
    #[command(subcommand)]
    App(app::Command),
    /// Nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Routes of the edge: which there are, which one a request takes and why
    #[command(subcommand)]
    Route(route::Command),
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

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "warn");
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        match command {
            Command::App(command) => return app::run(command).await,
            Command::Node(command) => node::run(command).await,
            Command::Route(command) => route::run(command).await,
            Command::Bucket(command) => bucket::run(command).await,
            Command::Image(command) => image::run(command).await,
            Command::Events(arguments) => events::run(arguments).await,
            Command::Token(command) => token::run(command),
        }?;
        Ok(ExitCode::SUCCESS)
    });
    unless_reader_gone(result)
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
