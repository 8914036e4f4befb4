//! The node's one loop: owns the [`Core`], carries out its effects, feeds back what came of them.

mod handle;
mod work;

pub(crate) use handle::{NodeHandle, Snapshot};

use crate::checks::{CheckState, Prober};
use crate::core::{Core, Effect, Held, Verdict};
use crate::desired::{DesiredFile, Read};
use crate::ended_logs::EndedLogs;
use crate::{Config, Error};
use lifecycle::{BoxError, ErrorChain, Stop};
use protocol::{AgentHello, CheckReport, Desired, TaskSpec};
use runtime::{Exit, Runtime};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Events that wait for the loop; those who bring more wait.
const EVENTS_MAX: usize = 1024;
/// Containers started at once: a start is a few dozen milliseconds of work, mostly the kernel's.
const LAUNCHES_MAX: usize = 16;
/// Changes that come together are reported together.
const REPORT_COALESCE: Duration = Duration::from_millis(3);
/// A check that only repeated what it said before is reported after this time.
const REPORT_QUIET: Duration = Duration::from_secs(1);
/// After a restart reports wait this long for the checks of tasks taken back: a task that is well must not look unchecked.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// A set that would stop everything, and is not of the cluster whose set is held, is taken once one session has stood by it
/// for this long.
const CONFIRM_AFTER: Duration = Duration::from_secs(10);
/// After a start, tasks that would have to be begun wait this long for a controller: the cluster may have replaced them
/// while this machine was away. With none they are begun from the set on disk. Several times what finding the leader takes:
/// 30 ms where one answers, about [`protocol::dial::CONNECT_TIMEOUT`] for each controller tried before it that is away.
pub const BOOT_PATIENCE: Duration = Duration::from_secs(2);
/// A stop that failed is tried again after this time.
const STOP_AGAIN: Duration = Duration::from_secs(1);

enum Event {
    Desired(Desired),
    Launched {
        task_id: String,
        outcome: Result<i64, String>,
    },
    Ended {
        task_id: String,
        exit: Exit,
    },
    Checked {
        task_id: String,
        index: usize,
        report: CheckReport,
    },
    /// Whoever said what is desired has gone.
    SessionEnded,
    EndTasks(oneshot::Sender<()>),
}

pub(crate) struct Node {
    core: Core,
    file: DesiredFile,
    runtime: Arc<dyn Runtime>,
    prober: Prober,
    launches: Arc<Semaphore>,
    /// Gives up the launch of a task that does not run yet.
    given_up: HashMap<String, Stop>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    reports: watch::Sender<Snapshot>,
    /// What watches over a running task; aborted when it has ended.
    watches: HashMap<String, Vec<JoinHandle<()>>>,
    removals: JoinSet<()>,
    ended_logs: Arc<EndedLogs>,
    /// A set that waits to be confirmed, and until when.
    unconfirmed: Option<(Desired, Instant)>,
    /// While no controller has spoken: when tasks that wait for one are begun without.
    patient_until: Option<Instant>,
    settle_until: Instant,
    report_at: Option<Instant>,
    ending: Option<oneshot::Sender<()>>,
}

impl Node {
    /// Takes back what the runtime still has; what is missing of the desired set on disk waits for [`BOOT_PATIENCE`].
    pub(crate) async fn open(
        config: &Config,
        node_id: String,
        runtime: Arc<dyn Runtime>,
    ) -> Result<(Self, NodeHandle), Error> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (reports, reports_seen) = watch::channel(Snapshot::default());
        let file = DesiredFile::new(&config.data);
        let desired = file.read();
        let found = runtime.list().await.map_err(Error::Runtime)?;
        let mut node = Self {
            core: Core::default(),
            file,
            prober: Prober::new(runtime.clone(), &config.address),
            runtime: runtime.clone(),
            launches: Arc::new(Semaphore::new(LAUNCHES_MAX)),
            given_up: HashMap::new(),
            events,
            sender: sender.clone(),
            reports,
            watches: HashMap::new(),
            removals: JoinSet::new(),
            ended_logs: Arc::default(),
            unconfirmed: None,
            patient_until: None,
            settle_until: Instant::now() + SETTLE_MAX,
            report_at: None,
            ending: None,
        };
        let effects = match desired {
            Read::Held(desired) => node.core.boot(desired, found, now_ms()),
            Read::Unreadable { why } => {
                tracing::error!(
                    why,
                    running = found.len(),
                    "the desired set on disk cannot be read: what runs goes on, nothing is started or stopped until a \
                     controller says what is desired"
                );
                node.core.boot_blind(found, now_ms())
            }
        };
        node.carry_out(effects);
        let waiting = node.core.waiting();
        if waiting > 0 {
            tracing::info!(tasks = waiting, patience = ?BOOT_PATIENCE, "tasks of the set on disk wait for a controller's word");
            node.patient_until = Some(Instant::now() + BOOT_PATIENCE);
        }
        node.publish();
        let hello = AgentHello {
            node_id,
            hostname: config.hostname.clone(),
            address: config.address.clone(),
            resources: Some(config.resources.clone()),
            attributes: config.attributes.clone().into_iter().collect(),
            runtime: runtime.kind().to_string(),
            limits: runtime.limits(),
            generation: 0,
            cluster_id: 0,
            version: config.version.clone(),
        };
        let ended_logs = node.ended_logs.clone();
        let handle = NodeHandle { events: sender, reports: reports_seen, runtime, ended_logs, hello: Arc::new(hello) };
        Ok((node, handle))
    }

    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), BoxError> {
        loop {
            let report_at = self.report_at.unwrap_or_else(Instant::now);
            let patient_until = self.patient_until.unwrap_or_else(Instant::now);
            let confirmed_at = self.unconfirmed.as_ref().map_or_else(Instant::now, |(_, at)| *at);
            let event = tokio::select! {
                () = stop.requested() => break,
                () = tokio::time::sleep_until(confirmed_at), if self.unconfirmed.is_some() => {
                    if let Some((desired, _)) = self.unconfirmed.take() {
                        tracing::warn!(cluster_id = desired.cluster_id, "confirmed: another cluster's desired set is taken");
                        self.take(desired);
                    }
                    continue;
                }
                () = tokio::time::sleep_until(patient_until), if self.patient_until.is_some() => {
                    self.boot_alone();
                    continue;
                }
                () = tokio::time::sleep_until(report_at), if self.report_at.is_some() => {
                    self.publish();
                    continue;
                }
                event = self.events.recv() => event,
            };
            // Our own sender keeps the channel open.
            let Some(event) = event else { break };
            self.handle(event);
            if self.ending.is_some() && self.core.reports().is_empty() {
                self.file.write(&self.nothing())?;
                while self.removals.join_next().await.is_some() {}
                if let Some(done) = self.ending.take() {
                    let _nobody_waits = done.send(());
                }
            }
        }
        for watch in self.watches.into_values().flatten() {
            watch.abort();
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        let now_ms = now_ms();
        let effects = match event {
            Event::Desired(desired) => return self.weigh(desired),
            Event::SessionEnded => {
                if self.unconfirmed.take().is_some() {
                    tracing::info!("the desired set that waited to be confirmed was withdrawn");
                }
                return;
            }
            Event::Launched { task_id, outcome } => {
                match &outcome {
                    Ok(_) => tracing::info!(task = task_id, "started"),
                    Err(why) => tracing::warn!(task = task_id, why, "not started"),
                }
                self.given_up.remove(&task_id);
                self.core.launched(&task_id, outcome, now_ms)
            }
            Event::Ended { task_id, exit } => {
                tracing::info!(task = task_id, how = %exit, "ended");
                self.unwatch(&task_id);
                self.core.ended(&task_id, &exit, now_ms)
            }
            Event::Checked { task_id, index, report } => {
                if self.core.checked(&task_id, index, report, now_ms) {
                    self.report_within(REPORT_COALESCE);
                } else {
                    self.report_within(REPORT_QUIET);
                }
                return;
            }
            Event::EndTasks(done) => {
                self.ending = Some(done);
                self.core.desire(self.nothing(), now_ms)
            }
        };
        self.carry_out(effects);
        self.report_within(REPORT_COALESCE);
    }

    fn weigh(&mut self, mut desired: Desired) {
        if self.ending.is_some() {
            return;
        }
        let held = self.core.held();
        match self.core.judge(&desired) {
            Verdict::Refuse(refused) => return tracing::warn!(%refused),
            Verdict::Confirm => {
                let waiting = self.unconfirmed.take().filter(|(waiting, _)| waiting.cluster_id == desired.cluster_id);
                let at = waiting.map_or_else(|| Instant::now() + CONFIRM_AFTER, |(_, at)| at);
                tracing::warn!(
                    held = held.cluster_id,
                    offered = desired.cluster_id,
                    "a desired set of another cluster knows nothing of what runs here: it waits to be confirmed"
                );
                self.unconfirmed = Some((desired, at));
                return;
            }
            Verdict::Take => {}
        }
        if desired.cluster_id == 0 {
            desired.cluster_id = held.cluster_id;
        } else if held.cluster_id != 0 && held.cluster_id != desired.cluster_id {
            let (held, offered) = (held.cluster_id, desired.cluster_id);
            tracing::warn!(
                held,
                offered,
                "the desired set is of another cluster now: its store was restored or replaced"
            );
        }
        self.unconfirmed = None;
        self.take(desired);
    }

    fn take(&mut self, desired: Desired) {
        // On disk first: what is begun must be begun again after a crash.
        if let Err(error) = self.file.write(&desired) {
            tracing::error!(error = %ErrorChain(&error), "desired set not taken");
            return;
        }
        tracing::debug!(generation = desired.generation, tasks = desired.tasks.len(), "desired");
        if self.core.held().blind {
            // Only now are the tasks' checks known.
            self.settle_until = Instant::now() + SETTLE_MAX;
        }
        self.patient_until = None;
        let effects = self.core.desire(desired, now_ms());
        self.carry_out(effects);
        self.report_within(REPORT_COALESCE);
    }

    /// No controller has spoken in good time.
    fn boot_alone(&mut self) {
        self.patient_until = None;
        let effects = self.core.begin_waiting();
        if !effects.is_empty() {
            tracing::warn!(tasks = effects.len(), "no controller has spoken: tasks are begun from the set on disk");
            self.carry_out(effects);
            self.report_within(REPORT_COALESCE);
        }
    }

    /// The set of a node whose tasks all end.
    fn nothing(&self) -> Desired {
        let Held { cluster_id, generation, .. } = self.core.held();
        Desired { generation, tasks: Vec::new(), cluster_id }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Launch { task, again } => self.launch(*task, again),
                Effect::GiveUpLaunch { task_id } => {
                    if let Some(given_up) = self.given_up.get(&task_id) {
                        given_up.request();
                    }
                }
                Effect::Watch { task, started_at_ms } => self.watch(*task, started_at_ms),
                Effect::Stop { task_id, grace } => self.stop(task_id, grace),
                Effect::Remove { task_id } => self.remove(task_id),
            }
        }
    }

    fn launch(&mut self, task: TaskSpec, again: bool) {
        let (runtime, events, launches) = (self.runtime.clone(), self.sender.clone(), self.launches.clone());
        let given_up = Stop::new();
        self.given_up.insert(task.task_id.clone(), given_up.clone());
        tokio::spawn(async move {
            let outcome = work::launch(runtime, &launches, &task, again, &given_up).await;
            let outcome = outcome.map_err(|error| ErrorChain(&error).to_string());
            let _node_ended = events.send(Event::Launched { task_id: task.task_id, outcome }).await;
        });
    }

    fn watch(&mut self, task: TaskSpec, started_at_ms: i64) {
        let (runtime, events, task_id) = (self.runtime.clone(), self.sender.clone(), task.task_id.clone());
        let mut watches = vec![tokio::spawn(async move {
            let exit = work::wait(&*runtime, &task_id).await;
            let _node_ended = events.send(Event::Ended { task_id, exit }).await;
        })];
        for (index, check) in task.checks.into_iter().enumerate() {
            let state = CheckState::new(check, started_at_ms);
            watches.push(tokio::spawn(work::keep_checking(
                self.prober.clone(),
                self.sender.clone(),
                task.task_id.clone(),
                index,
                state,
            )));
        }
        self.unwatch(&task.task_id);
        self.watches.insert(task.task_id, watches);
    }

    fn unwatch(&mut self, task_id: &str) {
        for watch in self.watches.remove(task_id).into_iter().flatten() {
            watch.abort();
        }
    }

    fn stop(&mut self, task_id: String, grace: Duration) {
        // It is still waited for; but a task that is being stopped owes no answer to its checks.
        if let Some(watches) = self.watches.get_mut(&task_id) {
            for check in watches.drain(1..) {
                check.abort();
            }
        }
        let runtime = self.runtime.clone();
        tokio::spawn(async move {
            while let Err(error) = runtime.stop(&task_id, grace).await {
                tracing::warn!(task = task_id, error = %ErrorChain(&error), "stop");
                if matches!(error, runtime::Error::Spec { .. } | runtime::Error::Unknown { .. }) {
                    return;
                }
                tokio::time::sleep(STOP_AGAIN).await;
            }
        });
    }

    fn remove(&mut self, task_id: String) {
        self.unwatch(&task_id);
        let runtime = self.runtime.clone();
        // When all is ended nobody is left to ask.
        let ended_logs = self.ending.is_none().then(|| self.ended_logs.clone());
        while self.removals.try_join_next().is_some() {}
        self.removals.spawn(async move {
            if let Some(ended_logs) = ended_logs {
                ended_logs.keep(&*runtime, &task_id).await;
            }
            if let Err(error) = runtime.remove(&task_id).await {
                tracing::warn!(task = task_id, error = %ErrorChain(&error), "remove");
            }
        });
    }

    fn report_within(&mut self, time: Duration) {
        let at = Instant::now() + time;
        self.report_at = Some(self.report_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn publish(&mut self) {
        let held = self.core.held();
        let now = Instant::now();
        if !self.core.unchecked() && !held.blind {
            // Later tasks are reported unchecked, as they are.
            self.settle_until = self.settle_until.min(now);
        }
        let settled = held.blind || now >= self.settle_until;
        self.report_at = if settled { None } else { Some(self.settle_until) };
        let tasks = Arc::new(self.core.reports());
        self.reports.send_replace(Snapshot { held, tasks, settled });
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
