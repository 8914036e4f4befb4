//! `roadstead store`.

use super::{Services, credentials, only};
use anyhow::Context;
use identity::{Authority, Role, Verifier};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub action: Option<crate::cli::StoreCommand>,
    /// Where etcd's v3 API listens (gRPC, and JSON under /v3)
    #[arg(long, default_value = "127.0.0.1:2379")]
    listen: SocketAddr,
    /// Where the state is kept
    #[arg(long, required = true)]
    data: Option<PathBuf>,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("store")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let data = arguments.data.context("--data is needed")?;
    let config = ::store::Config { listen: arguments.listen, data, verifier: known.verifier };
    Ok(only("store", ::store::start(config, stop).await?))
}

/// The store of `up`: it accepts every role of the authority.
pub fn config(listen: SocketAddr, data: PathBuf, authority: &Authority, open: bool) -> ::store::Config {
    let verifier = if open { Verifier::Open } else { authority.identity(Role::Controller).verifier() };
    ::store::Config { listen, data, verifier }
}
