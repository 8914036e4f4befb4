//! One fault after another: begun, watched, undone, and measured until the cluster is whole again.

use super::super::load::{Load, PostsPaused};
use super::super::narrator::Telling;
use super::super::report::FaultReport;
use super::super::story;
use super::cluster::Cluster;
use super::plan::{Fault, PAUSE, Target};
use super::watch::{Seen, Watch};
use super::writer::{Writer, Writes};
use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

/// A cluster under load, between two faults.
pub struct Trials<'a> {
    cluster: &'a mut Cluster,
    load: Load,
    /// While it is there: a POST in flight on a node that dies cannot be saved by anyone.
    posts_paused: Option<PostsPaused>,
    writer: Writer,
    instances: u64,
}

impl<'a> Trials<'a> {
    pub fn begin(cluster: &'a mut Cluster, instances: u64) -> Self {
        let (load, writer) = (cluster.stage(0).load(), Writer::start(cluster.machines()));
        Self { cluster, load, posts_paused: None, writer, instances }
    }

    pub fn nodes(&self) -> usize {
        self.cluster.machines().len()
    }

    /// Begins a fault, sees what follows, undoes it, and waits until the cluster is whole. Fails only when the fault could
    /// not be brought about; what did not follow as it should is in the report.
    pub async fn run(&mut self, fault: Fault, telling: &Telling) -> anyhow::Result<FaultReport> {
        let (mut node, mut holder) = self.target(fault).await?;
        if fault.expected(false).tasks_elsewhere
            && let Some(index) = node
        {
            self.give_tasks(index, telling).await?;
            // The address may have moved meanwhile.
            (node, holder) = self.target(fault).await?;
        }
        if fault.is_planned() {
            self.posts_paused = None;
        } else if self.posts_paused.is_none() {
            self.posts_paused = Some(self.load.pause_posts().await);
        }
        self.load.take();
        self.writer.take_silence();

        let began = Instant::now();
        telling.says("it begins");
        let held_address = node == Some(holder);
        let seen = self.bring_about(fault, node, held_address, began, telling).await?;
        telling.says("waiting until the cluster is whole");
        let whole = self.cluster.whole(Some(self.instances), telling).await;
        let whole_s = whole.is_ok().then(|| began.elapsed().as_secs_f64());
        let writes_silence = self.writer.take_silence();
        // A request that hangs belongs to the fault that made it hang.
        self.load.settled().await;
        let tally = self.load.take();
        let lost = match &whole {
            Ok(()) => self.writer.check(&self.cluster.machines()[0]).await?,
            Err(_) => Vec::new(),
        };

        let mut errors = seen.missed;
        errors.extend(whole.err().map(|error| lifecycle::ErrorChain(error.as_ref()).to_string()));
        if !lost.is_empty() {
            errors.push(format!("acknowledged writes are lost: {}", lost.join(", ")));
        }
        if fault.is_planned() && tally.failed > 0 {
            errors.push(format!("{} of {} requests failed in a planned change", tally.failed, tally.requests));
        }
        Ok(FaultReport {
            name: fault.to_string(),
            planned: fault.is_planned(),
            node: node.map(|index| self.cluster.machines()[index].name().to_owned()),
            held_address,
            requests: tally.requests,
            failed: tally.failed,
            failed_last_s: tally.failed_last.map(|left| left.saturating_duration_since(began).as_secs_f64()),
            silence_max_s: tally.silence_max.as_secs_f64(),
            endpoints_out_s: seen.endpoints_out_s,
            tasks_elsewhere_s: seen.tasks_elsewhere_s,
            address_moved_s: seen.address_moved_s,
            writes_silence_max_s: writes_silence.as_secs_f64(),
            whole_s,
            failures: tally.failures,
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        })
    }

    pub async fn end(mut self) -> anyhow::Result<Writes> {
        self.posts_paused = None;
        self.load.end().await;
        self.writer.check(&self.cluster.machines()[0]).await?;
        Ok(self.writer.end().await)
    }

    /// The node the fault happens to, and the one that holds the address.
    async fn target(&self, fault: Fault) -> anyhow::Result<(Option<usize>, usize)> {
        let holder = self.cluster.holder().await?;
        let node = match fault.target() {
            Target::Node(index) => Some(index),
            Target::Holder => Some(holder),
            Target::EtcdLeader => Some(self.cluster.etcd_leader().await?.0),
            Target::App => None,
        };
        Ok((node, holder))
    }

    /// Tasks stay where they are when a node comes back: a new version spreads them over all nodes again.
    async fn give_tasks(&self, node: usize, telling: &Telling) -> anyhow::Result<()> {
        if self.cluster.tasks_on(node).await? > 0 {
            return Ok(());
        }
        telling.says("spread the tasks over the nodes");
        story::roll(self.cluster.stage(node), telling).await?;
        let tasks = self.cluster.tasks_on(node).await?;
        ensure!(tasks > 0, "{} got no task", self.cluster.machines()[node].name());
        Ok(())
    }

    /// The fault and its end; what was seen in between.
    async fn bring_about(
        &mut self,
        fault: Fault,
        node: Option<usize>,
        held_address: bool,
        began: Instant,
        telling: &Telling,
    ) -> anyhow::Result<Seen> {
        let Some(node) = node else {
            story::roll(self.cluster.stage(0), telling).await?;
            return Ok(Seen::default());
        };
        self.begin_fault(fault, node).await.with_context(|| format!("begin {fault}"))?;
        telling.says("it lasts until its consequences are seen");
        let expected = fault.expected(held_address);
        let watch = Watch { cluster: self.cluster, node, began, instances: self.instances };
        let seen = match fault {
            // It lasts as long as it lasts, whatever is seen.
            Fault::Pause => {
                let paused_until = began + PAUSE;
                let lasting = async {
                    tokio::time::sleep_until(paused_until).await;
                    self.cluster.machines()[node].node().resume()
                };
                let (seen, resumed) = tokio::join!(watch.see(expected), lasting);
                resumed?;
                seen
            }
            _ => watch.see(expected).await,
        };
        self.undo(fault, node, telling).await.with_context(|| format!("undo {fault}"))?;
        Ok(seen)
    }

    async fn begin_fault(&mut self, fault: Fault, node: usize) -> anyhow::Result<()> {
        let machine = self.cluster.machine(node);
        match fault {
            Fault::Kill(_) => machine.kill().await,
            Fault::Cut(_) => Ok(machine.node().cut().await?),
            Fault::Deaf => Ok(machine.node().cut_incoming().await?),
            Fault::Mute => Ok(machine.node().cut_outgoing().await?),
            Fault::Pause => Ok(machine.node().pause()?),
            Fault::EtcdLeader => {
                let (_, pid) = self.cluster.etcd_leader().await?;
                kill(Pid::from_raw(pid), Signal::SIGKILL).context("kill etcd")
            }
            Fault::Restart(_) => machine.ask_to_stop(),
            Fault::Drain | Fault::Upgrade(_) => self.cluster.set_draining(node, true).await,
            Fault::Roll => Ok(()),
        }
    }

    async fn undo(&mut self, fault: Fault, node: usize, telling: &Telling) -> anyhow::Result<()> {
        telling.says("it ends");
        let machine = self.cluster.machine(node);
        match fault {
            Fault::Kill(_) => machine.start_again(),
            Fault::Restart(_) => {
                machine.stopped().await?;
                machine.start_again()
            }
            Fault::Cut(_) | Fault::Deaf | Fault::Mute => Ok(machine.node().heal().await?),
            Fault::Pause | Fault::EtcdLeader | Fault::Roll => Ok(()),
            Fault::Drain => self.cluster.set_draining(node, false).await,
            Fault::Upgrade(_) => {
                machine.stop().await?;
                machine.replace_binary().await?;
                machine.start_again()?;
                self.cluster.answers(node).await?;
                self.cluster.set_draining(node, false).await
            }
        }
    }
}
