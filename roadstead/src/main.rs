//! Roadstead: one binary, one platform. This file is the table of contents.

mod acme;
mod cli;
mod cluster;
mod config;
mod demo;
mod role;
mod up;

use clap::{CommandFactory, Parser, Subcommand};
use lifecycle::ErrorChain;
use std::process::ExitCode;

/// Wrong usage or configuration (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

#[derive(Parser)]
#[command(name = "roadstead", version, about = "One binary that turns a Linux machine, or a few, into a platform")]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the article's story on this machine: build, push, deploy, upload, scale, roll, kill, all under load
    Demo(demo::Arguments),
    /// Run the platform on this machine, lasting; with --address as the first machine of a cluster
    Up(up::Arguments),
    /// Join a cluster with this machine, and run its part of the platform
    Join(up::JoinArguments),
    #[command(flatten)]
    Client(cli::Command),
    #[command(flatten)]
    Role(role::Command),
    /// Print shell completions
    Completions { shell: clap_complete::Shell },
}

fn main() -> ExitCode {
    // A task's shim and the program inside its container are this binary, too: both before any thread exists.
    runtime::shim::run_if_shim();
    if role::pics::is_called_as_pics() {
        return finish(role::pics::run_as_pics());
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell(&told),
    };
    finish(match arguments.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Up(arguments) => up::run(arguments),
        Command::Join(arguments) => up::join(arguments),
        Command::Client(command) => cli::run(command),
        Command::Role(command) => role::run(command),
        Command::Completions { shell } => cli::completions(shell, &mut Arguments::command()),
    })
}

/// Prints help, the version, or what is wrong with the command line.
fn tell(told: &clap::Error) -> ExitCode {
    // Nobody may read it: nothing is lost.
    let _reader_gone = told.print();
    if told.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("roadstead: {}", ErrorChain(error.as_ref()));
            match error.downcast_ref::<config::ConfigError>() {
                Some(_) => ExitCode::from(EXIT_USAGE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
