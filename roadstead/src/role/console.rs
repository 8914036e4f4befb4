//! `roadstead console`.

use super::{Services, credentials, only};
use lifecycle::Stop;
use std::net::SocketAddr;

#[derive(clap::Args)]
pub struct Arguments {
    /// The controller's API
    #[arg(long)]
    controller: String,
    /// Where the pages are served
    #[arg(long, default_value = "127.0.0.1:8088")]
    listen: SocketAddr,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("console")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let config = ::console::Config {
        listen: arguments.listen,
        controller: arguments.controller,
        credentials: known.client(),
        verifier: known.verifier,
    };
    Ok(only("console", ::console::start(config, stop).await?))
}
