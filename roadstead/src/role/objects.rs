//! `roadstead objects`.

use super::{Services, only};
use crate::config::ConfigError;
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where S3 listens
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where objects are kept
    #[arg(long)]
    data: PathBuf,
    #[arg(long, env = "ROADSTEAD_ACCESS_KEY", requires = "secret_key")]
    access_key: Option<String>,
    #[arg(long, env = "ROADSTEAD_SECRET_KEY", hide_env_values = true, requires = "access_key")]
    secret_key: Option<String>,
    /// Base host of virtual-hosted buckets (repeatable); any other host means path style
    #[arg(long = "domain", default_value = "s3.localhost")]
    domains: Vec<String>,
    /// Answer requests without credentials, too; on loopback only
    #[arg(long)]
    open: bool,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let credentials = match (arguments.access_key, arguments.secret_key) {
        (Some(access_key), Some(secret_key)) => {
            vec![::objects::Credential { access_key, secret_key, buckets: None }]
        }
        _ if arguments.open => Vec::new(),
        _ => return Err(ConfigError::Usage("--access-key and --secret-key are needed, or --open".into()).into()),
    };
    let config = ::objects::Config {
        listen: arguments.listen,
        data: arguments.data,
        domains: arguments.domains,
        credentials,
        open: arguments.open,
        metrics: None,
    };
    Ok(only("objects", ::objects::start(config, stop).await?))
}
