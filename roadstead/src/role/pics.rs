//! `roadstead pics`, and the same program called as `s3pics` inside a container. Its flags are the article's, in Go's
//! style, which is why it parses them itself.

use super::{only, serve};
use crate::config::ConfigError;
use std::ffi::OsString;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The article's name of the program.
const CALLED_AS: &str = "s3pics";

/// What a shell shows of a program that SIGTERM ended: 128 + 15.
const SIGTERM_STATUS: i32 = 143;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// -AccessKey=… -SecretKey=… -EndPoint=… -Namespace=… (--help lists all)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let flags = match ::pics::Flags::parse(arguments.flags) {
        Ok(flags) => flags,
        Err(::pics::FlagError::Help) => {
            println!("{}", ::pics::USAGE);
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(ConfigError::Usage(lifecycle::ErrorChain(&error).to_string()).into()),
    };
    serve(false, async |stop| {
        die_at_once_on_signals()?;
        Ok(only("pics", ::pics::start(flags.into(), stop).await?))
    })
}

/// The article's program knew nothing of draining, and neither does this one: that no request is lost when a task is
/// stopped is the platform's part, and shows only with an application that drops what it has in hand. (A handler, since
/// process 1 of a container ignores a signal without one.)
fn die_at_once_on_signals() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        std::process::exit(SIGTERM_STATUS);
    });
    Ok(())
}

/// Whether this process was started under the article's name.
pub fn is_called_as_pics() -> bool {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    name.is_some_and(|name| name.file_name() == Some(&OsString::from(CALLED_AS)))
}

pub fn run_as_pics() -> anyhow::Result<ExitCode> {
    run(Arguments { flags: std::env::args().skip(1).collect() })
}
