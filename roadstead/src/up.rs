//! `roadstead up`: the supervisor. The roles run as children of the same binary, each restarted when it ends; every seam
//! between them is the real protocol. With `--address` (or after `roadstead join`) this machine is one of a cluster.

mod child;
mod flags;
mod notice;
mod platform;
mod programs;
mod replace;
mod routes;

pub use flags::{Arguments, JoinArguments, parse_time};
pub use notice::Notice;
pub use platform::{Addresses, Platform};
pub use routes::operations as platform_routes;

use crate::cli::refuse_half_restored;
use crate::cluster::{self, Membership};
use crate::config::Config;
use anyhow::Context;
use identity::Authority;
use lifecycle::Stop;
use replace::{Leaving, Replacement};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let checks = arguments.check;
    let config = arguments.config()?;
    if checks {
        membership_before(&config)?;
        println!("{}", replace::would_start());
        return Ok(ExitCode::SUCCESS);
    }
    work(env::args_os().skip(1).collect(), async |stop, replacement| {
        let membership = match membership_before(&config)? {
            Some(membership) => {
                cluster::renew::before_start(&config.data, &membership)?;
                Some(membership)
            }
            None => {
                let is_first = config.cluster.address.is_some();
                is_first.then(|| cluster::found::found(&config)).transpose()?
            }
        };
        run_platform(config, membership, replacement, stop).await
    })
}

/// Of a machine that is of a cluster already.
fn membership_before(config: &Config) -> anyhow::Result<Option<Membership>> {
    let membership = Membership::read(&config.data)?;
    if membership.is_none() {
        cluster::join::refuse_half_joined(&config.data)?;
        refuse_half_restored(&config.data)?;
    }
    Ok(membership)
}

pub fn join(arguments: JoinArguments) -> anyhow::Result<ExitCode> {
    let again = arguments.of_the_next_start(env::args_os().skip(2));
    let (token, config) = arguments.token_and_config()?;
    work(again, async |stop, replacement| {
        let Some(membership) = stop.or(cluster::join::join(&config, &token)).await else {
            return Ok(ExitCode::FAILURE);
        };
        run_platform(config, Some(membership?), replacement, stop).await
    })
}

/// `again`: the arguments of this machine's next start.
fn work(
    again: Vec<OsString>,
    run: impl AsyncFnOnce(Stop, Replacement) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    replace::await_what_was_left();
    tokio::runtime::Runtime::new()?.block_on(async {
        let replacement = Replacement::watch(again)?;
        let stop = Stop::new();
        stop.on_signals().context("watch for signals")?;
        run(stop, replacement).await
    })
}

async fn run_platform(
    config: Config,
    membership: Option<Membership>,
    mut replacement: Replacement,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
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
    replacement.may_be_asked(&platform.config().data);
    let left = match stop.or(replacement.asked()).await {
        Some(()) => Some(platform.leave().await),
        None => {
            tracing::info!("stopping; running tasks stay and are taken back by the next `roadstead up`");
            platform.finished().await;
            replace::end_what_was_left();
            None
        }
    };
    // Whoever asked for an end meanwhile wants no next one.
    let ends = stop.is_requested();
    stop.request();
    let upkeep = match upkeep {
        Some(upkeep) => upkeep.await.context("look after this machine's certificates and the list of the others"),
        None => Ok(()),
    };
    match left {
        Some(left) if !ends => {
            // The next one looks after them again.
            tell_failure(&upkeep);
            Err(replacement.replace(&left))
        }
        left => end(left, upkeep).await,
    }
}

/// Ends what was left for a next supervisor that is not to come; the outcome is that of the upkeep.
async fn end(left: Option<Leaving>, upkeep: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    if let Some(left) = left {
        left.end().await;
    }
    upkeep.map(|()| ExitCode::SUCCESS)
}

fn tell_failure(result: &anyhow::Result<()>) {
    if let Err(error) = result {
        tracing::error!(error = %lifecycle::ErrorChain(error.as_ref()), "the upkeep failed");
    }
}

fn greet(platform: &Platform) {
    // Whoever heard the binary before this one may have gone.
    let _reader_gone = writeln!(io::stdout(), "{}", platform.addresses().ready_lines().join("\n"));
    let _reader_gone = writeln!(io::stderr(), "{}", greeting(platform).join("\n"));
}

fn greeting(platform: &Platform) -> Vec<String> {
    let addresses = platform.addresses();
    let config = platform.config();
    let domain = platform.membership().map_or(&config.domain, |membership| &membership.settings.domain);
    let data = config.data.display();
    let port = addresses.edge.port();
    let mut lines = vec![
        format!("console   http://{}/   (any user, the token as password)", addresses.console),
        format!("apps      http://<app>.{domain}:{port}/"),
        format!("S3        http://s3.{domain}:{port}/   (keys: `roadstead token s3 --data {data}`)"),
        format!("Marathon  http://{}/v2/apps", addresses.controller),
        format!("registry  {}   (docker login, any user, the token as password)", addresses.registry),
    ];
    if let Some(membership) = platform.membership() {
        let vips = membership.settings.vips.iter();
        lines.extend(
            vips.map(|vip| format!("address   {vip}   (who holds it and why: `roadstead vip status --data {data}`)")),
        );
        lines.push(format!(
            "machines  `roadstead node list --data {data}`; one more: `roadstead node token --data {data}`"
        ));
    }
    if !config.open && platform.membership().is_none_or(|membership| membership.keeps_state) {
        // Not the token itself: this is what a service's log keeps.
        lines.push(format!("token     `roadstead token show --data {data}`"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use child::Running;
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::Command;

    #[tokio::test]
    async fn what_was_left_is_ended_in_order_though_the_upkeep_failed_and_that_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let drained = directory.path().join("drained");
        let script =
            format!("trap 'echo so > {}; exit' TERM; echo begun; while :; do read -r _; done", drained.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap();
        let leaving = Leaving::default();
        leaving.leave(Running::of(child));

        let upkeep = tokio::spawn(async { panic!("a defect") }).await.context("look after things");
        let error = end(Some(leaving), upkeep).await.unwrap_err();
        assert!(lifecycle::ErrorChain(error.as_ref()).to_string().contains("panicked"), "{error:?}");
        assert!(drained.exists(), "it was asked, and not killed");
    }
}
