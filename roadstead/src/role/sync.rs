//! `roadstead sync`: takes the author's flags, in Go's style, which is why it parses them itself.

use crate::config::ConfigError;
use anyhow::Context;
use lifecycle::Stop;
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// -MarathonEndPoint=… -EtcdEndPoint=… -EtcdRootKey=… (--help lists all)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    let flags = match ::sync::Flags::parse(arguments.flags) {
        Ok(flags) => flags,
        Err(::sync::FlagError::Help) => {
            println!("{}", ::sync::USAGE);
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(ConfigError::Usage(lifecycle::ErrorChain(&error).to_string()).into()),
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let stop = Stop::new();
        stop.on_signals().context("watch for signals")?;
        ::sync::run(flags, &mut std::io::stdout(), stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
