//! `roadstead registry`.

use super::{REGISTRY_BUCKET, Services, credentials, etcd, only};
use lifecycle::Stop;
use std::net::SocketAddr;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the registry listens
    #[arg(long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    #[command(flatten)]
    etcd: etcd::EtcdFlags,
    /// The object storage: bytes are kept there
    #[arg(long)]
    s3: String,
    #[arg(long, default_value = REGISTRY_BUCKET)]
    bucket: String,
    #[arg(long, env = "ROADSTEAD_ACCESS_KEY", default_value = "")]
    access_key: String,
    #[arg(long, env = "ROADSTEAD_SECRET_KEY", hide_env_values = true, default_value = "")]
    secret_key: String,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    credentials: credentials::CredentialFlags,
    #[arg(long, hide = true)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let known = arguments.credentials.known("registry")?;
    known.refuse_open_beyond_loopback(arguments.listen)?;
    let store = arguments.etcd.connect(&known, arguments.credentials.others.as_deref())?;
    let config = ::registry::Config {
        listen: arguments.listen,
        store,
        s3: s3client::Config {
            endpoint: arguments.s3,
            access_key: arguments.access_key,
            secret_key: arguments.secret_key,
            region: arguments.region,
        },
        bucket: arguments.bucket,
        verifier: known.verifier,
        graces: ::registry::Graces::default(),
    };
    Ok(only("registry", ::registry::start(config, stop).await?))
}
