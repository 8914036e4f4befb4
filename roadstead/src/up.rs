//! `roadstead up`: the supervisor. The roles run as children of the same binary, each restarted when it ends; every seam
//! between them is the real protocol. With `--address` (or after `roadstead join`) this machine is one of a cluster.

mod child;
mod flags;
mod platform;
mod programs;
mod replace;
mod routes;

pub use flags::{Arguments, JoinArguments, parse_time};
pub use platform::{Addresses, Platform};
pub use routes::operations as platform_routes;

use crate::cli::refuse_half_restored;
use crate::cluster::{self, Membership};
use crate::config::Config;
use anyhow::Context;
use identity::Authority;
use lifecycle::Stop;
use std::process::ExitCode;

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config()?;
    work(async |stop| {
        let membership = match Membership::read(&config.data)? {
            Some(membership) => {
                cluster::renew::before_start(&config.data, &membership)?;
                Some(membership)
            }
            None => {
                cluster::join::refuse_half_joined(&config.data)?;
                refuse_half_restored(&config.data)?;
                let is_first = config.cluster.address.is_some();
                is_first.then(|| cluster::found::found(&config)).transpose()?
            }
        };
        run_platform(config, membership, stop).await
    })
}

pub fn join(arguments: JoinArguments) -> anyhow::Result<ExitCode> {
    let (token, config) = arguments.token_and_config()?;
    work(async |stop| {
        let Some(membership) = stop.or(cluster::join::join(&config, &token)).await else {
            return Ok(ExitCode::FAILURE);
        };
        run_platform(config, Some(membership?), stop).await
    })
}

fn work(run: impl AsyncFnOnce(Stop) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    replace::binary()?;
    replace::await_what_was_left();
    tokio::runtime::Runtime::new()?.block_on(async {
        let stop = Stop::new();
        stop.on_signals().context("watch for signals")?;
        run(stop).await
    })
}

async fn run_platform(config: Config, membership: Option<Membership>, stop: Stop) -> anyhow::Result<ExitCode> {
    // A machine that keeps no state of a cluster knows no authority: it was handed what its roles show.
    let authority = match &membership {
        Some(membership) if !membership.keeps_state => None,
        _ => Some(Authority::load_or_create(&config.data)?),
    };
    let data = config.data.clone();
    let Some(platform) = Platform::start(config, authority.as_ref(), membership, &stop).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let upkeep = platform.membership().cloned().map(|membership| {
        let stop = stop.clone();
        tokio::spawn(async move { cluster::upkeep(data, membership, stop).await })
    });
    greet(&platform);
    let replaced = stop.or(replace::asked()).await.transpose().context("watch for SIGUSR2")?.is_some();
    let left = if replaced {
        tracing::info!("another binary takes this one's place; the edge and running tasks stay");
        Some(platform.leave().await)
    } else {
        tracing::info!("stopping; running tasks stay and are taken back by the next `roadstead up`");
        platform.finished().await;
        None
    };
    stop.request();
    if let Some(upkeep) = upkeep {
        upkeep.await?;
    }
    left.map_or(Ok(ExitCode::SUCCESS), |left| Err(replace::replace(&left)))
}

fn greet(platform: &Platform) {
    let addresses = platform.addresses();
    let config = platform.config();
    let domain = platform.membership().map_or(&config.domain, |membership| &membership.settings.domain);
    let data = config.data.display();
    let port = addresses.edge.port();
    for line in addresses.ready_lines() {
        println!("{line}");
    }
    eprintln!("console   http://{}/   (any user, the token as password)", addresses.console);
    eprintln!("apps      http://<app>.{domain}:{port}/");
    eprintln!("S3        http://s3.{domain}:{port}/   (keys: `roadstead token s3 --data {data}`)");
    eprintln!("Marathon  http://{}/v2/apps", addresses.controller);
    eprintln!("registry  {}   (docker login, any user, the token as password)", addresses.registry);
    if let Some(membership) = platform.membership() {
        for vip in &membership.settings.vips {
            eprintln!("address   {vip}   (who holds it and why: `roadstead vip status --data {data}`)");
        }
        eprintln!("machines  `roadstead node list --data {data}`; one more: `roadstead node token --data {data}`");
    }
    if !config.open && platform.membership().is_none_or(|membership| membership.keeps_state) {
        // Not the token itself: this is what a service's log keeps.
        eprintln!("token     `roadstead token show --data {data}`");
    }
}
