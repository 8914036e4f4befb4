//! `roadstead up`: the supervisor. The roles run as four children of the same binary, each restarted when it ends; every
//! seam between them is the real protocol.

mod child;
mod platform;
mod routes;

pub use platform::{Addresses, Platform};

use crate::config::{Config, ConfigError, DATA_DEFAULT};
use anyhow::Context;
use identity::Authority;
use lifecycle::Stop;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    /// Configuration file (TOML); flags and environment go over it
    #[arg(long, env = "ROADSTEAD_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, env = "ROADSTEAD_DATA")]
    data: Option<PathBuf>,
    /// Apps are served as <app>.<domain>, S3 as s3.<domain>
    #[arg(long, env = "ROADSTEAD_DOMAIN")]
    domain: Option<String>,
    /// The edge's listener
    #[arg(long, env = "ROADSTEAD_LISTEN")]
    listen: Option<std::net::SocketAddr>,
    /// How tasks run: auto, docker or process
    #[arg(long, env = "ROADSTEAD_RUNTIME")]
    runtime: Option<String>,
    /// What this node offers: "cpus:N;mem:N;ports:[31000-32000]" (mem in MiB); default: what the machine has
    #[arg(long, env = "ROADSTEAD_RESOURCES")]
    resources: Option<String>,
    /// Choose every port freely instead of the field's usual ones
    #[arg(long)]
    free_ports: bool,
    /// Use without credentials, on loopback only
    #[arg(long)]
    open: bool,
}

impl Arguments {
    fn config(self) -> Result<Config, ConfigError> {
        let mut config = match (&self.config, self.free_ports) {
            (Some(_), true) => return Err(ConfigError::Usage("--free-ports does not go with --config".into())),
            (Some(path), false) => Config::read(path)?,
            (None, true) => Config::on_free_ports(DATA_DEFAULT.into()),
            (None, false) => Config::default(),
        };
        fn over<T>(value: &mut T, flag: Option<T>) {
            if let Some(flag) = flag {
                *value = flag;
            }
        }
        over(&mut config.data, self.data);
        over(&mut config.domain, self.domain);
        over(&mut config.edge.listen, self.listen);
        over(&mut config.agent.runtime, self.runtime);
        over(&mut config.agent.resources, self.resources);
        config.open |= self.open;
        Ok(config)
    }
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config()?;
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    tokio::runtime::Runtime::new()?.block_on(async {
        let stop = Stop::new();
        stop.on_signals().context("watch for signals")?;
        let authority = Authority::load_or_create(&config.data)?;
        let platform = Platform::start(config, &authority, &stop).await?;
        greet(&platform);
        stop.requested().await;
        eprintln!("stopping; running tasks stay and are taken back by the next `roadstead up`");
        platform.finished().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn greet(platform: &Platform) {
    let addresses = platform.addresses();
    let domain = &platform.config().domain;
    let port = addresses.edge.port();
    for line in addresses.ready_lines() {
        println!("{line}");
    }
    eprintln!("console   http://{}/   (any user, the token as password)", addresses.console);
    eprintln!("apps      http://<app>.{domain}:{port}/");
    eprintln!(
        "S3        http://s3.{domain}:{port}/   (keys: `roadstead token s3 --data {}`)",
        platform.config().data.display()
    );
    eprintln!("Marathon  http://{}/v2/apps", addresses.controller);
    eprintln!("registry  {}   (docker login, any user, the token as password)", addresses.registry);
    if !platform.config().open {
        // Not the token itself: this is what a service's log keeps.
        eprintln!("token     `roadstead token show --data {}`", platform.config().data.display());
    }
}
