//! The article's picture from network namespaces on one machine: three nodes and a client on one switch, a floating
//! address, the state in etcd. The story is told through the address; then, under load on it, node after node is lost and
//! changed, and what a client, an operator and the kernel see of it is measured.
//!
//! Reading order: [`plan`] (which faults, in which order, what each must cause) · [`machine`] (a node and the processes of
//! `roadstead up` on it) · [`cluster`] (all of them, and when they are whole) · [`trial`] (one fault from begin to end).

mod cluster;
mod inside;
mod machine;
mod plan;
mod trial;
mod views;
mod watch;
mod writer;

pub use plan::{Fault, Matrix};

use super::narrator::{Narrator, Telling};
use super::report::{NodesReport, Report};
use super::{Arguments, check_runtime, story};
use crate::config::ConfigError;
use anyhow::ensure;
use cluster::Cluster;
use lifecycle::Stop;
use machine::Settings;
use netlab::Lab;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trial::Trials;

/// How many instances the faults meet: two on each node.
const INSTANCES: u64 = 6;

/// The whole demo on three nodes: build the picture, tell the story, lose nodes, stay if wanted, clear away.
pub async fn tell(arguments: &Arguments, data: PathBuf, stop: &Stop) -> anyhow::Result<Report> {
    // Docker's containers would be reached in the machine's namespace, not in the nodes'.
    check_runtime(&arguments.runtime, &["auto", "process"])?;
    if arguments.mutant.is_some() {
        return Err(ConfigError::Usage("--mutant goes with one node".into()).into());
    }
    require_program(&arguments.etcd_binary, "etcd-server")?;
    let lab = Lab::new("demo").await.map_err(|error| match error {
        netlab::Error::NotRoot | netlab::Error::Missing { .. } => {
            ConfigError::Usage(format!("--nodes 3 makes network namespaces: {error}")).into()
        }
        error => anyhow::Error::new(error),
    })?;
    eprintln!("Roadstead tells the article on three nodes, made of network namespaces.");

    let mut narrator = Narrator::new();
    let mut report = Report { nodes: Some(NodesReport::default()), ..Report::default() };
    let settings = Settings::new(&data, &arguments.etcd_binary)?;
    let mut cluster = Cluster::empty(&lab, settings, Duration::from_secs(arguments.answer_within)).await?;
    let acted = stop.or(act(arguments, &mut cluster, &mut narrator, &mut report, stop)).await;
    // What went wrong is a step's error already.
    report.ok = matches!(acted, Some(Ok(())));
    let ended = narrator.step("end", "remove every app, stop every node", async |_| cluster.end().await).await;
    drop(cluster);
    let cleared = narrator.step("clear", "remove the network", async |_| Ok(lab.remove().await?)).await;
    report.steps = narrator.into_steps();
    report.ok &= ended.is_ok() && cleared.is_ok() && report.steps.iter().all(|step| step.ok);
    Ok(report)
}

/// Everything between empty nodes and their end.
async fn act(
    arguments: &Arguments,
    cluster: &mut Cluster,
    narrator: &mut Narrator,
    report: &mut Report,
    stop: &Stop,
) -> anyhow::Result<()> {
    let what = "found a cluster, let two nodes join it";
    narrator.step("start", what, async |telling| cluster.begin(telling).await).await?;
    let teller = narrator
        .step("address", "one node holds the address", async |telling| {
            cluster.whole(None, telling).await?;
            cluster.holder().await
        })
        .await?;
    story::tell(cluster.stage(teller), None, narrator, report).await?;

    let faults = arguments.matrix.or_list(&arguments.faults);
    let scaled = narrator.step("spread out", "two instances on each node", async |telling| {
        story::scale(cluster.stage(teller), telling, INSTANCES).await?;
        cluster.whole(Some(INSTANCES), telling).await
    });
    scaled.await?;
    lose_and_change(cluster, &faults, narrator, report).await?;

    if !narrator.has_failed() && !arguments.once {
        invite(cluster);
        stop.requested().await;
    }
    Ok(())
}

async fn lose_and_change(
    cluster: &mut Cluster,
    faults: &[Fault],
    narrator: &mut Narrator,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut trials = Trials::begin(cluster, INSTANCES);
    let nodes = report.nodes.get_or_insert_default();
    nodes.nodes = trials.nodes();
    for fault in faults {
        let what = fault.what();
        let mut is_whole = false;
        let tried = narrator.step(fault.name(), &what, async |telling: &Telling| {
            let tried = trials.run(*fault, telling).await?;
            is_whole = tried.whole_s.is_some();
            let error = tried.error.clone();
            telling.notes(&tried.summary());
            nodes.faults.push(tried);
            error.map_or(Ok(()), |error| Err(anyhow::anyhow!(error)))
        });
        // What was not as it should be is told; only a cluster that did not come back ends the series.
        if tried.await.is_err() && !is_whole {
            break;
        }
    }
    let verdict = async |_: &Telling| {
        let writes = trials.end().await?;
        nodes.writes_acknowledged = writes.acknowledged;
        nodes.writes_lost = writes.lost;
        ensure!(writes.lost == 0, "{} of {} acknowledged writes are lost", writes.lost, writes.acknowledged);
        ensure!(writes.acknowledged > 0 || faults.is_empty(), "no write was acknowledged");
        Ok(())
    };
    narrator.step("writes", "no acknowledged write was lost", verdict).await
}

fn require_program(program: &Path, package: &str) -> Result<(), ConfigError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = program.components().count() > 1 && program.is_file()
        || std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let told = || {
        let program = program.display();
        ConfigError::Usage(format!(
            "--nodes 3 keeps its state in etcd, and there is no `{program}` (Debian: apt-get install {package})"
        ))
    };
    if found { Ok(()) } else { Err(told()) }
}

fn invite(cluster: &Cluster) {
    let edge = cluster.public_edge();
    eprintln!();
    eprintln!("  The story is told; everything stays until Ctrl-C.");
    eprintln!(
        "  the app    ip netns exec {} curl -H 'Host: {}' http://{edge}/",
        cluster.client(),
        super::stage::APP_HOST
    );
    for machine in cluster.machines() {
        eprintln!("  {}     roadstead node list --data {}", machine.name(), machine.data().display());
    }
}
